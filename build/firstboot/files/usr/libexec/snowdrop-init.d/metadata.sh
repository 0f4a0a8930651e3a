# Sources of values: the service at 169.254.169.254, or else the config drive.
# shellcheck shell=sh

REQUEST_SECONDS=5  # without one byte
ANSWER_SECONDS=20  # for a whole answer
DRIVE_LABEL=config-2
DRIVE_FILE=digitalocean_meta_data.json
DOCUMENT_BYTES=4194304
USER_DATA_BYTES=1048576

# Set the deadline for repeated requests.
wait_until() {
	if is_settled; then
		deadline=$patience_refresh
	else
		deadline=$patience
	fi
	if [ -e "$WORK/drive" ] && [ "$deadline" -gt "$patience_drive" ]; then
		deadline=$patience_drive
	fi
	deadline=$(($(now) + deadline))
}

is_settled() {
	[ -e "$STATE/hostname-done" ] && [ -s "$KEYS" ]
}

# fetch NAME: write the value of NAME to $WORK/NAME, or set $reason and fail; $absent is
# not empty when there is no such value. NAME is a path of the service, or v1.json, all of
# it, which is put into $WORK/values as flat lines.
fetch() {
	if [ -e "$WORK/service-gone" ]; then
		from_drive "$1"
		return
	fi
	delay=$first_delay
	while ! ask "$1"; do
		if [ -z "$again" ] || [ $(($(now) + delay)) -gt "$deadline" ]; then
			instead "$1"
			return
		fi
		note "$1: $reason; asked again in $delay s"
		sleep "$delay"
		delay=$((delay * 2))
		[ "$delay" -le "$longest_delay" ] || delay=$longest_delay
	done
}

# A service that answers without this value is still used for the next one.
instead() {
	[ -e "$WORK/drive" ] || return 1
	if [ -n "$again" ]; then
		tell "metadata: $reason; the config drive is used instead"
		printf '' >"$WORK/service-gone"
	fi
	from_drive "$1"
}

# ask NAME: one request. $again is empty when a second one cannot help.
ask() {
	# The address is link-local; eth0 may have come up just now.
	ip route replace 169.254.169.254/32 dev eth0 2>/dev/null
	answer=$WORK/$1.part
	url=$metadata_url/$1
	limit=65536
	case $1 in
		v1.json)
			url=$metadata_url.json
			limit=$DOCUMENT_BYTES
			;;
		user-data) limit=$((USER_DATA_BYTES + 512)) ;;
	esac
	rm -f "$answer"
	# The limit on file sizes ends an endless answer, timeout a slow one.
	(
		ulimit -f $((limit / 512))
		exec timeout "$ANSWER_SECONDS" busybox wget -q -T "$REQUEST_SECONDS" -O "$answer" "$url"
	) >"$WORK/said" 2>&1
	status=$?
	[ -e "$answer" ] || printf '' >"$answer"
	again=yes
	absent=
	if [ "$(wc -c <"$answer")" -ge "$limit" ]; then
		again=
		reason="the answer is longer than $limit bytes"
		return 1
	fi
	if [ "$status" -eq 0 ]; then
		take "$1" "$answer"
		return
	fi
	reason=$(clean <"$WORK/said")
	case $reason in
		*' 404'*)
			again=
			absent=yes
			;;
		'') reason="no whole answer within $ANSWER_SECONDS s" ;;
	esac
	return 1
}

# take NAME FILE: rename a complete answer.
take() {
	if [ "$1" != v1.json ]; then
		mv -f "$2" "$WORK/$1"
		return
	fi
	if flatten "$2" >"$WORK/values.part"; then
		mv -f "$WORK/values.part" "$WORK/values"
		return
	fi
	reason='no whole JSON document'
	return 1
}

flatten() {
	awk -f "$PARTS/json.awk" "$1"
}

# value PATH [FILE]: write the value at PATH of a flattened document, if there is one.
value() {
	line=$(awk -v start="$1	" 'index($0, start) == 1 {
		print substr($0, length(start) + 1)
		exit
	}' "${2-$WORK/values}")
	[ -n "$line" ] && printf '%b' "$line"
}

# --- the config drive ----------------------------------------------------------------------

# Write the drive's values, flattened, to $WORK/drive; fail silently when there is no drive.
look_for_drive() {
	find_drive || return 1
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
	if is_number "$id" && [ "$(value droplet_id "$WORK/drive.part")" != "$id" ]; then
		fail "config drive /dev/$drive: of another droplet than $id; it is left out"
	fi
	mv "$WORK/drive.part" "$WORK/drive"
}

# The volume's name is at 40 in the first descriptor, sector 16 (ECMA-119, 8.4). Reading it
# needs no module. A floppy disk's drive is not read: without a disk that takes seconds.
find_drive() {
	for block in /sys/class/block/*; do
		drive=${block##*/}
		case $drive in
			vd* | sd* | sr* | xvd* | hd*) ;;
			*) continue ;;
		esac
		name=$(dd if="/dev/$drive" bs=8 skip=4101 count=1 2>/dev/null | lower | tr -d '\0')
		[ "$name" != "$DRIVE_LABEL" ] || return 0
	done
	return 1
}

# from_drive NAME: as fetch.
from_drive() {
	again=
	absent=
	reason='the config drive does not have it'
	case $1 in
		v1.json) cp "$WORK/drive" "$WORK/values" ;;
		id) value droplet_id "$WORK/drive" >"$WORK/id" ;;
		public-keys) drive_keys >"$WORK/public-keys" ;;
		*) value "$(printf '%s' "$1" | tr - _)" "$WORK/drive" >"$WORK/$1" ;;
	esac || absent=yes
	[ -z "$absent" ]
}

drive_keys() {
	number=0
	while value "public_keys.$number" "$WORK/drive"; do
		echo
		number=$((number + 1))
	done
	[ "$number" -gt 0 ]
}
