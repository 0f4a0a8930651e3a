"""The filter between a droplet and its network drops the frames of DHCP and no others."""

import socket
import struct
from collections.abc import Iterator
from contextlib import closing

import pytest

from ci.boot.scenarios.dhcp_filter import is_dhcp, without_dhcp

ARP = bytes.fromhex("ffffffffffff 525400 5e1005 0806") + b"who has 165.22.0.1?"


def frame(protocol: int, source: int, target: int, options: bytes = b"") -> bytes:
    """Return an Ethernet frame with an IPv4 packet (RFC 791) and two ports."""
    head = struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0, 99, 0, 0, 64, protocol, 0)
    addresses = bytes([165, 22, 10, 5, 165, 22, 0, 1])
    ports = struct.pack(">HH", source, target)
    return bytes(12) + b"\x08\x00" + head + addresses + options + ports + b"content"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(frame(17, 68, 67), True, id="request"),
        pytest.param(frame(17, 67, 68), True, id="reply"),
        pytest.param(frame(17, 68, 67, options=bytes(8)), True, id="with IPv4 options"),
        pytest.param(frame(17, 40000, 53), False, id="DNS"),
        pytest.param(frame(6, 68, 67), False, id="TCP at the same ports"),
        pytest.param(ARP, False, id="ARP"),
        pytest.param(ARP[:13], False, id="truncated"),
        pytest.param(b"", False, id="empty"),
    ],
)
def test_frames_of_dhcp_are_recognised(data: bytes, expected: bool) -> None:
    assert is_dhcp(data) is expected


def connect(arguments: tuple[str, ...]) -> Iterator[socket.socket]:
    """Yield connections as QEMU makes them from its arguments."""
    for argument in arguments:
        name, _, address = argument.partition(",connect=")
        if name.startswith("socket,"):
            host, _, port = address.partition(":")
            yield socket.create_connection((host, int(port)), timeout=20)


def encode(*frames: bytes) -> bytes:
    return b"".join(len(data).to_bytes(4, "big") + data for data in frames)


def test_other_frames_are_forwarded_in_both_directions_until_one_end_closes() -> None:
    expected = encode(ARP, frame(6, 22, 40000))
    with without_dhcp() as arguments:
        card, network = connect(arguments)
        with closing(card), closing(network):
            for here, there in ((card, network), (network, card)):
                here.sendall(encode(ARP, frame(17, 68, 67), frame(6, 22, 40000), frame(17, 67, 68)))
                with there.makefile("rb") as stream:
                    assert stream.read(len(expected)) == expected
            card.shutdown(socket.SHUT_WR)
            assert network.recv(1) == b""
