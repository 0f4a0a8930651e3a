"""Causes of the differences between two images, from the outermost layer inwards.

`explain` compares the layers (read it first): `inputs` (build records), `disks` (qcow2, partition
table, boot sectors), `systems` (superblock, packages, folders, inodes) and `files` (contents, by
type of file). `causes` is the table of causes, `difference` the value that all of them yield.
"""
