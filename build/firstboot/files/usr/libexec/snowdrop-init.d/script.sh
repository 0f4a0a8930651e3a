# A script of the owner's: run it, and keep the beginning and the end of its output.
# shellcheck shell=sh

SCRIPT=$STATE/user-data
OUTPUT=/var/log/snowdrop-userdata.log
OUTPUT_BYTES=262144  # of the beginning, and of the end
SCRIPT_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# run_script LINE: run $WORK/user-data; LINE is its first one without #!.
run_script() {
	check_interpreter "$1"
	rm -f "$SCRIPT"
	replace "$WORK/user-data" "$SCRIPT" 700 || fail "user-data: $SCRIPT cannot be written"
	if ! remember "$id" user-data-begun || ! sync; then
		fail 'user-data: not run, since that could not be remembered'
	fi
	log 'user-data: the script is started'
	capture run_program "$SCRIPT"
	[ "$status" -eq 0 ] ||
		end_user_data "the script ended with status $status; $OUTPUT has its output"
	mark_user_data 'the script came to its end'
	log 'user-data: the script came to its end'
}

# A script for bash would end with "not found", which says neither what nor why.
check_interpreter() {
	set -f
	# shellcheck disable=SC2086  # words of the line
	set -- $1
	set +f
	program=${1-}
	if [ "${program##*/}" = env ]; then
		[ "${2-}" != -S ] || shift
		program=${2-}
	fi
	! PATH=$SCRIPT_PATH command -v "$program" >/dev/null || return 0
	program=$(printf '%s' "$program" | clean)
	refuse_user_data "it asks for '$program', which is not in this image: begin it with #!/bin/sh," \
		"or \`apk add ${program##*/}\` and \`rc-service snowdrop-userdata again\`"
}

# run_program FILE: with the environment of a login of root's.
run_program() {
	(
		cd / && umask 022 && exec env -i HOME=/root USER=root LOGNAME=root SHELL=/bin/sh \
			PATH="$SCRIPT_PATH" "$1" </dev/null
	)
}

# capture COMMAND...: keep its output, and set $status. The script does not write to the log itself: its output has no end.
capture() {
	mkfifo -m 600 "$WORK/output" || fail 'user-data: not run: no pipe for its output'
	keep_output <"$WORK/output" >/dev/null &
	keeper=$!
	"$@" >"$WORK/output" 2>&1 </dev/null
	status=$?
	# A program that the script started may hold the pipe open; its output is still kept.
	tries=50
	while [ "$tries" -gt 0 ] && kill -0 "$keeper" 2>/dev/null; do
		sleep 0.1
		tries=$((tries - 1))
	done
}

# The limit on file sizes ends the first program when the file is full; the second one reads on.
keep_output() {
	rm -f "$OUTPUT"
	(
		ulimit -f $((OUTPUT_BYTES / 512))
		exec cat >"$OUTPUT"
	) 2>/dev/null && return
	printf '\n[snowdrop-init: the middle of a long output is left out]\n' >>"$OUTPUT"
	tail -c "$OUTPUT_BYTES" >>"$OUTPUT"
}
