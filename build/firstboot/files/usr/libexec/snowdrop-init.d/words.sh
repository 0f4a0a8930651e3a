# Functions of all steps: log and console, atomic writes, checks of text.
# shellcheck shell=sh

LOG_BYTES=262144  # a longer log is put aside
BOM=$(printf '\357\273\277')

# prepare FOLDER: make the folder of temporary files, $WORK; fail when this program already runs.
prepare() {
	WORK=$1
	mkdir -p "${LOG%/*}" "$STATE"
	if [ -f "$LOG" ] && [ "$(wc -c <"$LOG")" -gt "$LOG_BYTES" ]; then
		mv -f "$LOG" "$LOG.old"
	fi
	printf '' 2>/dev/null >>"$LOG"
	# The target of a link, such as /dev/null, is not ours.
	if [ -f "$LOG" ] && [ ! -L "$LOG" ]; then
		chmod 600 "$LOG"
	fi
	# Standard error of programs goes there too. (A redirection that fails ends the shell.)
	if (exec 2>>"$LOG") 2>/dev/null; then
		exec 2>>"$LOG"
	fi
	if is_running "$WORK"; then
		log "${WORK##*/} still runs: process $(cat "$WORK/process")"
		return 1
	fi
	rm -rf "$WORK"
	mkdir -p "$WORK"
	echo $$ >"$WORK/process"
	# Without this, ^C in a restart would leave the folder, and look like a boot that still runs.
	trap 'rm -rf "$WORK"' EXIT
	trap 'exit 1' HUP INT TERM
}

# is_running FOLDER: whether the process that made the folder is still there.
is_running() {
	process=
	[ ! -r "$1/process" ] || read -r process <"$1/process"
	is_number "$process" && [ "$process" != $$ ] &&
		grep -q snowdrop-init "/proc/$process/cmdline" 2>/dev/null
}

is_droplet() {
	vendor=
	[ ! -r "$DMI/sys_vendor" ] || read -r vendor <"$DMI/sys_vendor"
	[ "$vendor" = DigitalOcean ] || [ "$(printf '%s' "$vendor" | tr -cd '[:alnum:]' | lower)" = digitalocean ]
}

# replace FILE TARGET MODE: replace TARGET atomically; a symbolic link stays one.
replace() {
	[ ! -e "$2" ] || ! cmp -s "$1" "$2" || return 0
	target=$2
	if [ -L "$2" ]; then
		target=$(readlink -f "$2")
		[ -n "$target" ] || return 1
	fi
	# mv would put the file into it.
	[ ! -d "$target" ] || return 1
	note_unfinished "$target.snowdrop-new"
	if cp "$1" "$target.snowdrop-new" && chmod "$3" "$target.snowdrop-new" && sync &&
		cmp -s "$1" "$target.snowdrop-new" && mv -f "$target.snowdrop-new" "$target"; then
		return 0
	fi
	rm -f "$target.snowdrop-new"
	return 1
}

# note_unfinished FILE: note where a file is about to be, unless it is in a folder that
# remove_unfinished looks into. A link needs no sync: it is on the disk before what is made later.
note_unfinished() {
	case ${1%/*} in
		"$STATE" | "${KEYS%/*}" | /etc) ;;
		*) ln -sfn "$1" "$STATE/unfinished.${WORK##*/}" ;;
	esac
}

# What a power cut left of files that were being written.
remove_unfinished() {
	for left in "$STATE"/unfinished.*; do
		[ ! -L "$left" ] || rm -f "$(readlink "$left")" "$left"
	done
	for left in "$STATE"/*.snowdrop-new "${KEYS%/*}"/*.snowdrop-new /etc/*.snowdrop-new; do
		if [ -e "$left" ] || [ -L "$left" ]; then
			rm -f "$left"
		fi
	done
}

# remember TEXT NAME: write a line of text to a file of the state folder atomically.
remember() {
	printf '%s\n' "$1" >"$WORK/remembered" && replace "$WORK/remembered" "$STATE/$2" 600
}

# written FILE: remember the digest of a file that was written for the owner; `snowdrop-status`
# compares it.
written() {
	{
		grep -v "  $1\$" "$STATE/written" 2>/dev/null
		sha256sum "$1"
	} >"$WORK/written"
	replace "$WORK/written" "$STATE/written" 600
}

is_number() {
	case $1 in
		'' | *[!0-9]*) return 1 ;;
	esac
	[ "${#1}" -le 18 ]
}

# Uptime, since chrony may change the clock.
now() {
	if [ -r /proc/uptime ]; then
		read -r uptime _ </proc/uptime
		echo "${uptime%.*}"
	else
		date +%s
	fi
}

fail() {
	report "$1"
	exit 1
}

# report TEXT: also list it at logins and by `snowdrop-status`. It begins with the name of its step.
report() {
	log "$1"
	grep -qxF "$1" "$PROBLEMS" 2>/dev/null || printf '%s\n' "$1" 2>/dev/null >>"$PROBLEMS"
}

# forget STEP: what it reported is solved.
forget() {
	[ -e "$PROBLEMS" ] || return 0
	grep -v "^$1: " "$PROBLEMS" >"$WORK/problems"
	cat "$WORK/problems" >"$PROBLEMS"
}

# To the log and to every console: on a droplet the screen of the panel and the serial line.
log() {
	note "$*"
	consoles=console
	[ ! -r /sys/class/tty/console/active ] || read -r consoles </sys/class/tty/console/active
	for console in $consoles; do
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

# Lines of text without a byte order mark and carriage returns.
tidy() {
	tr -d '\r' | sed "1s/^$BOM//"
}

# One word of text: without line ends and blanks.
word() {
	tr -d ' \t\r\n'
}
