# Functions of all steps: log and console, settings, atomic writes.
# shellcheck shell=sh

LOG_BYTES=262144  # a longer log is put aside

prepare() {
	mkdir -p "${LOG%/*}" "$STATE"
	if [ -f "$LOG" ] && [ "$(wc -c <"$LOG")" -gt "$LOG_BYTES" ]; then
		mv -f "$LOG" "$LOG.old"
	fi
	printf '' 2>/dev/null >>"$LOG"
	chmod 600 "$LOG" 2>/dev/null
	# Standard error of programs goes there too. (A redirection that fails ends the shell.)
	if (exec 2>>"$LOG") 2>/dev/null; then
		exec 2>>"$LOG"
	fi
	rm -rf "$WORK"
	mkdir -p "$WORK"
}

is_droplet() {
	vendor=$(cat "$DMI/sys_vendor" 2>/dev/null)
	[ "$vendor" = DigitalOcean ]
}

# An error in the file must not prevent the keys: another shell reads it first.
read_settings() {
	[ -r "$CONF" ] || return 0
	# shellcheck source=/dev/null
	if (. "$CONF"; true) >/dev/null 2>&1; then
		# shellcheck source=/dev/null
		. "$CONF"
	else
		tell "$CONF: the shell does not understand it; it is left out"
	fi
	is_number "$patience" || patience=150
	is_number "$patience_refresh" || patience_refresh=20
	is_number "$patience_drive" || patience_drive=20
	is_number "$patience_later" || patience_later=3600
	is_number "$first_delay" || first_delay=1
	is_number "$longest_delay" || longest_delay=16
}

# replace FILE TARGET MODE: replace TARGET atomically.
replace() {
	! cmp -s "$1" "$2" || return 0
	if cp "$1" "$2.snowdrop-new" && chmod "$3" "$2.snowdrop-new" && sync &&
		cmp -s "$1" "$2.snowdrop-new" && mv -f "$2.snowdrop-new" "$2"; then
		return 0
	fi
	rm -f "$2.snowdrop-new"
	return 1
}

# remember TEXT NAME: write a line of text to a file of the state folder atomically.
remember() {
	printf '%s\n' "$1" >"$WORK/remembered" && replace "$WORK/remembered" "$STATE/$2" 600
}

is_number() {
	case $1 in
		'' | *[!0-9]*) return 1 ;;
	esac
	[ "${#1}" -le 18 ]
}

# Uptime, since chrony may change the clock.
now() {
	cut -d . -f 1 /proc/uptime 2>/dev/null || date +%s
}

fail() {
	tell "$1"
	exit 1
}

# To the log and to every console: on a droplet the screen of the panel and the serial line.
tell() {
	note "$*"
	for console in $(cat /sys/class/tty/console/active 2>/dev/null || echo console); do
		[ -e "/dev/$console" ] || continue
		printf 'snowdrop-init: %s\n' "$*" 2>/dev/null >>"/dev/$console"
	done
}

note() {
	printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" 2>/dev/null >>"$LOG"
}

lower() {
	tr '[:upper:]' '[:lower:]'
}

# Received text is printed without control characters of terminals.
clean() {
	tr '\t\n' '  ' | tr -cd ' -~' | cut -c 1-100
}
