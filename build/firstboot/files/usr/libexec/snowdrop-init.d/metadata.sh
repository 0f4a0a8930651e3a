# Values of the metadata service at 169.254.169.254, or else of the config drive.
# shellcheck shell=sh

REQUEST_SECONDS=5  # without one byte
ANSWER_SECONDS=20  # for a whole answer
DOCUMENT_BYTES=4194304
USER_DATA_BYTES=1048576
KEYS_BYTES=262144  # more than 300 RSA keys of 4096 bits
VALUE_BYTES=65536

# Set the deadline for repeated requests of a boot.
wait_until() {
	if is_settled; then
		wait_for "$patience_refresh"
	else
		wait_for "$patience"
	fi
}

wait_for() {
	seconds=$1
	if [ -e "$WORK/drive" ] && [ "$seconds" -gt "$patience_drive" ]; then
		seconds=$patience_drive
	fi
	deadline=$(($(now) + seconds))
}

# has_all: whether this droplet has its keys and its name, or their owner wants neither.
has_all() {
	{ [ -e "$STATE/hostname-done" ] || ! is_on "$SNOWDROP_HOST_NAME"; } &&
		{ [ -e "$STATE/keys-done" ] || [ -L "$KEYS" ] || ! is_on "$SNOWDROP_KEYS"; }
}

# is_settled: the same, or the service has said for its whole patience that there are no keys.
is_settled() {
	has_all || { [ -e "$STATE/hostname-done" ] && [ -e "$STATE/keys-none" ]; }
}

# fetch NAME: write the value of NAME to $WORK/NAME, or set $reason and fail; $absent is
# not empty when there is no such value, $oversize when it is too long. NAME is a path of the service, or v1.json, all of
# it, which is put into $WORK/values as flat lines.
#
# An absent value is asked for again too: the service of a new droplet may not be filled yet.
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
	if [ -n "$again" ] && [ -z "$absent" ]; then
		log "metadata: $reason; the config drive is used instead"
		printf '' >"$WORK/service-gone"
	fi
	from_drive "$1"
}

# ask NAME: request it by each way in turn, beginning with the one that led to the service last.
# $again is empty when a further request cannot help.
ask() {
	absent=
	again=
	oversize=
	reason='there is no network card'
	known=
	[ ! -r "$STATE/way" ] || read -r known <"$STATE/way"
	ways=$(list_ways "$known")
	for way in $ways; do
		take_way "$way" || continue
		if request "$1"; then
			[ "$way" = "$known" ] || remember "$way" way
			return 0
		fi
		[ -n "$unreached" ] || return 1
	done
	return 1
}

# request NAME: one request. $unreached is not empty when it did not arrive at the service.
request() {
	answer=$WORK/$1.part
	url=$metadata_url/$1
	case $1 in
		v1.json)
			url=$metadata_url.json
			limit=$DOCUMENT_BYTES
			;;
		user-data) limit=$((USER_DATA_BYTES + 512)) ;;
		public-keys) limit=$KEYS_BYTES ;;
		*) limit=$VALUE_BYTES ;;
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
	unreached=
	if [ "$(wc -c <"$answer")" -ge "$limit" ]; then
		too_long "$1"
		return
	fi
	if [ "$status" -eq 0 ]; then
		take "$1" "$answer"
		return
	fi
	reason=$(clean <"$WORK/said")
	case $reason in
		*' 404'*) absent=yes ;;
		*"can't connect"* | *'timed out'*) unreached=yes ;;
		'')
			reason="no whole answer within $ANSWER_SECONDS s"
			unreached=yes
			;;
	esac
	return 1
}

# too_long NAME: of keys, the whole lines are taken; half of any other value is of no use.
too_long() {
	again=
	oversize=yes
	reason="the answer is longer than $limit bytes"
	[ "$1" = public-keys ] || return 1
	sed '$d' "$answer" >"$WORK/$1"
	grep -q ' AAAA' "$WORK/$1" && take_keys "$WORK/$1" || return 1
	log "SSH keys: $reason; those at its beginning are taken"
}

# take NAME FILE: rename a complete answer.
take() {
	read_beginning "$2"
	# A captive portal and a proxy answer any request, with a page. No value begins like one.
	if [ "${beginning#<}" != "$beginning" ]; then
		reason='a web page answers in place of the service'
		unreached=yes
		return 1
	fi
	if [ "$1" = v1.json ]; then
		take_document "$2"
		return
	fi
	if [ -z "$beginning" ]; then
		reason='the answer is empty'
		absent=yes
		return 1
	fi
	if [ "$1" = public-keys ]; then
		take_keys "$2"
		return
	fi
	mv -f "$2" "$WORK/$1"
}

# read_beginning FILE: set $beginning to its first bytes behind a byte order mark and blanks.
read_beginning() {
	beginning=$(tr -d '\0[:space:]' <"$1" | head -c 8)
	beginning=${beginning#"$BOM"}
}

# take_document FILE: one without a card is of a service that is not filled yet.
take_document() {
	if ! flatten "$1" >"$WORK/values.part"; then
		reason='no whole JSON document'
		return 1
	fi
	if ! has_cards "$WORK/values.part"; then
		reason='no network card in the document'
		absent=yes
		return 1
	fi
	mv -f "$WORK/values.part" "$WORK/values"
}

# has_cards FILE: whether a flattened document has the hardware address of a card.
has_cards() {
	grep -q '^interfaces\.[a-z]*\.[0-9]*\.mac	.*[[:xdigit:]]:[[:xdigit:]]' "$1"
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
