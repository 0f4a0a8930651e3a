# Accounts and SSH keys of a #cloud-config document. An account never gets a password: `*` in
# /etc/shadow refuses each one, and unlike `!` it does not refuse SSH keys (sshd without PAM).
# shellcheck shell=sh

config_users() {
	case $(kind_of users) in
		'') return 0 ;;
		list) ;;
		*)
			complain 'users: no list; left out'
			return
			;;
	esac
	for number in $(names_in users); do
		path=users.$number
		if [ "$(kind_of "$path")" = map ]; then
			(config_user "$path") || complain "users: item $((number + 1)): not settled"
		elif [ "$(config_value "$path")" = default ]; then
			complain "users: 'default': this image has no default user; left out"
		else
			complain "users: item $((number + 1)) has no name; left out"
		fi
	done
}

config_user() {
	user=$(config_value "$1.name")
	if ! is_scalar "$1.name" || ! is_account "$user"; then
		complain "users: '$user' is no name of a user; left out"
		return
	fi
	names_in "$1" >"$WORK/names"
	while read -r name; do
		case $name in
			name | sudo | doas | shell | groups | ssh_authorized_keys) ;;
			passwd | plain_text_passwd | hashed_passwd)
				complain "users: $user: $name: accounts get no password; left out"
				;;
			lock_passwd)
				is_true "$1.lock_passwd" ||
					complain "users: $user: lock_passwd: accounts get no password; left out"
				;;
			*) complain "users: $user: $name: not supported; left out" ;;
		esac
	done <"$WORK/names"
	make_user "$1" || return
	join_groups "$1"
	may_become_root "$1"
	config_keys "$1.ssh_authorized_keys" "$user"
}

make_user() {
	shell=$(wanted_shell "$1")
	if ! has_user "$user"; then
		set -- -D -h "/home/$user" -s "${shell:-/bin/sh}"
		# A group of that name may be an earlier user's.
		! has_group "$user" || set -- "$@" -G "$user"
		if ! adduser "$@" "$user" ||
			! printf '%s:*\n' "$user" | chpasswd -e; then
			complain "users: $user: could not be made"
			return 1
		fi
	elif [ -n "$shell" ]; then
		set_shell "$user" "$shell"
	fi
}

# A shell that is not there keeps the user out: the account gets /bin/sh until a package brings it.
wanted_shell() {
	[ -n "$(kind_of "$1.shell")" ] || return 0
	wanted=$(config_value "$1.shell")
	if ! is_program_path "$wanted"; then
		complain "users: $user: shell '$wanted' is no path; left out"
	elif [ -x "$wanted" ]; then
		printf '%s' "$wanted"
	else
		printf '%s %s\n' "$user" "$wanted" >>"$WORK/late-shells"
	fi
}

is_program_path() {
	case $1 in
		/*[!A-Za-z0-9._/+-]* | *[!A-Za-z0-9._/+-]* | */../* | */) return 1 ;;
		/?*) ;;
		*) return 1 ;;
	esac
}

late_shells() {
	[ -e "$WORK/late-shells" ] || return 0
	while read -r user wanted; do
		if [ -x "$wanted" ]; then
			set_shell "$user" "$wanted"
		else
			complain "users: $user: shell $wanted is not installed; it is /bin/sh"
		fi
	done <"$WORK/late-shells"
}

set_shell() {
	if awk -F : -v OFS=: -v user="$1" -v shell="$2" '$1 == user { $7 = shell } { print }' \
		/etc/passwd >"$WORK/passwd" && replace "$WORK/passwd" /etc/passwd 644; then
		return 0
	fi
	complain "users: $1: shell $2 could not be set"
}

# join_groups PATH: of a list, or of names with commas between them.
join_groups() {
	if [ "$(kind_of "$1.groups")" = list ]; then
		for group_number in $(names_in "$1.groups"); do
			config_value "$1.groups.$group_number"
			echo
		done
	else
		config_value "$1.groups" | tr ',' '\n'
	fi | sed 's/^ *//; s/ *$//' >"$WORK/groups"
	while read -r group || [ -n "$group" ]; do
		[ -n "$group" ] || continue
		if ! is_account "$group"; then
			complain "users: $user: '$group' is no name of a group; left out"
		elif ! has_group "$group" && ! addgroup "$group"; then
			complain "users: $user: the group $group could not be made"
		elif ! addgroup "$user" "$group"; then
			complain "users: $user: not in the group $group"
		fi
	done <"$WORK/groups"
}

# The one rule that an account without a password can use; sudo and doas are told the same.
may_become_root() {
	for key in sudo doas; do
		case $(kind_of "$1.$key") in
			list)
				for rule in $(names_in "$1.$key"); do
					root_rule "$1.$key.$rule"
				done
				;;
			'') ;;
			*) root_rule "$1.$key" ;;
		esac
	done
}

root_rule() {
	rule_text=$(config_value "$1" | tr -d ' \t')
	case $key:$rule_text in
		sudo:false | sudo:False) return ;;
		'sudo:ALL=(ALL)NOPASSWD:ALL' | 'sudo:ALL=(ALL:ALL)NOPASSWD:ALL') ;;
		"doas:permitnopass$user" | "doas:permitnopass${user}asroot") ;;
		*)
			complain "users: $user: $key: only 'ALL=(ALL) NOPASSWD:ALL' and 'permit nopass $user' are supported; left out"
			return
			;;
	esac
	write_rule "$user ALL=(ALL:ALL) NOPASSWD: ALL" /etc/sudoers.d 750 "snowdrop-$user" 440
	write_rule "permit nopass $user" /etc/doas.d 755 "snowdrop-$user.conf" 400
	printf '%s\n' "$user" >>"$WORK/roots"
}

# write_rule LINE FOLDER ITS-MODE NAME MODE
write_rule() {
	printf '%s\n' "$1" >"$WORK/rule"
	if { [ -d "$2" ] || mkdir -m "$3" "$2"; } && replace "$WORK/rule" "$2/$4" "$5"; then
		return 0
	fi
	complain "users: $2/$4: the rule could not be written"
}

check_root_programs() {
	[ ! -s "$WORK/roots" ] || command -v doas >/dev/null || command -v sudo >/dev/null ||
		complain 'users: neither doas nor sudo is installed: add one of them to packages'
}

# config_keys PATH USER: into the file of Snowdrop, where root's keys of metadata are too.
config_keys() {
	[ -n "$(kind_of "$1")" ] || return 0
	if [ "$(kind_of "$1")" = list ]; then
		for key_number in $(names_in "$1"); do
			config_value "$1.$key_number" | tr '\n' ' '
			echo
		done
	else
		config_value "$1"
	fi >"$WORK/lines"
	accept_keys <"$WORK/lines" >"$WORK/new-keys" || return 1
	[ "$refused" -eq 0 ] || complain "ssh_authorized_keys of $2: lines that are no keys: $refused"
	[ -s "$WORK/new-keys" ] || return 0
	KEYS=${KEYS%/*}/$2
	[ "$2" != root ] || cat "$WORK/new-keys" >>"$STATE/config-keys" || return 1
	[ ! -f "$KEYS" ] || cat "$KEYS" >"$WORK/keys" || return 1
	[ -f "$KEYS" ] || printf '' >"$WORK/keys"
	grep -vxFf "$WORK/keys" "$WORK/new-keys" >"$WORK/missing-keys" 2>/dev/null ||
		[ -s "$WORK/keys" ] || cp "$WORK/new-keys" "$WORK/missing-keys"
	cat "$WORK/missing-keys" >>"$WORK/keys"
	write_keys
}
