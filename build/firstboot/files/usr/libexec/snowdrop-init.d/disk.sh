# Grow the root file system to the size of the disk, at every boot.
#
# Partition first, file system second. Each step depends on the state of the disk and not on
# earlier steps: after a power cut between the two, or in one of them, the next boot completes
# the work. The partition table is one sector, and the kernel grows ext4 under its journal.
# shellcheck shell=sh

WORTH=32768           # sectors of 512 bytes: less than 16 MiB more is not worth a change
MBR_END=4294965248    # sectors: 2 TiB, less one MiB; a partition table has 32 bits
TOOL_SECONDS=120

grow_disk() {
	part=/sys/dev/block/$(mountpoint -d /)
	[ -r "$part/partition" ] || return 0
	device=$(sed -n 's/^DEVNAME=//p' "$part/uevent")
	disk=$(readlink -f "$part/..")
	(grow_partition) || note "disk: the partition stays as it is"
	grow_file_system
}

# --- partition -----------------------------------------------------------------------------

grow_partition() {
	read -r start <"$part/start"
	read -r size <"$part/size"
	read -r end <"$disk/size"
	[ "$end" -le "$MBR_END" ] || end=$MBR_END
	wanted=$(((end - start) / 2048 * 2048))
	[ $((wanted - size)) -ge "$WORTH" ] && is_last || return 0
	# The type is byte 4 of an entry: ee marks a GPT disk.
	if [ "$(byte_at 450 "/dev/${disk##*/}")" = ee ]; then
		note "${disk##*/}: a GPT, which is not changed here"
		return
	fi
	has sfdisk partx || return
	log "$device: from $((size / 2048)) to $((wanted / 2048)) MiB"
	printf ', %s\n' "$wanted" | timeout "$TOOL_SECONDS" sfdisk --no-reread --no-tell-kernel \
		-N "$(cat "$part/partition")" "/dev/${disk##*/}" >>"$LOG" 2>&1 ||
		fail "disk: sfdisk does not enlarge $device"
	sync
	timeout "$TOOL_SECONDS" partx -u --nr "$(cat "$part/partition")" "/dev/${disk##*/}" >>"$LOG" 2>&1
	[ "$(cat "$part/size")" -ge "$wanted" ] ||
		fail "disk: the kernel has not heard of the larger $device; it will at the next boot"
}

is_last() {
	for other in "$disk"/*/start; do
		read -r begin <"$other"
		[ "$begin" -le "$start" ] || return 1
	done
}

# --- file system ---------------------------------------------------------------------------

# The superblock is at 1024; in it the number of blocks is at 4, log2 of their KiB at 24, and
# 53 ef at 56 (ext4's documentation, "Super Block"): the 2nd, 7th and 15th number of 4 bytes.
grow_file_system() {
	# shellcheck disable=SC2046  # words: numbers
	set -- $(od -A n -v -t u4 -j 1024 -N 60 "/dev/$device")
	[ $# -eq 15 ] && [ $((${15} & 0xffff)) -eq $((0xef53)) ] || return 0
	sectors=$(($2 << (1 + $7)))
	read -r size <"$part/size"
	[ $((size - sectors)) -ge "$WORTH" ] || return 0
	has resize2fs || return
	note "file system on $device: from $((sectors / 2048)) MiB"
	timeout "$TOOL_SECONDS" resize2fs "/dev/$device" >>"$LOG" 2>&1 ||
		fail "disk: resize2fs does not enlarge the file system on $device"
}

has() {
	for tool in "$@"; do
		command -v "$tool" >/dev/null ||
			fail "disk: larger than the file system on $device, and $tool is not installed"
	done
}

byte_at() {
	od -A n -t x1 -j "$1" -N 1 "$2" | tr -d ' \n'
}
