# A script of the owner's: run it, and keep the beginning and the end of its output.
# shellcheck shell=sh

SCRIPT=$STATE/user-data
OUTPUT=/var/log/snowdrop-userdata.log
OUTPUT_BYTES=262144  # of the beginning, and of the end
SCRIPT_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# run_script LINE: run $WORK/user-data; LINE is its first one.
run_script() {
	has_interpreter "$1" || refuse_user_data "$missing"
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

# has_interpreter LINE: whether the program of a line #! is there; if not, set $missing. A script for
# bash would end with "not found", which says neither what nor why.
has_interpreter() {
	set -f
	# shellcheck disable=SC2086  # words of the line
	set -- ${1#??}
	set +f
	program=${1-}
	[ "${program##*/}" != env ] || program_of_env "$@"
	package=
	if PATH=$SCRIPT_PATH command -v "$program" >/dev/null; then
		case ${1##*/}:${2-} in
			env:-S*) ;;
			*) return 0 ;;
		esac
		# busybox's env does not split its argument.
		! PATH=$SCRIPT_PATH env -S true 2>/dev/null || return 0
		program='env -S'
		package=coreutils
	fi
	program=$(printf '%s' "$program" | clean)
	missing="it asks for '$program', which is not in this image: begin it with #!/bin/sh,"
	missing="$missing or \`apk add ${package:-${program##*/}}\` and \`rc-service snowdrop-userdata again\`"
	return 1
}

# program_of_env ENV WORD...: set $program to the one that env(1) is asked to run, behind its options
# and assignments.
program_of_env() {
	shift
	program=
	before=
	for word; do
		case $before:$word in
			-u:* | -C:* | *:-* | *:*=*) before=$word ;;
			*)
				program=$word
				return
				;;
		esac
	done
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
