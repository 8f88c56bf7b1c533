"""How far two PNG images are apart: prints [{"size": […], "largest": n}] for grey values. Arguments: two files."""

import json
import sys

import numpy
from PIL import Image

one, other = (numpy.asarray(Image.open(path).convert("L")).astype(int) for path in sys.argv[1:])
if one.shape != other.shape:
    sys.exit(f"sizes differ: {one.shape} and {other.shape}")
json.dump([{"size": list(one.shape), "largest": int(numpy.abs(one - other).max())}], sys.stdout)
