"""What runs in the builder, from a closure of packages to a qcow2 file.

`__main__` is the walk. Its rooms in the order of the work: `install` runs the snapshot's apk,
`services` writes what no package brings, `initramfs` makes what the kernel starts from,
`normalise` takes out whatever differs between two runs, `tree` lists what is left, `ext4`
makes the file system, `bootloader` makes the disk start, `qcow2` makes the file that is
published; `programs` starts other programs for all of them, `archives` and `modules` look
into what they wrote, `machine` says what could be seen of the machine.

Only the standard library is imported: nothing else is installed in the builder.
"""
