"""`build --prove`: the same bytes from builds that differ in everything that must not matter.

- `walk`: build again, and again on another day, and compare (read me first)
- `sights`: what two builds could see of their machines, side by side
- `place`: the folders of the other build, unlike those of the first in every way
- `other_process`: the other build, in a process that is unlike this one
- `virtual`: an engine that is a whole machine: QEMU, another kernel, another day
- `guest`: the first process of that machine
- `drivers`, `cpio`: what the machine's kernel starts from
"""
