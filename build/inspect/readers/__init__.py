"""Readers of a finished disk; they parse and refuse damage, and do not check any rule.

In reading order: `disk` (qcow2 or raw, and its partition table), `superblock`, `ext4` (inodes and
the content of files and folders), `tree` (every path of the file system), `packages` (apk's
database: owners of paths), `cpio` (an initramfs), `search` (patterns in files as they are read).
"""
