"""Inspection of a finished disk without mounting it, and explanation of why two differ.

`inspection` runs the checks (read it first). `readers/` parses the disk, its tree and its list of
packages. The checks are in `rules` (disk and packages; the table of all rules), `secrets`,
`startup` (menu, kernel, services), `boot_code` and `external_checks` (qemu-img and e2fsck).
`explain/` compares two disks layer by layer.

Only the standard library is used: every build inspects its disk, and a release's archive can be
rebuilt with nothing but Python. The readers of qcow2, partition tables and ext4 share no code
with the programs that wrote the disk, so that an error of those is found and not repeated.
"""
