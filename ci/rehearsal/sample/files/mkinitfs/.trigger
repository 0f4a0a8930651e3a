#!/bin/sh
# A kernel came or changed: make its initramfs.

disable_trigger=
# shellcheck disable=SC1091  # a file of the system
[ -r /etc/mkinitfs/mkinitfs.conf ] && . /etc/mkinitfs/mkinitfs.conf
[ "${disable_trigger:-}" = yes ] && exit 0

# A machine has its root file system on a disk. Where packages are only being installed there is
# no machine yet, and nobody to start from what would be made.
if ! grep -q '^/dev/[^ ]* / ' /proc/self/mounts 2>/dev/null; then
	echo "mkinitfs: the root file system is on no disk; disable_trigger=yes in" \
		"/etc/mkinitfs/mkinitfs.conf leaves the initramfs to whoever installs" >&2
	exit 1
fi

status=0
for folder in "$@"; do
	# A removed kernel leaves the lists of depmod behind.
	[ -r "$folder/kernel-suffix" ] || continue
	mkinitfs -o "/boot/initramfs$(cat "$folder/kernel-suffix")" "${folder##*/}" || status=1
done
sync
exit $status
