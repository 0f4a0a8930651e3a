# The owner's user data, once for each droplet.
#
# $STATE/user-data-begun has the id of the droplet whose user data was begun, user-data-ended its
# id and how it ended. What was begun is never begun again by itself: a script that restarts the
# droplet runs once. Each mark is on the disk before the next step.
# shellcheck shell=sh

user_data() {
	# It is looked at again: what is still wrong is reported again.
	forget user-data
	is_on "$SNOWDROP_USER_DATA" || return 0
	id=$(cat "$DMI/product_serial" 2>/dev/null)
	is_number "$id" || id=$(cat "$STATE/droplet-id" 2>/dev/null)
	is_number "$id" ||
		fail 'user-data: not looked at, since the id of this droplet is not known'
	! is_marked user-data-ended || return 0
	! is_marked user-data-begun || end_user_data \
		'the script was started, and the droplet stopped before its end; it is not run again'
	if ! fetch user-data; then
		[ -z "$oversize" ] || refuse_user_data "$reason"
		[ -n "$absent" ] || fail "user-data: $reason; looked at again at the next boot"
		printf '' >"$WORK/user-data"
	fi
	open_user_data
	mend_file "$WORK/user-data" ''
	by_kind
}

# The kinds of cloud-init's documentation, "User data formats", by the first line.
by_kind() {
	if [ ! -s "$WORK/user-data" ]; then
		mark_user_data none
		return
	fi
	line=$(first_line "$WORK/user-data")
	case $line in
		'#!'*) run_script "$line" ;;
		'#cloud-config' | '#cloud-config'[[:space:]]*)
			read_config "$WORK/user-data"
			apply_config
			;;
		[Cc]ontent-[Tt]ype:* | [Mm][Ii][Mm][Ee]-[Vv]ersion:*) mime_parts ;;
		*) refuse_kind ;;
	esac
}

refuse_kind() {
	refuse_user_data "'$(printf '%s' "$line" | clean)'; expected #!, #cloud-config or MIME multi-part"
}

refuse_user_data() {
	end_user_data "not run: $*"
}

# is_marked NAME: whether the mark is of this droplet.
is_marked() {
	[ "$(cut -d ' ' -f 1 "$STATE/$1" 2>/dev/null)" = "$id" ]
}

mark_user_data() {
	sync
	remember "$id $1" user-data-ended
	sync
}

# Record how it ended, for the next login too, and end this step.
end_user_data() {
	mark_user_data "$1"
	log "user-data: $1"
	exit 1
}

# gzip, by its first two bytes (RFC 1952, 2.3.1). A small file may unpack to more than the disk.
open_user_data() {
	if [ "$(first_bytes 2 "$WORK/user-data")" = 1f8b ]; then
		gzip -dc <"$WORK/user-data" 2>"$WORK/said" |
			head -c $((USER_DATA_BYTES + 1)) >"$WORK/unpacked"
		# gzip is ended by SIGPIPE when head has enough; its message would be misleading.
		[ ! -s "$WORK/said" ] || [ "$(wc -c <"$WORK/unpacked")" -gt "$USER_DATA_BYTES" ] ||
			refuse_user_data 'it begins like gzip, and cannot be unpacked'
		mv -f "$WORK/unpacked" "$WORK/user-data"
	fi
	[ "$(wc -c <"$WORK/user-data")" -le "$USER_DATA_BYTES" ] ||
		refuse_user_data "it is longer than $USER_DATA_BYTES bytes"
}

# first_bytes NUMBER FILE
first_bytes() {
	head -c "$1" "$2" | od -A n -t x1 | tr -d ' \n'
}

first_line() {
	head -c 300 "$1" | head -n 1 | tr -d '\0\n'
}

# mend_file FILE NAME: take away what editors and templates add before and after a line, and the
# kernel does not accept: a byte order mark, empty lines at the beginning, the line ends of Windows.
mend_file() {
	mended=
	if [ "$(first_bytes 3 "$1")" = efbbbf ]; then
		skip_bytes 3 "$1"
		mended='a byte order mark'
	fi
	blank=$(awk '/[^ \t\r]/ { exit } { n += length($0) + 1 }
		END { print n + 0 }' "$1")
	if [ "$blank" -gt 0 ] && [ -n "$(tr -d ' \t\r\n\0' <"$1" | head -c 1)" ]; then
		skip_bytes "$blank" "$1"
		mended="${mended:+$mended, }empty lines at the beginning"
	fi
	return_mark=$(printf '\r')
	case $(first_line "$1") in
		'#'*"$return_mark")
			sed "s/$return_mark\$//" "$1" >"$WORK/mended"
			mv -f "$WORK/mended" "$1"
			mended="${mended:+$mended, }line ends of Windows"
			;;
	esac
	[ -z "$mended" ] || log "user-data: $2repaired: $mended"
}

# skip_bytes NUMBER FILE
skip_bytes() {
	tail -c +$(($1 + 1)) "$2" >"$WORK/mended"
	mv -f "$WORK/mended" "$2"
}
