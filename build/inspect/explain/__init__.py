"""Why two images differ, from the outside in, each difference with its cause.

`walk` goes through them (read me first): `inputs` (the build records), `disks` (qcow2, partition
table, boot sectors), `systems` (superblock, packages, folders, inodes), `files` (contents, by
kind of file); `causes` is the table of what a difference comes from, `difference` how one is
told.
"""
