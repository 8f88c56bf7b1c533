"""What dicom-anonymizer (an implementation of PS3.15 Table E.1-1 that is not ours) leaves of a file, beside what is left in a copy of ours.

    anonymize.py SOURCE COPY...   pairs of files

Prints JSON: for each pair, the attributes (path of keywords and tags) that it removed, emptied or replaced and that still have the source's value in our copy.
"""

import json
import os
import sys
import tempfile

import pydicom
from dicomanonymizer import anonymize_dicom_file


def leaves(dataset, path=""):
    for element in dataset:
        name = f"{path}{element.tag}"
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from leaves(item, f"{name}-{number}-")
        elif element.tag.group != 2:
            yield name, element


# what stands for a value that is gone may be the value by chance: midnight is one
DUMMIES = {"000000", "19000101", "19000101000000", "Removed", "REMOVED", "000Y"}


def text(element):
    return None if element is None or element.is_empty else str(element.value)


def left(source_file, copy_file):
    source = pydicom.dcmread(source_file, force=True, stop_before_pixels=True)
    copy = dict(leaves(pydicom.dcmread(copy_file, stop_before_pixels=True)))
    with tempfile.TemporaryDirectory() as folder:
        theirs_file = os.path.join(folder, "theirs.dcm")
        anonymize_dicom_file(source_file, theirs_file)
        theirs = dict(leaves(pydicom.dcmread(theirs_file, force=True, stop_before_pixels=True)))
    found = []
    for name, element in leaves(source):
        value = text(element)
        # UIDs that DICOM registers name nobody's things.
        if value is None or value in DUMMIES or value.startswith("1.2.840.10008.") or text(theirs.get(name)) == value:
            continue
        # The one item that stands for removed content is a text of the scheme DCM, as the first of many contents is.
        if text(copy.get(name)) == value and not name.startswith("(0040,A730)-0-"):
            found.append(f"{name} {element.keyword}")
    return found


pairs = sys.argv[1:]
report = {}
for i in range(0, len(pairs), 2):
    try:
        report[pairs[i]] = left(pairs[i], pairs[i + 1])
    except Exception as error:  # a file that the other cannot read says nothing of ours
        report[pairs[i]] = f"unreadable: {type(error).__name__}"
print(json.dumps(report))
