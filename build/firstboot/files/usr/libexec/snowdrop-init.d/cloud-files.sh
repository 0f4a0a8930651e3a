# write_files of a #cloud-config document.
# shellcheck shell=sh

FILE_BYTES=16777216  # of one file, when it is unpacked

# write_files DEFER: those with `defer: true` are written after the packages.
write_files() {
	case $(kind_of write_files) in
		'') return 0 ;;
		list) ;;
		*)
			[ -n "$1" ] || complain 'write_files: no list; left out'
			return 0
			;;
	esac
	for number in $(names_in write_files); do
		item=write_files.$number
		deferred=
		! is_true "$item.defer" || deferred=true
		[ "$deferred" != "$1" ] || (write_one) || complain "write_files: item $((number + 1)) is not written"
	done
}

write_one() {
	path=$(config_value "$item.path")
	if ! is_scalar "$item.path" || ! is_file_path "$path"; then
		complain "write_files: '$path' is no path of a file"
		return 1
	fi
	names_in "$item" >"$WORK/names"
	while read -r name; do
		case $name in
			path | content | permissions | owner | append | encoding | defer) ;;
			*)
				complain "write_files: $path: $name: not supported"
				return 1
				;;
		esac
	done <"$WORK/names"
	mode=$(config_value "$item.permissions")
	is_mode "${mode:-644}" || {
		complain "write_files: $path: permissions '$mode' are no octal number"
		return 1
	}
	decode_content || {
		complain "write_files: $path: $why"
		return 1
	}
	put_file && own_file
}

# is_file_path PATH: absolute, without control characters and steps back.
is_file_path() {
	case $1/ in
		*[!\ -~]* | */../* | */./*) return 1 ;;
	esac
	case $1 in
		*/) return 1 ;;
		/?*) [ ! -d "$1" ] && [ "${#1}" -le 1024 ] ;;
		*) return 1 ;;
	esac
}

# is_mode TEXT: octal, as 0644, 644 or 0o644.
is_mode() {
	octal=${1#0o}
	octal=${octal#0}
	case $octal in
		*[!0-7]*) return 1 ;;
		??? | ????) ;;
		*) return 1 ;;
	esac
}

# Write the content to $WORK/content, or set $why and fail.
decode_content() {
	why='its content is no text'
	case $(kind_of "$item.content") in
		'' | plain | text) ;;
		*) return 1 ;;
	esac
	config_value "$item.content" >"$WORK/content" || return 1
	case $(config_value "$item.encoding" | lower) in
		'' | text/plain) return ;;
		b64 | base64) packed= ;;
		gz+b64 | gz+base64 | gzip+b64 | gzip+base64) packed=yes ;;
		*)
			why="encoding '$(config_value "$item.encoding")' is not supported"
			return 1
			;;
	esac
	why='its content is not base64'
	tr -d ' \n\t\r' <"$WORK/content" >"$WORK/base64"
	[ $(($(wc -c <"$WORK/base64") % 4)) -eq 0 ] || return 1
	! tr -d 'A-Za-z0-9+/=' <"$WORK/base64" | grep -q . || return 1
	base64 -d <"$WORK/base64" >"$WORK/content" 2>/dev/null || return 1
	[ -n "$packed" ] || return 0
	why="its content is not gzip, or longer than $FILE_BYTES bytes"
	mv -f "$WORK/content" "$WORK/packed"
	gzip -dc <"$WORK/packed" 2>"$WORK/said" | head -c $((FILE_BYTES + 1)) >"$WORK/content"
	[ ! -s "$WORK/said" ] && [ "$(wc -c <"$WORK/content")" -le "$FILE_BYTES" ]
}

put_file() {
	(umask 022 && mkdir -p "${path%/*}/") || return 1
	if is_true "$item.append" && [ -e "$path" ]; then
		cat "$WORK/content" >>"$path" || return 1
		[ -z "$mode" ] || chmod "$octal" "$path"
		return
	fi
	replace "$WORK/content" "$path" 600 || return 1
	# The owner first: chown takes the set-user-ID bit away.
	chmod "$octal" "$path"
}

own_file() {
	owner=$(config_value "$item.owner")
	[ -n "$owner" ] || return 0
	group=${owner#*:}
	[ "$group" != "$owner" ] || group=
	user=${owner%%:*}
	if ! is_account "$user" || ! has_user "$user" ||
		{ [ -n "$group" ] && { ! is_account "$group" || ! has_group "$group"; }; }; then
		complain "write_files: $path: there is no owner '$owner'; it is root's (\`defer: true\` writes it after the users)"
		return 0
	fi
	chown "$user${group:+:$group}" "$path" && { [ -z "$mode" ] || chmod "$octal" "$path"; }
}
