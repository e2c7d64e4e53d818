"""Keeps the files of a corpus that reach the most code between them.

    choose.py CONTROL_FILE MOST FOLDER

The control file is what libFuzzer's -merge_control_file has left: which file has which features.
"""

import os
import shutil
import sys

control, most, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
lines = open(control).read().splitlines()
count = int(lines[0])
files = lines[2 : 2 + count]
features = {}
for line in lines[2 + count :]:
    kind, number, *rest = line.split()
    if kind == "FT":
        features[int(number)] = set(rest)

covered = set()
for _ in range(most):
    gain = lambda number: (len(features[number] - covered), -os.path.getsize(files[number]))
    best = max(features, key=gain, default=None)
    if best is None or not features[best] - covered:
        break
    covered |= features.pop(best)
    shutil.copy(files[best], folder)
