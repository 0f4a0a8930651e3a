# Addresses that DHCP does not assign, at every boot: they can change when a droplet is moved.
#
# $STATE/network has the last values of metadata, checked, one line for each of
#   public MAC ADDRESS PREFIX GATEWAY, anchor MAC ADDRESS PREFIX, private MAC ADDRESS PREFIX,
#   nameserver ADDRESS
# shellcheck shell=sh

CARDS='0 1 2 3 4 5 6 7'
NAMESERVERS='0 1 2 3 4 5'
NAMESERVERS_USED=3  # a resolver reads no more (resolv.conf(5))

network() {
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
	for number in $CARDS; do
		card public "$number" && card private "$number"
	done
	for number in $NAMESERVERS; do
		server=$(value "dns.nameservers.$number" "$WORK/wires") || break
		# Without an IPv6 address only the others can be reached.
		! is_ipv4 "$server" || echo "nameserver $server"
	done
}

# card KIND NUMBER: write its lines. An invalid address omits its line only.
card() {
	from=interfaces.$1.$2
	mac=$(value "$from.mac" "$WORK/wires" | lower)
	[ -n "$mac" ] || return 0
	if ! is_mac "$mac"; then
		tell "$1 interface $2: '$(printf '%s' "$mac" | clean)' is no hardware address; left out"
		return 0
	fi
	address_line "$1" ipv4
	[ "$1" != public ] || address_line anchor anchor_ipv4
}

address_line() {
	address=$(value "$from.$2.ip_address" "$WORK/wires")
	netmask=$(value "$from.$2.netmask" "$WORK/wires")
	gateway=$(value "$from.$2.gateway" "$WORK/wires")
	[ -n "$address" ] || return 0
	if ! is_ipv4 "$address" || ! prefix_of "$netmask"; then
		tell "$1 address: '$(printf '%s' "$address, $netmask" | clean)' is none; left out"
		return 0
	fi
	if [ "$1" != public ] || ! is_ipv4 "$gateway"; then
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
}

# --- from lines to network cards -----------------------------------------------------------

give_addresses() {
	while read -r kind mac address prefix gateway; do
		[ "$kind" != nameserver ] || continue
		nic=$(nic_of "$mac")
		if [ -z "$nic" ]; then
			tell "$kind address $address: there is no network card $mac"
			continue
		fi
		case $kind in
			public) public_address ;;
			*) give_address ;;
		esac
	done
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
	if [ -n "$gateway" ] && ! ip route replace default via "$gateway" dev "$nic"; then
		tell "public address: no way out by $gateway"
	fi
	if [ -e "$WORK/link-local" ]; then
		ip address del "$(cat "$WORK/link-local")" dev "$nic"
	fi
}

# Remove addresses that are no longer in metadata; others are not ours and stay.
take_back() {
	[ -e "$was" ] || return 0
	while read -r kind mac address prefix gateway; do
		case $kind in
			private | anchor) ;;
			*) continue ;;
		esac
		! grep -qxF "$kind $mac $address $prefix" "$WORK/network" || continue
		nic=$(nic_of "$mac")
		[ -z "$nic" ] || ip address del "$address/$prefix" dev "$nic" 2>/dev/null
	done <"$was"
	return 0
}

# A bridge or a VLAN may have the same hardware address: a physical device is preferred.
nic_of() {
	for real in device .; do
		for net in /sys/class/net/*; do
			if [ -e "$net/$real" ] && [ "$(cat "$net/address" 2>/dev/null)" = "$1" ]; then
				echo "${net##*/}"
				return
			fi
		done
	done
}

has_address() {
	[ -n "$(ip -4 -o address show dev "$1" scope global 2>/dev/null)" ]
}

# The service is reachable without DHCP, since its address is link-local (RFC 3927).
first_address() {
	if [ ! -e /sys/class/net/eth0 ]; then
		tell 'eth0: there is no such network card'
		return 1
	fi
	! has_address eth0 || return 0
	tell 'eth0: no address from DHCP'
	if [ -e "$WORK/drive" ]; then
		printf '' >"$WORK/service-gone"
		return
	fi
	mac=$(cat /sys/class/net/eth0/address)
	is_mac "$mac" || return 1
	tail=${mac#??:??:??:??:}
	third=$((0x${tail%:*} % 254 + 1))
	[ "$third" -ne 169 ] || third=170
	echo "169.254.$third.$((0x${tail#*:} % 254 + 1))/16" >"$WORK/link-local"
	ip link set dev eth0 up
	ip address add "$(cat "$WORK/link-local")" scope link dev eth0
}

# Servers of DHCP are kept, and so is a file that another program maintains.
name_servers() {
	[ ! -L /etc/resolv.conf ] || return 0
	if grep -q '^nameserver' /etc/resolv.conf 2>/dev/null; then
		grep -qF "$MARK" /etc/resolv.conf || return 0
	fi
	grep '^nameserver ' | head -n "$NAMESERVERS_USED" | sed "s/\$/ $MARK/" >"$WORK/resolv.conf"
	[ -s "$WORK/resolv.conf" ] || return 0
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
