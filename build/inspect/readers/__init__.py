"""What the bytes of a finished disk say: nothing is judged here, damage is refused by name.

In reading order: `disk` (qcow2 or raw, its partition table), `superblock`, `ext4` (inodes, what
files and folders hold), `tree` (every path of the file system), `packages` (apk's database: who
owns what), `cpio` (what an initramfs holds), `search` (words in files as they are read).
"""
