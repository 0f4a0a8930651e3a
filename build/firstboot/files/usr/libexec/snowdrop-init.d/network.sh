# Addresses that DHCP does not assign, at every boot: they can change when a droplet is moved.
#
# $STATE/network has the last values of metadata, checked, one line for each of
#   public MAC ADDRESS PREFIX GATEWAY, anchor MAC ADDRESS PREFIX,
#   private MAC ADDRESS PREFIX GATEWAY, nameserver ADDRESS
# A card that the owner's own /etc/network/interfaces names, or that is a port of a bridge, is
# left alone.
# shellcheck shell=sh

MAX_CARDS=64
NAMESERVERS='0 1 2 3 4 5'
NAMESERVERS_USED=3  # a resolver reads no more (resolv.conf(5))

network() {
	is_on "$SNOWDROP_ADDRESSES" || return 0
	was=$STATE/network
	if fetch v1.json; then
		# Vendor data contains entropy for the droplet; it is never executed.
		cat "$WORK/values" >/dev/urandom
		grep -E '^(interfaces|dns)\.' "$WORK/values" >"$WORK/wires"
		read_network >"$WORK/network"
		take_back
		replace "$WORK/network" "$was" 600 || tell "addresses: $was cannot be written"
		was=$WORK/network
	elif [ -e "$was" ]; then
		tell "addresses: $reason; the former ones are taken"
	else
		fail "addresses: $reason; only DHCP's are there"
	fi
	give_addresses <"$was"
	name_servers <"$was"
}

# --- from metadata to checked lines --------------------------------------------------------

read_network() {
	for kind in public private; do
		number=0
		while [ "$number" -lt "$MAX_CARDS" ] && card "$kind" "$number"; do
			number=$((number + 1))
		done
	done
	name_server_lines | grep -v : >"$WORK/servers"
	if [ ! -s "$WORK/servers" ]; then
		# Without an IPv6 address only the others can be reached; the owner may have one.
		name_server_lines >"$WORK/servers"
		[ ! -s "$WORK/servers" ] || tell 'name servers: metadata has those of IPv6 only'
	fi
	cat "$WORK/servers"
}

name_server_lines() {
	for number in $NAMESERVERS; do
		server=$(value "dns.nameservers.$number" "$WORK/wires" | word)
		! is_ipv4 "$server" && ! is_ipv6 "$server" || echo "nameserver $server"
	done
}

# card KIND NUMBER: write its lines; fail when there is no such card. An invalid address omits
# its line only.
card() {
	from=interfaces.$1.$2
	mac=$(value "$from.mac" "$WORK/wires" | word | lower)
	[ -n "$mac" ] || return 1
	if ! is_mac "$mac"; then
		tell "$1 interface $2: '$(printf '%s' "$mac" | clean)' is no hardware address; left out"
		return 0
	fi
	address_line "$1" ipv4
	[ "$1" = public ] || return 0
	address_line anchor anchor_ipv4
	mention_ipv6
}

# Once: DigitalOcean gives IPv6 to droplets of its own images only.
mention_ipv6() {
	six=$(value "$from.ipv6.ip_address" "$WORK/wires" | word)
	if is_ipv6 "$six" && [ ! -e "$STATE/ipv6-mentioned" ]; then
		tell "IPv6: $six of metadata is not set up: custom images have no IPv6"
		remember "$six" ipv6-mentioned
	fi
	return 0
}

address_line() {
	address=$(value "$from.$2.ip_address" "$WORK/wires" | word)
	netmask=$(value "$from.$2.netmask" "$WORK/wires" | word)
	gateway=$(value "$from.$2.gateway" "$WORK/wires" | word)
	[ -n "$address" ] || return 0
	if ! is_ipv4 "$address" || ! prefix_of "$netmask"; then
		tell "$1 address: '$(printf '%s' "$address, $netmask" | clean)' is none; left out"
		return 0
	fi
	if [ "$1" = anchor ] || ! is_ipv4 "$gateway"; then
		gateway=
	fi
	echo "$1 $mac $address $prefix${gateway:+ $gateway}"
}

is_mac() {
	case $1 in
		*[!0-9a-f:]*) return 1 ;;
		??:??:??:??:??:??) ;;
		*) return 1 ;;
	esac
}

is_ipv4() {
	case $1 in
		'' | *[!0-9.]* | .* | *. | *..* | *.*.*.*.*) return 1 ;;
		*.*.*.*) ;;
		*) return 1 ;;
	esac
	rest=$1.
	while [ -n "$rest" ]; do
		octet=${rest%%.*}
		[ "${#octet}" -le 3 ] && [ "$octet" -le 255 ] || return 1
		rest=${rest#*.}
	done
}

is_ipv6() {
	case $1 in
		*[!0-9A-Fa-f:.]*) return 1 ;;
		*:*:*) [ "${#1}" -le 45 ] ;;
		*) return 1 ;;
	esac
}

