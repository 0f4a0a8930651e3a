"""The program that runs in the builder: from a closure of packages to a qcow2 file.

`__main__` runs the steps. In their order: `install` runs the snapshot's apk, `services` enables
services and writes the files that belong to no package, `initramfs` makes the file of that
name, `normalise` removes differences between builds, `listing` lists the tree, `ext4` makes the
file system, `bootloader` makes the disk bootable, `qcow2` compresses it. `programs` starts other
programs; `archives`, `cpio` and `module_lists` rewrite files that these made; `environment`
reports the properties of the machine that the builder can read.

Only the standard library and `build.inside` are imported: nothing else exists in the builder.
"""
