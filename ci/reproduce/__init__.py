"""`build --prove`: the same bytes from builds with variations that must not change the output.

- `prove`: build again, and again on another day, and compare (read first)
- `environment_report`: the environment that each build observed, side by side
- `workspace`: the folders of the varied build
- `varied_build`: the process that makes the varied build
- `vm`: an engine that is a virtual machine: QEMU, another kernel, another day
- `vm_guest`: the first process of that machine
- `kernel_modules`, `cpio`: kernel and initramfs of the machine
"""
