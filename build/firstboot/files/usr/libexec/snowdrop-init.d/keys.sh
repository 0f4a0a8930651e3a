# SSH keys of metadata, once for each droplet: its metadata never changes, the owner's mind may.
#
# They are in a file of their own; the owner's ~/.ssh is never read, also not through a link.
# $STATE/keys-done says that they are there, keys-none that this droplet has none, and keys-of, whose
# they are, when the disk was another droplet before.
# shellcheck shell=sh

ssh_keys() {
	if ! is_on "$SNOWDROP_KEYS"; then
		! drop_former || log "SSH keys: SNOWDROP_KEYS=no; those of droplet $former are removed"
		return 0
	fi
	[ ! -e "$STATE/keys-done" ] || return 0
	[ ! -L "$KEYS" ] ||
		fail "SSH keys: $KEYS is a symbolic link, so it is the owner's; it is left alone"
	refused=0
	found=yes
	fetch public-keys || found=
	[ "$refused" -eq 0 ] || log "SSH keys: lines of the answer that are no keys: $refused"
	if [ -z "$found" ]; then
		[ -z "$absent" ] || no_keys
		fail "SSH keys: $reason; the former ones stay: $(count_keys)"
	fi
	add_config_keys
	write_keys || fail "SSH keys: $KEYS cannot be written; the former ones stay: $(count_keys)"
	rm -f "$STATE/keys-of" "$STATE/keys-none"
	forget 'SSH keys'
	remember "$(cat "$STATE/droplet-id" 2>/dev/null)" keys-done
}

# take_keys FILE: write the usable keys of an answer to $WORK/keys. An answer without one is as good
# as none: the service may not be filled yet.
take_keys() {
	key_lines <"$1" >"$WORK/lines"
	if [ "$(tail -n 1 "$WORK/lines")" != "$KEYS_END" ] || ! accept_keys <"$WORK/lines" >"$WORK/keys"; then
		reason="no room in $WORK"
		return 1
	fi
	[ ! -s "$WORK/keys" ] || return 0
	reason='none in the answer'
	absent=yes
	return 1
}

# This droplet has no keys.
no_keys() {
	remember "$(cat "$STATE/droplet-id" 2>/dev/null)" keys-none
	! drop_former || fail "SSH keys: $reason; those of droplet $former are removed"
}

# Keys of another droplet, whose disk this was, must not open this one. Fail when there is none.
drop_former() {
	former=$(cat "$STATE/keys-of" 2>/dev/null)
	[ -n "$former" ] && [ ! -L "$KEYS" ] || return 1
	printf '' >"$WORK/keys"
	add_config_keys
	write_keys || rm -f "$KEYS" || fail "SSH keys: those of droplet $former cannot be removed"
	rm -f "$STATE/keys-of"
}

# Those that user data gave root before the service answered. A copy has forgotten its former ones.
add_config_keys() {
	[ ! -s "$STATE/config-keys" ] || cat "$STATE/config-keys" >>"$WORK/keys"
}

write_keys() {
	[ ! -L "$KEYS" ] || return 1
	# sshd reads the keys of an account as that account.
	[ -d "${KEYS%/*}" ] || (umask 022 && mkdir -p "${KEYS%/*}")
	replace "$WORK/keys" "$KEYS" 644 && written "$KEYS"
}

# The last line that awk writes. Without it the disk was full, which awk does not report.
KEYS_END='# end'

# Lines of type, key and comment, for all keys at once: a program for each would take seconds.
# Comments are cut, and other characters than printable ones of ASCII are shown as ?.
key_lines() {
	tidy | tr '\t' ' ' | tr -c ' -~\n' '?' | awk -v end="$KEYS_END" '
		{
			type = $1
			key = $2
			$1 = $2 = ""
			sub(/^ +/, "")
			print type, key, substr($0, 1, 100)
		}
		END { print end }
	'
}

# Write the usable ones of the keys on standard input; count the other lines in $refused.
accept_keys() {
	refused=0
	: >"$WORK/candidates"
	while read -r type blob comment || [ -n "$type" ]; do
		case $type in
			'' | '#'*) continue ;;
		esac
		if has_form "$type" "$blob"; then
			printf '%s %s%s\n' "$type" "$blob" "${comment:+ $comment}" >>"$WORK/candidates" || return 1
		else
			refused=$((refused + 1))
		fi
	done
	# Only ssh-keygen detects a key that was cut short.
	if ! command -v ssh-keygen >/dev/null || are_keys "$WORK/candidates"; then
		cat "$WORK/candidates"
		return
	fi
	while read -r type blob comment; do
		printf '%s %s\n' "$type" "$blob" >"$WORK/key"
		if are_keys "$WORK/key"; then
			printf '%s %s%s\n' "$type" "$blob" "${comment:+ $comment}" || return 1
		else
			refused=$((refused + 1))
		fi
	done <"$WORK/candidates"
}

has_form() {
	case $1 in
		ssh-ed25519 | ssh-rsa) ;;
		ecdsa-sha2-nistp256 | ecdsa-sha2-nistp384 | ecdsa-sha2-nistp521) ;;
		sk-ssh-ed25519@openssh.com | sk-ecdsa-sha2-nistp256@openssh.com) ;;
		*) return 1 ;;
	esac
	case $2 in
		'' | *[!A-Za-z0-9+/=]*) return 1 ;;
	esac
}

# are_keys FILE: whether each of its lines is a key. ssh-keygen prints a line for each that is one:
# a program for each of a hundred keys would take half a minute on a slow machine.
are_keys() {
	[ "$(ssh-keygen -l -f "$1" </dev/null 2>/dev/null | grep -c .)" -eq "$(grep -c . "$1")" ]
}

count_keys() {
	if [ -f "$KEYS" ] && [ ! -L "$KEYS" ]; then
		grep -c . "$KEYS"
	else
		echo 0
	fi
}
