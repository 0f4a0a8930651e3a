"""The sample distribution: packages with Alpine's names, made from Debian 13's files.

No registry carries Alpine's kernel, mkinitfs or apk, so a rehearsal brings a distribution of its
own. Rooms in reading order: sample (the walk), lists (what a rehearsal asks for), recipes and
recipes.toml (which Debian files become which package), debian (the private apt root), convert
(deb -> entries), kernel (modules), elf (what a program links to), files/ (services, tables and
package scripts of our own), programs/ (mkinitfs, the stand-in apk), standin (its files).

What a release of the sample alone asks for, as in lists.py:
  builder     busybox python3 e2fsprogs qemu-img sfdisk grub grub-bios cpio
  image       alpine-base linux-virt mkinitfs openssh-server openssh-sftp-server chrony e2fsprogs
              e2fsprogs-extra sfdisk partx
  sysinit     devfs dmesg hwdrivers mdev
  boot        bootmisc hostname modules networking seedrng swap sysctl syslog
  default     chronyd snowdrop-init snowdrop-userdata sshd
  shutdown    killprocs mount-ro savecache
With a real Alpine repository beside it, the sample brings linux-virt and mkinitfs only.
"""
