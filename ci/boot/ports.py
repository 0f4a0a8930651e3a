"""Ports at which a booted droplet listens for others, from the kernel's tables of sockets.

Their lines have hexadecimal addresses (proc_pid_net(5), `/proc/net/tcp`); a port at a loopback
address is open to nobody else, and is left out.
"""

import re

LISTENS = {"tcp": "0A", "udp": "07"}
"""State of a socket that waits for anybody: TCP_LISTEN, and TCP_CLOSE for UDP without a peer
(Linux, include/net/tcp_states.h)."""
LINE = re.compile(
    r"^(tcp|udp)6? +\d+: +([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) +\S+ +([0-9A-F]{2}) ",
    re.MULTILINE,
)
LOOPBACK = re.compile(r".{6}7F|0{24}01000000|0{16}FFFF0000.{6}7F")
"""127.0.0.0/8, ::1, and the former mapped into IPv6; words of four bytes, the lowest byte first."""


def read_ports(answer: str) -> tuple[str, ...]:
    """Return the open ports as `22/tcp`, from the output of the probe `sockets`.

    >>> read_ports("tcp6   0: 00000000000000000000000000000000:0016 0:0 0A 0")
    ('22/tcp',)
    """
    found = {
        (int(port, 16), protocol)
        for protocol, address, port, state in LINE.findall(answer)
        if state == LISTENS[protocol] and not LOOPBACK.fullmatch(address)
    }
    return tuple(f"{port}/{protocol}" for port, protocol in sorted(found))
