# User data of the kind #cloud-config: docs/cloud-config.md defines what is applied, and in which
# order. The document is flattened by cloud-config.awk into $WORK/config; a value is looked up by
# its path, checked, and given to a program as one argument.
# shellcheck shell=sh

READ_SECONDS=60
PACKAGE_SECONDS=1800
MAX_MESSAGES=20  # on the console; the log has the rest
ZONES=/usr/share/zoneinfo

# read_config FILE: read a document; refuse the user data when it is malformed.
read_config() {
	! has_zeros "$1" || refuse_user_data 'cloud-config: it contains a character 0'
	timeout "$READ_SECONDS" awk -f "$PARTS/cloud-config.awk" -f "$PARTS/cloud-scalars.awk" \
		-f "$PARTS/cloud-flow.awk" "$1" >"$WORK/config" && return
	reason=$(tail -n 1 "$WORK/config" | sed -n 's/^!	//p' | tr -d '\n' | clean)
	refuse_user_data "cloud-config: ${reason:-it cannot be read in $READ_SECONDS s}; nothing of it is applied"
}

has_zeros() {
	[ "$(tr -d '\0' <"$1" | wc -c)" -ne "$(wc -c <"$1")" ]
}

# apply_config: apply $WORK/config and the scripts $WORK/part.N.script, in cloud-init's order.
apply_config() {
	if ! remember "$id" user-data-begun || ! sync; then
		fail 'user-data: not applied, since that could not be remembered'
	fi
	log 'user-data: cloud-config: it is applied'
	: >"$WORK/complaints"
	name_others
	(write_files '') || complain 'write_files: not all were written'
	(config_host_name) || complain 'hostname: not settled'
	(config_users) || complain 'users: not settled'
	(config_keys ssh_authorized_keys root) || complain 'ssh_authorized_keys: not written'
	(config_time_zone early) || complain 'timezone: not settled'
	capture run_config
	number=$(wc -l <"$WORK/complaints" | word)
	[ "$number" -eq 0 ] ||
		end_user_data "cloud-config: applied, with $number messages; $LOG has them, $OUTPUT the output"
	mark_user_data 'cloud-config: it was applied'
	log 'user-data: cloud-config: it was applied'
}

# The part whose programs have an output.
run_config() {
	config_packages
	(config_time_zone late) || complain 'timezone: not settled'
	late_shells
	check_root_programs
	(write_files true) || complain 'write_files: not all were written'
	run_parts
	run_commands
}

# complain TEXT: what was left out or went wrong; the other parts are applied.
complain() {
	text=$(printf '%s' "$*" | tr '\n\t' '  ' | tr -cd ' -~' | cut -c 1-200)
	printf '%s\n' "$text" >>"$WORK/complaints"
	if [ "$(wc -l <"$WORK/complaints")" -le "$MAX_MESSAGES" ]; then
		log "user-data: cloud-config: $text"
	else
		note "user-data: cloud-config: $text"
	fi
}

# --- values --------------------------------------------------------------------------------

# kind_of PATH: map, list, plain or text; empty: there is no such node, or it is null.
kind_of() {
	awk -F '\t' -v path="$1" '$1 == path {
		if ($2 != "plain" || ($3 != "" && $3 != "~" && tolower($3) != "null")) print $2
		exit
	}' "$WORK/config"
}

is_scalar() {
	case $(kind_of "$1") in
		plain | text) ;;
		*) return 1 ;;
	esac
}

# config_value PATH: the value of a scalar, without a line feed of its own at the end.
config_value() {
	line=$(awk -v start="$1	" 'index($0, start) == 1 {
		text = substr($0, length(start) + 1)
		print substr(text, index(text, "\t") + 1)
		exit
	}' "$WORK/config")
	printf '%b' "$line"
}

# names_in PATH: the keys of a map, or the numbers of a list, in order; without PATH the keys of all.
names_in() {
	awk -F '\t' -v start="${1:+$1.}" 'start == "" || index($1, start) == 1 {
		name = substr($1, length(start) + 1)
		if (name != "" && name !~ /[.]/) print name
	}' "$WORK/config"
}

# is_true PATH: of a boolean as YAML 1.1 writes it; fail for anything else.
is_true() {
	case $(config_value "$1" | lower) in
		true | yes | on | y) ;;
		*) return 1 ;;
	esac
}

# is_account NAME: of a user or a group, as useradd(8) wants it.
is_account() {
	case $1 in
		'' | [!a-z_]* | *[!a-z0-9_-]*) return 1 ;;
	esac
	[ "${#1}" -le 32 ]
}

has_user() {
	grep -q "^$1:" /etc/passwd
}

has_group() {
	grep -q "^$1:" /etc/group
}

name_others() {
	names_in '' >"$WORK/names"
	while read -r name; do
		case $name in
			ssh_authorized_keys | users | hostname | fqdn | timezone | write_files) ;;
			packages | package_update | package_upgrade | runcmd) ;;
			bootcmd) complain 'bootcmd: not run: it would run at every start, before the network; use runcmd' ;;
			*) complain "$name: not supported; left out" ;;
		esac
	done <"$WORK/names"
}

