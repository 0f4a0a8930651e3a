"""Packages and services that a rehearsal's release.toml asks for.

The same with Alpine's own repository: the sample's packages have Alpine's names.
"""

BUILDER_PACKAGES = (
    "busybox",
    "python3",
    "e2fsprogs",
    "qemu-img",
    "sfdisk",
    "grub",
    "grub-bios",
    "cpio",
)
IMAGE_PACKAGES = (
    "alpine-base",
    "linux-virt",
    "mkinitfs",
    "openssh-server",
    "openssh-sftp-server",
    "chrony",
    "e2fsprogs",
    "e2fsprogs-extra",
    "sfdisk",
    "partx",
)
SERVICES = {
    "sysinit": ("devfs", "dmesg", "hwdrivers", "mdev"),
    "boot": (
        "bootmisc",
        "hostname",
        "modules",
        "networking",
        "seedrng",
        "swap",
        "sysctl",
        "syslog",
    ),
    "default": ("chronyd", "snowdrop-init", "snowdrop-userdata", "sshd"),
    "shutdown": ("killprocs", "mount-ro", "savecache"),
}
BESIDE_ALPINE = ("linux-virt", "mkinitfs")
"""Packages that the sample adds to a real repository without them: none links to a C library."""
