"""The boot report names the ports at which others reach the droplet."""

import socket
import subprocess

import pytest

from ci.boot.checks import PROBES
from ci.boot.ports import read_ports

ANY6 = "00000000000000000000000000000000"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("tcp    0: 00000000:0016 00000000:0000 0A 0:0", ("22/tcp",), id="IPv4"),
        pytest.param(f"tcp6    0: {ANY6}:0016 {ANY6}:0000 0A 0:0", ("22/tcp",), id="IPv6"),
        pytest.param("udp  1234: 0F02000A:0044 00000000:0000 07 0:0", ("68/udp",), id="UDP"),
        pytest.param("tcp    1: 0100007F:0016 00000000:0000 0A 0:0", (), id="127.0.0.1"),
        pytest.param(f"udp6    1: {ANY6[:24]}01000000:0143 {ANY6}:0000 07 0:0", (), id="::1"),
        pytest.param(
            f"tcp6    1: {ANY6[:16]}FFFF00000100007F:0016 {ANY6}:0000 0A 0:0", (), id="mapped"
        ),
        pytest.param("tcp    2: 0F02000A:0016 0202000A:D2F0 01 0:0", (), id="a connection"),
        pytest.param("udp    2: 0F02000A:9C40 0202000A:007B 01 0:0", (), id="a client"),
        pytest.param("cat: can't open '/proc/net/tcp': No such file", (), id="no table"),
    ],
)
def test_a_line_of_the_table_of_sockets(line: str, expected: tuple[str, ...]) -> None:
    head = "tcp   sl  local_address rem_address   st tx_queue rx_queue\n"
    assert read_ports(f"{head}{line}\n") == expected


def test_the_same_port_in_both_tables_is_one() -> None:
    both = "tcp  0: 00000000:0016 0:0 0A 0\n" + f"tcp6  0: {ANY6}:0016 0:0 0A 0"
    assert read_ports(f"{both}\ntcp  1: 00000000:0050 0:0 0A 0") == ("22/tcp", "80/tcp")


def test_this_kernels_own_table_is_read() -> None:
    with socket.socket() as everywhere, socket.socket() as here:
        everywhere.bind(("0.0.0.0", 0))  # noqa: S104 - it listens for a moment, and serves nothing
        here.bind(("127.0.0.1", 0))
        for each in (everywhere, here):
            each.listen()
        answer = subprocess.run(
            ["/bin/sh", "-c", PROBES["sockets"]], capture_output=True, text=True, check=True
        ).stdout
        found = read_ports(answer)
        assert f"{everywhere.getsockname()[1]}/tcp" in found
        assert f"{here.getsockname()[1]}/tcp" not in found
