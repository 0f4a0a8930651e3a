"""Reads a finished disk without mounting it, judges it, and tells why two differ.

`inventory` is the walk of an inspection (read me first). `reading/` makes the bytes a disk, a
tree and a list of packages; `start` says what it starts: menu, kernel, services. What is wrong
comes from `rules` (disk and packages), `boot` (the sectors that the BIOS starts), `scan`
(secrets) and `programs` (qemu-img and e2fsck), each a line of `findings`. `explain/` walks two
disks layer by layer to the causes of their differences.

Only the standard library: a build judges its disk before anybody sees it, and the archive of
a release does the same with nothing but a Python.
"""
