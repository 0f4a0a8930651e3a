# The owner's own script, once for each droplet.
#
# Marked as done before it starts: a script that reboots the droplet runs only once.
# shellcheck shell=sh

SCRIPT=$STATE/user-data

user_data() {
	id=$(cat "$STATE/droplet-id" 2>/dev/null)
	is_number "$id" ||
		fail 'user-data: not looked at, since the id of this droplet is not known'
	[ "$(cat "$STATE/user-data-done" 2>/dev/null)" != "$id" ] || return 0
	if ! fetch user-data; then
		[ -z "$again" ] || fail "user-data: $reason; looked at again at the next boot"
		[ -n "$absent" ] || refuse_user_data "$reason"
		printf '' >"$WORK/user-data"
	fi
	open_user_data
	if [ "$(first_bytes)" = 2321 ]; then
		run_user_data
		return
	fi
	remember "$id" user-data-done
	[ -s "$WORK/user-data" ] || return 0
	line=$(head -c 300 "$WORK/user-data" | head -n 1 | tr -d '\n' | clean)
	refuse_user_data "'$line'; only a script that begins with #! is run here"
}

refuse_user_data() {
	remember "$id" user-data-done
	fail "user-data: not run: $1"
}

# gzip, by its first two bytes (RFC 1952, 2.3.1). A small file may unpack to more than the disk.
open_user_data() {
	if [ "$(first_bytes)" = 1f8b ]; then
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

first_bytes() {
	head -c 2 "$WORK/user-data" | od -A n -t x1 | tr -d ' \n'
}

run_user_data() {
	rm -f "$SCRIPT"
	replace "$WORK/user-data" "$SCRIPT" 700 || fail "user-data: $SCRIPT cannot be written"
	remember "$id" user-data-done || fail 'user-data: not run, since that could not be remembered'
	tell 'user-data: the script is started'
	(
		cd / && umask 022 && exec env -i HOME=/root USER=root LOGNAME=root SHELL=/bin/sh \
			PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$SCRIPT"
	) >>"$LOG" 2>&1 </dev/null
	status=$?
	[ "$status" -eq 0 ] || fail "user-data: the script ended with status $status; $LOG has its output"
	tell 'user-data: the script came to its end'
}
