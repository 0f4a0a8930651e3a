# User data of the kind MIME multi-part: scripts, and one cloud-config.
# shellcheck shell=sh

# Split $WORK/user-data, check every part, and apply all of them.
mime_parts() {
	! has_zeros "$WORK/user-data" || refuse_user_data 'MIME: it contains a character 0'
	if ! awk -v FOLDER="$WORK" -f "$PARTS/mime.awk" "$WORK/user-data" >"$WORK/parts"; then
		refuse_user_data "MIME: $(tail -n 1 "$WORK/parts" | sed 's/^!	//' | tr -d '\n' | clean)"
	fi
	printf '' >"$WORK/others"
	while read -r number type encoding; do
		decode_part "$WORK/part.$number" || refuse_user_data \
			"MIME: part $number: not of the encoding $encoding, or that is not supported"
		mend_file "$WORK/part.$number" "MIME: part $number: "
		keep_part "$WORK/part.$number"
	done <"$WORK/parts"
	if [ -e "$WORK/cloud-config" ]; then
		read_config "$WORK/cloud-config"
	else
		printf '' >"$WORK/config"
	fi
	apply_config
}

decode_part() {
	case $encoding in
		7bit | 8bit | binary) ;;
		base64)
			base64 -d <"$1" >"$1.decoded" 2>/dev/null && mv -f "$1.decoded" "$1" && ! has_zeros "$1"
			;;
		*) return 1 ;;
	esac
}

# keep_part FILE: sort it by its type; text/plain by its first line, as cloud-init does.
keep_part() {
	start=$(head -c 300 "$1" | head -n 1 | tr -d '\0\r')
	case $type:$start in
		text/x-shellscript:'#!'* | text/plain:'#!'*) mv -f "$1" "$1.script" ;;
		text/cloud-config:* | text/plain:'#cloud-config'*)
			[ ! -e "$WORK/cloud-config" ] || refuse_user_data "MIME: part $number: a second cloud-config"
			mv -f "$1" "$WORK/cloud-config"
			;;
		*) printf 'MIME: part %s: %s is not supported; left out\n' "$number" "$type" >>"$WORK/others" ;;
	esac
}

# The scripts, in the order of the message, after the packages and before runcmd.
run_parts() {
	[ -e "$WORK/parts" ] || return 0
	while read -r text; do
		complain "$text"
	done <"$WORK/others"
	while read -r number _; do
		[ ! -e "$WORK/part.$number.script" ] ||
			run_file "$WORK/part.$number.script" "$STATE/user-data-$number" "script of part $number"
	done <"$WORK/parts"
}
