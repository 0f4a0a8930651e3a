# The config drive: a disk with the label config-2, which has the same metadata.
# shellcheck shell=sh

DRIVE_LABEL=config-2
DRIVE_FILE=digitalocean_meta_data.json

# Write the drive's values, flattened, to $WORK/drive; fail silently when there is no drive.
# A drive that cannot be used, such as one of another droplet, does not hide the next one.
look_for_drive() {
	for block in /sys/class/block/*; do
		drive=${block##*/}
		has_label || continue
		(read_drive) && return
	done
	return 1
}

# The volume's name is at 40 in the first descriptor, sector 16 (ECMA-119, 8.4). Reading it
# needs no module. A floppy disk's drive is not read: without a disk that takes seconds.
has_label() {
	case $drive in
		vd* | sd* | sr* | xvd* | hd*) ;;
		*) return 1 ;;
	esac
	label=$(dd if="/dev/$drive" bs=8 skip=4101 count=1 2>/dev/null | lower | tr -d '\0')
	[ "$label" = "$DRIVE_LABEL" ]
}

read_drive() {
	modprobe isofs 2>/dev/null
	mkdir -p "$WORK/mounted"
	mount -t iso9660 -o ro,nosuid,nodev,noexec "/dev/$drive" "$WORK/mounted" ||
		fail "config drive /dev/$drive: it cannot be mounted"
	head -c "$DOCUMENT_BYTES" "$WORK/mounted/$DRIVE_FILE" >"$WORK/drive.json"
	umount "$WORK/mounted"
	[ -s "$WORK/drive.json" ] || fail "config drive /dev/$drive: there is no $DRIVE_FILE on it"
	flatten "$WORK/drive.json" >"$WORK/drive.part" ||
		fail "config drive /dev/$drive: no whole JSON document in $DRIVE_FILE"
	id=$(cat "$DMI/product_serial" 2>/dev/null)
	if is_number "$id" && [ "$(value droplet_id "$WORK/drive.part" | word)" != "$id" ]; then
		fail "config drive /dev/$drive: of another droplet than $id; it is left out"
	fi
	mv "$WORK/drive.part" "$WORK/drive"
	forget "config drive /dev/$drive"
}

# from_drive NAME: as fetch.
from_drive() {
	again=
	absent=
	oversize=
	reason='the config drive does not have it'
	case $1 in
		v1.json) has_cards "$WORK/drive" && cp "$WORK/drive" "$WORK/values" ;;
		id) value droplet_id "$WORK/drive" >"$WORK/id" ;;
		public-keys)
			if drive_keys >"$WORK/public-keys"; then
				take_keys "$WORK/public-keys"
				return
			fi
			absent=yes
			;;
		*) value "$(printf '%s' "$1" | tr - _)" "$WORK/drive" >"$WORK/$1" ;;
	esac || absent=yes
	[ -z "$absent" ]
}

# All members, or the text with a key on each line. A member that is null is no line of the
# flattened document, and has no successor then.
drive_keys() {
	members=$(awk '/^public_keys(\.[0-9]+)?\t/ { print substr($0, index($0, "\t") + 1) }' "$WORK/drive")
	[ -n "$members" ] && printf '%b\n' "$members"
}
