"""Say what pydicom reads in each file of a folder: one JSON list of {path, SOPInstanceUID, SOPClassUID, StudyInstanceUID, SeriesInstanceUID}.

An attribute that is absent or empty is null; a file that pydicom cannot read has only `path` and `error`.
"""

import json
import pathlib
import sys
import warnings

import pydicom

KEYWORDS = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")

warnings.simplefilter("ignore")
root = pathlib.Path(sys.argv[1])
rows = []
for file in sorted(path for path in root.rglob("*") if path.is_file()):
    row = {"path": str(file.relative_to(root))}
    try:
        dataset = pydicom.dcmread(file, specific_tags=list(KEYWORDS), force=True, stop_before_pixels=True)
        for keyword in KEYWORDS:
            row[keyword] = str(dataset.get(keyword) or "") or None
    except Exception as error:  # pydicom raises what it likes on broken files
        row["error"] = type(error).__name__
    rows.append(row)
json.dump(rows, sys.stdout)
