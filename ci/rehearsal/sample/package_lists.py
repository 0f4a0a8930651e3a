"""What a rehearsal asks for: the words of its release.toml."""

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

ALPINE_IMAGE_PACKAGES = IMAGE_PACKAGES
"""With Alpine's own repository: the same, since the sample has Alpine's names."""

ALPINE_SERVICES = SERVICES

ALWAYS_BESIDE = ("linux-virt", "mkinitfs")
"""What the sample brings to a real repository that lacks it: nothing that links to a C library."""
