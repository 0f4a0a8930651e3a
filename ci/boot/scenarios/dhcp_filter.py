"""Network without DHCP: a filter between the droplet's card and QEMU's user network.

QEMU's user network always answers DHCP. So the droplet's card is connected to this process
instead, which forwards all frames but those of DHCP in both directions. QEMU's end of such a
connection (`-netdev socket`) is TCP; each Ethernet frame follows its length as four bytes, big
endian (QEMU, net/socket.c).
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ci.boot.machine import NETWORK_ID

IPV4, UDP = b"\x08\x00", 17
DHCP_PORTS = {67, 68}
"""Ports of the server and of the client (RFC 2131, 4.1)."""
CARD_NETDEV = "filter"
MAX_FRAME = 65536
START_SECONDS = 30.0


def is_dhcp(frame: bytes) -> bool:
    """Return whether an Ethernet frame contains DHCP (IPv4, UDP, port 67 or 68)."""
    if frame[12:14] != IPV4 or len(frame) < 34 or frame[23] != UDP:
        return False
    ports = 14 + 4 * (frame[14] & 15)
    return int.from_bytes(frame[ports : ports + 2], "big") in DHCP_PORTS


@contextmanager
def without_dhcp() -> Iterator[tuple[str, ...]]:
    """Return a context with QEMU's arguments for `Hardware(netdev=CARD_NETDEV)`."""
    with _listen() as card, _listen() as network:
        threading.Thread(target=_connect, args=(card, network), daemon=True).start()
        yield (
            "-netdev", f"socket,id={CARD_NETDEV},connect={_address(card)}",
            "-netdev", f"socket,id=far,connect={_address(network)}",
            "-netdev", f"hubport,id=near-port,hubid=9,netdev={NETWORK_ID}",
            "-netdev", "hubport,id=far-port,hubid=9,netdev=far",
        )  # fmt: skip


def _listen() -> socket.socket:
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(START_SECONDS)
    return server


def _address(server: socket.socket) -> str:
    host, port = server.getsockname()
    return f"{host}:{port}"


def _connect(card: socket.socket, network: socket.socket) -> None:
    with suppress(OSError):
        near, far = card.accept()[0], network.accept()[0]
        with near, far:
            back = threading.Thread(target=_forward, args=(far, near), daemon=True)
            back.start()
            _forward(near, far)
            back.join()


def _forward(source: socket.socket, target: socket.socket) -> None:
    """Forward frames until one end is closed."""
    with suppress(OSError), source.makefile("rb") as stream:
        while len(header := stream.read(4)) == 4:
            length = int.from_bytes(header, "big")
            if length > MAX_FRAME:
                break
            frame = stream.read(length)
            if not is_dhcp(frame):
                target.sendall(header + frame)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
