# Network cards: which there are, whose they are, and the ways to the metadata service.
# shellcheck shell=sh

METADATA=169.254.169.254
MAX_WAYS=16
INTERFACES=/etc/network/interfaces

# The names of the network cards, eth0 first, without bridges, VLANs and ports of a bridge.
list_cards() {
	for net in "$NETS"/*; do
		[ -e "$net/device" ] && ! is_port "${net##*/}" && echo "${net##*/}"
	done
}

# A port of a bridge or a bond has no address of its own: it belongs to the owner's device.
is_port() {
	[ -e "$NETS/$1/master" ] || [ -e "$NETS/$1/brport" ]
}

# A bridge or a VLAN may have the same hardware address: a physical device is preferred.
nic_of() {
	for real in device .; do
		for net in "$NETS"/*; do
			hardware=
			[ ! -r "$net/address" ] || read -r hardware <"$net/address"
			if [ -e "$net/$real" ] && [ "$hardware" = "$1" ]; then
				echo "${net##*/}"
				return
			fi
		done
	done
}

has_address() {
	[ -n "$(ip -4 -o address show dev "$1" scope global 2>/dev/null)" ]
}

has_any_address() {
	ip -4 -o address show scope global 2>/dev/null | grep -qv ': lo '
}

# owner_names CARD: whether the owner's configuration of ifupdown names the card. The one line
# that comes with the image, eth0 by DHCP, does not count. ifupdown-ng reads /etc/network/interfaces.d
# only if a line asks for it.
owner_names() {
	! sources=$(names_card "$1" "$INTERFACES") || return 0
	# shellcheck disable=SC2086  # files, and patterns of files
	[ -n "$sources" ] && names_card "$1" $sources >/dev/null
}

# names_card CARD FILE...: whether a file names the card; write the files that it includes. For
# ifupdown-ng, settings may follow `auto CARD` too; alone it makes the link up, without addresses.
names_card() {
	named=$1
	shift
	cat "$@" 2>/dev/null | awk -v card="$named" '
		{ gsub(/\r/, "") }
		$1 == "source" { print $2 }
		$1 == "source-directory" { print $2 "/*" }
		$1 ~ /^(auto|iface|interface|template|source|source-directory)$/ { automatic = "" }
		automatic == card && $1 ~ /^[a-z]/ && !(card == "eth0" && $1 == "use" && $2 == "dhcp") {
			found = 1
		}
		$1 == "auto" { automatic = $2 }
		($1 == "iface" || $1 == "interface") && $2 == card && $3 != "inet6" &&
			!(card == "eth0" && $3 == "inet" && $4 == "dhcp") { found = 1 }
		END { exit !found }
	'
}

# At the start: report what is missing, and do not wait for a service that nothing leads to.
look_at_cards() {
	leave_way
	if [ -z "$(list_cards)" ] && ! has_any_address; then
		fail 'there is no network card'
	fi
	! has_any_address || return 0
	log "$(list_cards | head -n 1): no address from DHCP"
	[ ! -e "$WORK/drive" ] || printf '' >"$WORK/service-gone"
}

# --- ways to the service -------------------------------------------------------------------

# list_ways KNOWN: the way that led to the service last, KNOWN, comes first, also at the next start;
# then the routes that DHCP gave, then each card: the address is link-local (RFC 3927), and only
# the public card may reach the service.
list_ways() {
	{
		! has_any_address || echo routes
		list_cards
	} >"$WORK/ways"
	! grep -qxF "$1" "$WORK/ways" || echo "$1"
	grep -vxF "$1" "$WORK/ways" | head -n "$MAX_WAYS"
}

take_way() {
	taken=
	[ ! -r "$WORK/taken" ] || read -r taken <"$WORK/taken"
	[ "$1" != "$taken" ] || return 0
	leave_way
	if [ "$1" != routes ]; then
		link_way "$1" || return 1
	fi
	printf '%s\n' "$1" >"$WORK/taken"
}

# link_way CARD: ask on the link, from a link-local address that its hardware address determines.
# A card that the owner names is not set up for this; one that has an address is asked by, since
# the static address of a snapshot leads nowhere on another droplet, whose keys must still arrive.
# A route to the service that is there stays behind ours.
link_way() {
	if owner_names "$1" && ! has_address "$1"; then
		[ -n "$again" ] || reason="no route leads to the service, and $1 is the owner's"
		again=yes
		return 1
	fi
	mac=$(cat "$NETS/$1/address")
	is_mac "$mac" || return 1
	tail=${mac#??:??:??:??:}
	third=$((0x${tail%:*} % 254 + 1))
	[ "$third" -ne 169 ] || third=170
	own=169.254.$third.$((0x${tail#*:} % 254 + 1))
	printf '%s %s\n' "$1" "$own" >"$LINK"
	ip link set dev "$1" up
	ip address add "$own/16" scope link dev "$1"
	ip route prepend "$METADATA/32" dev "$1" src "$own"
}

leave_way() {
	[ -e "$LINK" ] || return 0
	read -r card own <"$LINK"
	ip route del "$METADATA/32" dev "$card" src "$own" 2>/dev/null
	ip address del "$own/16" dev "$card" 2>/dev/null
	rm -f "$LINK" "$WORK/taken"
}

# The link-local address goes when there is another one.
leave_link() {
	! has_any_address || leave_way
}
