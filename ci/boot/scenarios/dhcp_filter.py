"""A network on which DHCP is never answered, and all else is as ever.

QEMU's user network always answers DHCP. So the droplet's card is not plugged into it: between
the two runs a wire through this process, which loses the frames of DHCP. QEMU's end of such a
wire (`-netdev socket`) is a TCP connection; before each Ethernet frame comes its length as four
bytes, the highest first (QEMU, net/socket.c).
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ci.boot.machine import NETWORK_ID

IPV4, UDP = b"\x08\x00", 17
DHCP_PORTS = {67, 68}
"""Of the server and of the client (RFC 2131, 4.1)."""
CARD_END = "wire"
LONGEST_FRAME = 65536
START_SECONDS = 30.0


def is_dhcp(frame: bytes) -> bool:
    """Return whether an Ethernet frame carries DHCP (IPv4, UDP, port 67 or 68)."""
    if frame[12:14] != IPV4 or len(frame) < 34 or frame[23] != UDP:
        return False
    ports = 14 + 4 * (frame[14] & 15)
    return int.from_bytes(frame[ports : ports + 2], "big") in DHCP_PORTS


@contextmanager
def without_dhcp() -> Iterator[tuple[str, ...]]:
    """Return words for QEMU: with them and `card_on=CARD_END` nobody answers DHCP."""
    with _listening() as card, _listening() as network:
        threading.Thread(target=_join, args=(card, network), name="wire", daemon=True).start()
        yield (
            "-netdev", f"socket,id={CARD_END},connect={_address(card)}",
            "-netdev", f"socket,id=far,connect={_address(network)}",
            "-netdev", f"hubport,id=near-port,hubid=9,netdev={NETWORK_ID}",
            "-netdev", "hubport,id=far-port,hubid=9,netdev=far",
        )  # fmt: skip


def _listening() -> socket.socket:
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(START_SECONDS)
    return server


def _address(server: socket.socket) -> str:
    host, port = server.getsockname()
    return f"{host}:{port}"


def _join(card: socket.socket, network: socket.socket) -> None:
    with suppress(OSError):
        near, far = card.accept()[0], network.accept()[0]
        with near, far:
            back = threading.Thread(target=_carry, args=(far, near), name="wire", daemon=True)
            back.start()
            _carry(near, far)
            back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Pass frames on until one end is gone."""
    with suppress(OSError), source.makefile("rb") as stream:
        while len(start := stream.read(4)) == 4:
            length = int.from_bytes(start, "big")
            if length > LONGEST_FRAME:
                break
            frame = stream.read(length)
            if not is_dhcp(frame):
                target.sendall(start + frame)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
