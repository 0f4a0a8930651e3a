# Identity of the droplet: id, host name, host keys.
# shellcheck shell=sh

POOL_SECONDS=60

# The droplet's id shows whether this disk belonged to another droplet before.
identity() {
	id=
	[ ! -r "$DMI/product_serial" ] || read -r id <"$DMI/product_serial"
	if ! is_number "$id"; then
		fetch id || fail "droplet id: $reason; the former identity stays"
		id=$(tidy <"$WORK/id" | word)
	fi
	is_number "$id" || fail "droplet id: the answer is not a number; the former identity stays"
	former=
	[ ! -r "$STATE/droplet-id" ] || read -r former <"$STATE/droplet-id"
	[ "$id" != "$former" ] || return 0
	# Without a former id nothing is known of the keys; they may be the owner's. With one, this
	# is remembered first: a power cut must not leave two droplets with one set of host keys.
	if [ -n "$former" ]; then
		[ -e "$STATE/host-keys-of" ] || remember "$former" host-keys-of ||
			fail "droplet id: cannot be written"
		[ -e "$STATE/keys-of" ] || remember "$former" keys-of || fail "droplet id: cannot be written"
	fi
	rm -f "$STATE/hostname-done" "$STATE/keys-done" "$STATE/keys-none" "$STATE/network" "$STATE/way" \
		"$STATE/config-keys"
	remember "$id" droplet-id || fail "droplet id: cannot be written"
}

# --- host name -----------------------------------------------------------------------------

# Once for each droplet: a name that the owner sets later is kept.
host_name() {
	is_on "$SNOWDROP_HOST_NAME" || return 0
	[ ! -e "$STATE/hostname-done" ] || return 0
	fetch hostname || fail "host name: $reason; it stays $(hostname)"
	# Blanks around the name are left out; what is inside must be one.
	name=$(tidy <"$WORK/hostname" | sed 's/^[[:blank:]]*//; s/[[:blank:]]*$//')
	is_host_name "$name" ||
		fail "host name: '$(printf '%s' "$name" | clean)' is none; it stays $(hostname)"
	# The kernel accepts at most 64 bytes; a longer name is written to /etc/hosts only.
	short=${name%%.*}
	called=$name
	[ "${#name}" -le 64 ] || called=$short
	printf '%s\n' "$called" >"$WORK/name"
	replace "$WORK/name" /etc/hostname 644 || fail "host name: /etc/hostname cannot be written"
	hostname "$called" || fail "host name: $called is not accepted by the kernel"
	forget 'host name'
	# No reason to apply the name again at the next start, over one that the owner has set by then.
	hosts_line || report 'host name: /etc/hosts cannot be written; it stays as it was'
	written /etc/hostname
	remember "$(cat "$STATE/droplet-id" 2>/dev/null)" hostname-done
}

# RFC 1123, section 2.1: labels of letters, digits and inner hyphens; not an IPv4 address.
is_host_name() {
	case $1 in
		'' | *[!A-Za-z0-9.-]* | .* | *. | *..* | -* | *- | *.-* | *-.*) return 1 ;;
	esac
	[ "${#1}" -le 253 ] || return 1
	rest=$1.
	while [ -n "$rest" ]; do
		label=${rest%%.*}
		[ "${#label}" -le 63 ] || return 1
		rest=${rest#*.}
	done
	case $1 in
		*.*) ! is_number "$label" ;;
	esac
}

# Rewrite /etc/hosts with one line of ours; all other lines stay.
hosts_line() {
	names=$name
	[ "$name" = "$short" ] || names="$name $short"
	line="127.0.1.1	$names	$MARK"
	if [ -e /etc/hosts ]; then
		awk -v mark="$MARK" 'substr($0, length($0) - length(mark) + 1) != mark' \
			/etc/hosts >"$WORK/hosts" || return 1
	fi
	printf '%s\n' "$line" >>"$WORK/hosts"
	[ "$(tail -n 1 "$WORK/hosts")" = "$line" ] || return 1
	replace "$WORK/hosts" /etc/hosts 644
}

# --- host keys -----------------------------------------------------------------------------

