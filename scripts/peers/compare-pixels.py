"""Decode pairs of DICOM files with pydicom and say how far their pixels are apart.

Argument: a JSON file with [[first, second], …]. Prints a JSON list of {shape, largest} or {error}; `largest` is the largest
absolute difference of any sample, after colour conversion to RGB where the image has colour.
"""

import json
import sys
import warnings

import numpy
import pydicom
from pydicom.pixels import pixel_array

warnings.simplefilter("ignore")


def decoded(path):
    return pixel_array(pydicom.dcmread(path, force=True)).astype(numpy.int64)


rows = []
for first, second in json.load(open(sys.argv[1], encoding="utf-8")):
    try:
        one, other = decoded(first), decoded(second)
        if one.shape != other.shape:
            rows.append({"error": f"shapes {one.shape} and {other.shape}"})
        else:
            rows.append({"shape": list(one.shape), "largest": int(numpy.abs(one - other).max())})
    except Exception as error:  # whatever a decoder raises is an answer here
        rows.append({"error": f"{type(error).__name__}: {error}"[:300]})
json.dump(rows, sys.stdout)