# prefix_of NETMASK: set $prefix to its length; fail unless it is ones followed by zeros.
prefix_of() {
	is_ipv4 "$1" || return 1
	prefix=0
	full=0
	rest=$1.
	while [ -n "$rest" ]; do
		case ${rest%%.*} in
			255) ones=8 ;;
			254) ones=7 ;;
			252) ones=6 ;;
			248) ones=5 ;;
			240) ones=4 ;;
			224) ones=3 ;;
			192) ones=2 ;;
			128) ones=1 ;;
			0) ones=0 ;;
			*) return 1 ;;
		esac
		[ "$ones" -eq 0 ] || [ "$prefix" -eq "$full" ] || return 1
		prefix=$((prefix + ones))
		full=$((full + 8))
		rest=${rest#*.}
	done
	[ "$prefix" -gt 0 ]
}

# --- from lines to network cards -----------------------------------------------------------

give_addresses() {
	# Read twice: for the cards, and to know whether one of them is public.
	cat >"$WORK/given"
	while read -r kind mac address prefix gateway; do
		[ "$kind" != nameserver ] || continue
		nic=$(nic_of "$mac")
		if [ -z "$nic" ]; then
			tell "$kind address $address: there is no network card $mac"
		elif is_port "$nic" || owner_names "$nic"; then
			note "$kind address $address: $nic is the owner's; left alone"
		else
			card_addresses
		fi
	done <"$WORK/given"
}

card_addresses() {
	case $kind in
		public) public_address ;;
		private)
			give_address
			# A droplet without a public card goes out by the gateway of its VPC.
			grep -q '^public ' "$WORK/given" || [ -n "$(ip -4 route show default)" ] || default_route
			;;
		*) give_address ;;
	esac
}

give_address() {
	if ! ip link set dev "$nic" up ||
		! ip address replace "$address/$prefix" broadcast + dev "$nic"; then
		tell "$kind address $address: $nic does not take it"
	fi
}

# The address of DHCP takes precedence; this one is used when DHCP fails.
public_address() {
	! has_address "$nic" || return 0
	tell "$nic: no address from DHCP; $address is taken from metadata"
	give_address
	default_route
}

default_route() {
	[ -n "$gateway" ] || return 0
	ip route replace default via "$gateway" dev "$nic" 2>/dev/null && return
	# A gateway outside of the network, as with a netmask of 255.255.255.255, is on the link.
	ip route replace "$gateway/32" dev "$nic" &&
		ip route replace default via "$gateway" dev "$nic" && return
	tell "$kind address $address: no way out by $gateway"
}

# Remove addresses that are no longer in metadata; others are not ours and stay.
take_back() {
	[ -e "$was" ] || return 0
	while read -r kind mac address prefix gateway; do
		case $kind in
			private | anchor) ;;
			*) continue ;;
		esac
		! grep -qF "$kind $mac $address $prefix" "$WORK/network" || continue
		nic=$(nic_of "$mac")
		[ -z "$nic" ] || ip address del "$address/$prefix" dev "$nic" 2>/dev/null
	done <"$was"
	return 0
}

# Servers of DHCP are kept, and so is a file that another program maintains.
name_servers() {
	[ ! -L /etc/resolv.conf ] || return 0
	if grep -q '^nameserver' /etc/resolv.conf 2>/dev/null; then
		grep -qF "$MARK" /etc/resolv.conf || return 0
	fi
	grep '^nameserver ' | head -n "$NAMESERVERS_USED" | sed "s/\$/ $MARK/" >"$WORK/servers"
	[ -s "$WORK/servers" ] || return 0
	# Other lines, such as `search`, are not ours.
	{
		[ ! -e /etc/resolv.conf ] || grep -vF "$MARK" /etc/resolv.conf
		cat "$WORK/servers"
	} >"$WORK/resolv.conf"
	replace "$WORK/resolv.conf" /etc/resolv.conf 644 ||
		tell 'name servers: /etc/resolv.conf cannot be written'
}

# --- access to the service -----------------------------------------------------------------

# The metadata service answers every program, and user data may contain secrets.
shut_metadata() {
	[ "$SNOWDROP_METADATA_ROOT_ONLY" = yes ] || return 0
	if command -v nft >/dev/null; then
		nft_rule | nft -f - && return
	elif command -v iptables >/dev/null; then
		set -- OUTPUT -d 169.254.169.254 -m owner ! --uid-owner 0 -j REJECT
		iptables -C "$@" 2>/dev/null || iptables -I "$@" && return
	else
		fail 'metadata: neither nft nor iptables is there to close it; every user can read it'
	fi
	fail 'metadata: the rule was not taken; every user can read it'
}

# One transaction: replace the table, whether it exists or not.
nft_rule() {
	cat <<-'END'
		add table ip snowdrop
		delete table ip snowdrop
		table ip snowdrop {
			chain output {
				type filter hook output priority 0;
				ip daddr 169.254.169.254 meta skuid != 0 reject
			}
		}
	END
}
