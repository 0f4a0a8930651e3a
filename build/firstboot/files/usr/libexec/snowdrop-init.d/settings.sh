# Settings: defaults, and the lines NAME=VALUE of /etc/conf.d/snowdrop-init.
#
# The file is read as text and not run, so that a mistake in it costs one line only.
# shellcheck shell=sh

metadata_url=http://169.254.169.254/metadata/v1
patience=150         # seconds a new droplet waits for its metadata, all requests together
patience_refresh=20  # the same, once it has its keys and its name
patience_drive=20    # the same, when a config drive can answer instead
patience_later=3600  # seconds it repeats requests while sshd runs, when keys or name are missing
first_delay=1        # seconds before the second try; doubled each time
longest_delay=16
SNOWDROP_KEYS=yes
SNOWDROP_HOST_NAME=yes
SNOWDROP_ADDRESSES=yes
SNOWDROP_USER_DATA=yes
SNOWDROP_METADATA_ROOT_ONLY=no

read_settings() {
	[ -r "$CONF" ] || return 0
	number=0
	while IFS= read -r line || [ -n "$line" ]; do
		number=$((number + 1))
		case $line in
			# Before a program is started: most lines are comments.
			'' | '#'*) continue ;;
		esac
		line=$(printf '%s' "$line" | tr -d '\r' | sed 's/^[[:blank:]]*//; s/[[:blank:]]*$//')
		case $line in
			# Lines with rc_ are OpenRC's own.
			'' | '#'* | rc_*=*) continue ;;
		esac
		if ! split_setting "$line" || ! take_setting; then
			log "$CONF, line $number: '$(printf '%s' "$line" | clean)' is no setting; left out"
		fi
	done <"$CONF"
}

# split_setting LINE: set $name and $value; a comment, and quotes around a value, are left out. No
# value has a # of its own.
split_setting() {
	name=${1%%=*}
	[ "$name" != "$1" ] || return 1
	value=${1#*=}
	value=${value%%[[:blank:]]#*}
	value=${value%"${value##*[![:blank:]]}"}
	case $value in
		\"*\" | \'*\')
			value=${value#?}
			value=${value%?}
			;;
	esac
}

take_setting() {
	case $name in
		metadata_url)
			case $value in
				*[!A-Za-z0-9.:/_-]*) return 1 ;;
				http://?*) metadata_url=$value ;;
				*) return 1 ;;
			esac
			;;
		SNOWDROP_*) take_switch ;;
		*) is_seconds "$value" && take_number ;;
	esac
}

# The shell's arithmetic reads 010 as 8, and ends the service at 08.
is_seconds() {
	case $1 in
		0?* | ???????*) return 1 ;;
		*) is_number "$1" ;;
	esac
}

take_number() {
	case $name in
		patience) patience=$value ;;
		patience_refresh) patience_refresh=$value ;;
		patience_drive) patience_drive=$value ;;
		patience_later) patience_later=$value ;;
		first_delay) first_delay=$value ;;
		longest_delay) longest_delay=$value ;;
		*) return 1 ;;
	esac
}

take_switch() {
	case $value in
		yes | no) ;;
		*) return 1 ;;
	esac
	case $name in
		SNOWDROP_KEYS) SNOWDROP_KEYS=$value ;;
		SNOWDROP_HOST_NAME) SNOWDROP_HOST_NAME=$value ;;
		SNOWDROP_ADDRESSES) SNOWDROP_ADDRESSES=$value ;;
		SNOWDROP_USER_DATA) SNOWDROP_USER_DATA=$value ;;
		SNOWDROP_METADATA_ROOT_ONLY) SNOWDROP_METADATA_ROOT_ONLY=$value ;;
		*) return 1 ;;
	esac
}

is_on() {
	[ "$1" = yes ]
}

# is_enabled: whether this service is in a runlevel (rc-update(8)).
is_enabled() {
	for link in /etc/runlevels/*/snowdrop-init; do
		[ ! -e "$link" ] || return 0
	done
	return 1
}