# The service of sshd, which starts after this one, generates the keys of a new droplet.
host_keys() {
	remove_empty_keys
	if [ -e "$STATE/host-keys-of" ]; then
		former=$(cat "$STATE/host-keys-of")
		log "this disk was droplet $former before: it gets host keys of its own"
		pool_is_ready
		new_host_keys || fail "host keys: new ones could not be made; those of droplet $former stay"
		rm -f "$STATE/host-keys-of"
	else
		for key in /etc/ssh/ssh_host_*_key; do
			[ ! -s "$key" ] || return 0
		done
		pool_is_ready
	fi
}

# ssh-keygen does not wait for the disk: a power cut within half a minute leaves files without
# content (ext4(5), delalloc). sshd's service would take them for keys, and sshd would not start.
remove_empty_keys() {
	for key in /etc/ssh/ssh_host_*_key; do
		if [ -f "$key" ] && [ ! -s "$key" ]; then
			rm -f "$key" "$key.pub"
			log "host keys: $key was empty, a new one is made"
			# sshd's service makes two kinds alone (/etc/rc.conf.d/snowdrop.conf).
			case $key in
				*_ed25519_key | *_ecdsa_key) ;;
				*) pool_is_ready && make_host_key "$key" "$key" ;;
			esac
		elif [ -f "$key.pub" ] && [ ! -s "$key.pub" ]; then
			ssh-keygen -y -f "$key" </dev/null >"$WORK/public" 2>/dev/null &&
				replace "$WORK/public" "$key.pub" 644
		fi
	done
}

# /dev/random blocks until the kernel's generator is seeded (random(4)).
pool_is_ready() {
	timeout "$POOL_SECONDS" dd if=/dev/random of=/dev/null bs=1 count=1 2>/dev/null ||
		log "random numbers: the kernel has none after $POOL_SECONDS s; sshd may be late"
}

# Old keys are removed after the new ones exist: without keys, sshd does not start.
new_host_keys() {
	made=$STATE/new-host-keys
	rm -rf "$made"
	mkdir -p "$made/etc/ssh" || return 1
	# sshd can be configured to use one of them alone (HostKey in sshd_config(5)), under any name.
	for key in /etc/ssh/ssh_host_*_key; do
		[ ! -f "$key" ] || make_host_key "$key" "$made$key" || return 1
	done
	set -- "$made"/etc/ssh/*
	# Without RSA, as /etc/rc.conf.d/snowdrop.conf has it.
	if [ ! -e "$1" ]; then
		for key in /etc/ssh/ssh_host_ed25519_key /etc/ssh/ssh_host_ecdsa_key; do
			make_host_key "$key" "$made$key" || return 1
		done
	fi
	for key in "$made"/etc/ssh/ssh_host_*_key; do
		[ -s "$key" ] && [ -s "$key.pub" ] || return 1
		chmod 644 "$key.pub"
	done
	sync
	for old in /etc/ssh/ssh_host_*; do
		[ -e "$made$old" ] || rm -f "$old"
	done
	mv -f "$made"/etc/ssh/ssh_host_* /etc/ssh/ || return 1
	rm -rf "$made"
}

# make_host_key OLD NEW: make the key NEW of the kind of OLD, by its content, or without by its name.
make_host_key() {
	kind=$(ssh-keygen -l -f "$1" </dev/null 2>/dev/null | sed 's/.*(//' | lower)
	case ${kind:-${1##*/}} in
		*ed25519*) kind=ed25519 ;;
		*ecdsa*) kind=ecdsa ;;
		*rsa*) kind=rsa ;;
		*) return 0 ;;
	esac
	ssh-keygen -q -t "$kind" -N '' -C '' -f "$2"
}

# The only way to check the first login: without a password reset, an image has no other witness.
show_host_keys() {
	[ ! -e "$SHOWN" ] && command -v ssh-keygen >/dev/null || return 0
	for key in /etc/ssh/ssh_host_*_key.pub; do
		[ -s "$key" ] || return 1
		# shellcheck disable=SC2046  # words: bits, fingerprint, comment, (TYPE)
		set -- $(ssh-keygen -l -f "$key" </dev/null 2>/dev/null)
		[ $# -ge 3 ] || continue
		fingerprint=$2
		shift $(($# - 1))
		log "host key $fingerprint $1"
	done
	printf '' >"$SHOWN"
}
