# Watches a directory, and all below it if the second argument says so. Says `ready`; then each thing that happens
# as a line of JSON: a number as envd numbers it, and the path, relative to the directory.

import ctypes
import json
import os
import struct
import sys

MODIFY, ATTRIB, MOVED_FROM, MOVED_TO = 0x2, 0x4, 0x40, 0x80
CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x100, 0x200, 0x400, 0x800
ISDIR = 0x40000000
CREATED, WRITTEN, REMOVED, RENAMED, CHMODDED = 1, 2, 3, 4, 5
MEANING = [
    (CREATE | MOVED_TO, CREATED),
    (MOVED_FROM | MOVE_SELF, RENAMED),
    (ATTRIB, CHMODDED),
    (MODIFY, WRITTEN),
    (DELETE | DELETE_SELF, REMOVED),
]
ALL = MODIFY | ATTRIB | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF

root, recursive = sys.argv[1], sys.argv[2] == "1"
libc = ctypes.CDLL(None, use_errno=True)
inotify = libc.inotify_init1(0)
paths = {}


def add(path, new=False):
    watch = libc.inotify_add_watch(inotify, path, ALL)
    if watch < 0:
        return
    paths[watch] = path
    if recursive:
        for entry in os.scandir(path):
            # What is in a new directory may have come before it was watched.
            if new:
                tell(CREATED, entry.path)
            if entry.is_dir(follow_symlinks=False):
                add(entry.path, new)


def tell(kind, path):
    name = os.path.relpath(path, os.fsencode(root)).decode(errors="replace")
    print(json.dumps([kind, name]), flush=True)


add(os.fsencode(root))
if not paths:
    sys.exit(os.strerror(ctypes.get_errno()))
print("ready", flush=True)
while events := os.read(inotify, 65536):
    while events:
        watch, mask, _, length = struct.unpack_from("iIII", events)
        name = events[16 : 16 + length].rstrip(b"\0")
        events = events[16 + length :]
        if watch not in paths:
            continue
        # A directory tells its own change to its parent, which is watched as well, unless it is the root.
        if not name and paths[watch] != os.fsencode(root):
            continue
        path = os.path.join(paths[watch], name) if name else paths[watch]
        for bits, kind in MEANING:
            if mask & bits:
                tell(kind, path)
        if recursive and mask & ISDIR and mask & (CREATE | MOVED_TO):
            add(path, new=True)
