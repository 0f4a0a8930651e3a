"""Reads a finished disk without mounting it, judges it, and tells why two differ.

`inventory` is the walk of an inspection (read me first): `disk` (qcow2 or raw, its partition
table), `superblock`, `ext4`, `tree` (every path of the file system), `packages` (apk's
database: who owns what), `start` (menu, kernel, services), `boot` (the BIOS's sectors),
`rules` (what an image must be), `scan` (secrets, one table) by `search` and `cpio`,
`programs` (what qemu-img and e2fsck say), `findings` (a rule that does not hold).

Only the standard library: a build judges its disk before anybody sees it, and the archive of
a release does the same with nothing but a Python.
"""
