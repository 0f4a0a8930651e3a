# Addresses that DHCP does not assign, at every boot: they can change when a droplet is moved.
#
# $STATE/network has the last values of metadata, checked, one line for each of
#   public MAC ADDRESS PREFIX GATEWAY, anchor MAC ADDRESS PREFIX,
#   private MAC ADDRESS PREFIX GATEWAY, nameserver ADDRESS
# A card that the owner's own /etc/network/interfaces names, or that is a port of a bridge, is
# left alone.
# shellcheck shell=sh

MAX_CARDS=64
NAMESERVERS=6
NAMESERVERS_USED=3  # a resolver reads no more (resolv.conf(5))

network() {
	is_on "$SNOWDROP_ADDRESSES" || return 0
	was=$STATE/network
	if fetch v1.json; then
		forget addresses
		# Vendor data contains entropy for the droplet; it is never executed.
		cat "$WORK/values" >/dev/urandom
		read_network >"$WORK/network"
		take_back
		replace "$WORK/network" "$was" 600 || log "addresses: $was cannot be written"
		was=$WORK/network
	elif [ -e "$was" ]; then
		log "addresses: $reason; the former ones are taken"
	else
		fail "addresses: $reason; only DHCP's are there"
	fi
	give_addresses <"$was"
	name_servers <"$was"
}

# --- from metadata to checked lines --------------------------------------------------------

# All values in one pass: a program for each would take a good part of the boot.
read_network() {
	network_words "$WORK/values" >"$WORK/words"
	four=
	six=
	while read -r kind number mac address netmask gateway anchor anchor_netmask address6; do
		case $kind in
			nameserver) take_name_server "$number" ;;
			*) card ;;
		esac
	done <"$WORK/words"
	if [ -z "$four" ] && [ -n "$six" ]; then
		# Without an IPv6 address only the others can be reached; the owner may have one.
		log 'name servers: metadata has those of IPv6 only'
		four=$six
	fi
	for server in $four; do
		echo "nameserver $server"
	done
}

# network_words FILE: write `KIND NUMBER MAC ADDRESS NETMASK GATEWAY ANCHOR NETMASK IPV6` for each
# card of a flattened document, and `nameserver ADDRESS`. A value has no blanks and no line ends;
# an absent one is -.
network_words() {
	awk -F '\t' -v cards="$MAX_CARDS" -v servers="$NAMESERVERS" '
		function word(path,    text) {
			text = values[path]
			gsub(/\\[nrt]|[ \t\r]/, "", text)
			return text == "" ? "-" : text
		}
		function print_cards(kind,    number, from) {
			for (number = 0; number < cards; number++) {
				from = "interfaces." kind "." number "."
				if (word(from "mac") == "-") continue
				print kind, number, tolower(word(from "mac")), word(from "ipv4.ip_address"),
					word(from "ipv4.netmask"), word(from "ipv4.gateway"),
					word(from "anchor_ipv4.ip_address"), word(from "anchor_ipv4.netmask"),
					word(from "ipv6.ip_address")
			}
		}
		/^(interfaces|dns)\./ && !($1 in values) { values[$1] = substr($0, length($1) + 2) }
		END {
			print_cards("public")
			print_cards("private")
			for (number = 0; number < servers; number++)
				if ((server = word("dns.nameservers." number)) != "-") print "nameserver", server
		}
	' "$1"
}

take_name_server() {
	if is_ipv4 "$1"; then
		four="$four $1"
	elif is_ipv6 "$1"; then
		six="$six $1"
	fi
}

# Write the lines of a card; an invalid address omits its line only.
card() {
	if ! is_mac "$mac"; then
		log "$kind interface $number: '$(printf '%s' "$mac" | clean)' is no hardware address; left out"
		return 0
	fi
	address_line "$kind" "$address" "$netmask" "$gateway"
	[ "$kind" = public ] || return 0
	address_line anchor "$anchor" "$anchor_netmask" ''
	mention_ipv6
}

# Once: DigitalOcean gives IPv6 to droplets of its own images only.
mention_ipv6() {
	if is_ipv6 "$address6" && [ ! -e "$STATE/ipv6-mentioned" ]; then
		log "IPv6: $address6 of metadata is not set up: custom images have no IPv6"
		remember "$address6" ipv6-mentioned
	fi
	return 0
}

# address_line KIND ADDRESS NETMASK GATEWAY
address_line() {
	[ "$2" != - ] || return 0
	if ! is_ipv4 "$2" || ! prefix_of "$3"; then
		log "$1 address: '$(printf '%s' "$2, $3" | clean)' is none; left out"
		return 0
	fi
	way_out=
	! is_ipv4 "$4" || way_out=$4
	echo "$1 $mac $2 $prefix${way_out:+ $way_out}"
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
			log "$kind address $address: there is no network card $mac"
		elif is_owners "$nic"; then
			note "$kind address $address: $nic is the owner's; left alone"
		else
			card_addresses
		fi
	done <"$WORK/given"
}

is_owners() {
	is_port "$1" || owner_names "$1"
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
		log "$kind address $address: $nic does not take it"
	fi
}

# The address of DHCP takes precedence; this one is used when DHCP fails.
public_address() {
	! has_address "$nic" || return 0
	log "$nic: no address from DHCP; $address is taken from metadata"
	give_address
	default_route
}

default_route() {
	[ -n "$gateway" ] || return 0
	ip route replace default via "$gateway" dev "$nic" 2>/dev/null && return
	# A gateway outside of the network, as with a netmask of 255.255.255.255, is on the link.
	ip route replace "$gateway/32" dev "$nic" &&
		ip route replace default via "$gateway" dev "$nic" && return
	log "$kind address $address: no way out by $gateway"
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
		[ -z "$nic" ] || is_owners "$nic" ||
			ip address del "$address/$prefix" dev "$nic" 2>/dev/null
	done <"$was"
	return 0
}

# Servers of DHCP are kept, and so is a file that another program maintains.
name_servers() {
	[ ! -L /etc/resolv.conf ] || return 0
	! grep '^nameserver' /etc/resolv.conf 2>/dev/null | grep -qvF "$MARK" || return 0
	grep '^nameserver ' | head -n "$NAMESERVERS_USED" | sed "s/\$/ $MARK/" >"$WORK/servers"
	[ -s "$WORK/servers" ] || return 0
	# Other lines, such as `search`, are not ours.
	{
		[ ! -e /etc/resolv.conf ] || grep -vF "$MARK" /etc/resolv.conf
		cat "$WORK/servers"
	} >"$WORK/resolv.conf"
	replace "$WORK/resolv.conf" /etc/resolv.conf 644 ||
		log 'name servers: /etc/resolv.conf cannot be written'
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