# --- host name and time zone ---------------------------------------------------------------

config_host_name() {
	[ -n "$(kind_of hostname)$(kind_of fqdn)" ] || return 0
	called=$(config_value hostname)
	name=$(config_value fqdn)
	: "${name:=$called}" "${called:=$name}"
	if ! is_host_name "$name" || ! is_host_name "$called"; then
		complain "hostname: '$called' is none; it stays $(hostname)"
		return
	fi
	short=${name%%.*}
	[ "$called" = "$name" ] || short=$called
	[ "${#called}" -le 64 ] || called=${called%%.*}
	printf '%s\n' "$called" >"$WORK/name"
	replace "$WORK/name" /etc/hostname 644 && hostname "$called" || return
	hosts_line || complain 'hostname: /etc/hosts cannot be written; it stays as it was'
	# A name of metadata that comes later does not replace it.
	written /etc/hostname && remember "$id" hostname-done
}

# config_time_zone early|late: the package tzdata may be one that the document asks for.
config_time_zone() {
	[ -n "$(kind_of timezone)" ] || return 0
	zone=$(config_value timezone)
	case /$zone/ in
		*[!A-Za-z0-9_+/-]* | *//*) zone= ;;
	esac
	if [ -n "$zone" ] && [ -f "$ZONES/$zone" ]; then
		ln -sfn "$ZONES/$zone" /etc/localtime.snowdrop-new &&
			mv -f /etc/localtime.snowdrop-new /etc/localtime
	elif [ "$1" = late ]; then
		complain "timezone: $(config_value timezone): no such zone in $ZONES, which the package tzdata brings"
	fi
}

# --- packages and commands -----------------------------------------------------------------

config_packages() {
	if is_true package_update; then
		apk_run update || complain 'package_update: apk update failed'
	fi
	if is_true package_upgrade; then
		apk_run upgrade --update-cache || complain 'package_upgrade: apk upgrade failed'
	fi
	[ -n "$(kind_of packages)" ] || return 0
	[ "$(kind_of packages)" = list ] || {
		complain 'packages: no list; left out'
		return
	}
	set --
	for number in $(names_in packages); do
		package=$(package_name "packages.$number")
		if is_package "$package"; then
			set -- "$@" "$package"
		else
			complain "packages: '$package' is no name of a package; left out"
		fi
	done
	[ $# -gt 0 ] || return 0
	apk_run add --update-cache "$@" && return
	# apk adds all or nothing: without the one that is missing, the others are still wanted.
	for package in "$@"; do
		apk_run add "$package" || complain "packages: $package: apk add failed"
	done
}

apk_run() {
	timeout "$PACKAGE_SECONDS" apk "$@" </dev/null
}

# package_name PATH: NAME, or NAME=VERSION of a list of both.
package_name() {
	if [ "$(kind_of "$1")" = list ] && [ "$(names_in "$1" | wc -l)" -eq 2 ]; then
		printf '%s=%s' "$(config_value "$1.0")" "$(config_value "$1.1")"
	elif is_scalar "$1"; then
		config_value "$1"
	fi
}

is_package() {
	case $1 in
		'' | [!A-Za-z0-9]* | *[!A-Za-z0-9._+=~-]* | *=*=*) return 1 ;;
	esac
	[ "${#1}" -le 128 ]
}

# The commands become one script, as with cloud-init: `cd` and variables hold for the next one. A
# string is a line of it; each word of a list is quoted, so that the shell does not read it.
run_commands() {
	[ -n "$(kind_of runcmd)" ] || return 0
	[ "$(kind_of runcmd)" = list ] || {
		complain 'runcmd: no list; left out'
		return
	}
	echo '#!/bin/sh' >"$WORK/runcmd"
	for number in $(names_in runcmd); do
		path=runcmd.$number
		if is_scalar "$path"; then
			config_value "$path" >>"$WORK/runcmd"
		elif ! quoted_words "$path" >>"$WORK/runcmd"; then
			complain "runcmd: item $((number + 1)) is neither a string nor a list of strings; left out"
		fi
		echo >>"$WORK/runcmd"
	done
	run_file "$WORK/runcmd" "$STATE/user-data-runcmd" runcmd
}

quoted_words() {
	[ "$(kind_of "$1")" = list ] || return 1
	words=
	for word_number in $(names_in "$1"); do
		is_scalar "$1.$word_number" || return 1
		words="$words '$(config_value "$1.$word_number" | sed "s/'/'\\\\''/g")'"
	done
	printf '%s' "${words# }"
}

# run_file FILE TARGET NAME: run a script of the owner's from a folder where programs may be run.
run_file() {
	rm -f "$2"
	replace "$1" "$2" 700 || {
		complain "$3: $2 cannot be written"
		return
	}
	if has_interpreter "$(first_line "$2")"; then
		run_program "$2" || complain "$3: ended with status $?"
	else
		complain "$3: not run: $missing"
	fi
}
