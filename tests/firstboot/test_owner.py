"""The ownership table of docs/first-boot.md: a row is what an owner changed, and whether it stays.

Each row is a change on a droplet that booted once. The next boot must leave it as it is.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.firstboot.conftest import (
    ETH0,
    FORMER_KEYS,
    KEY,
    OTHER_KEY,
    Droplet,
    document,
    response,
    use_again,
)
from tests.firstboot.test_drive import add_config_drive

ETH1 = {"name": "eth1", "mac": "52:54:00:00:00:0a"}
ANCHOR = {"ip_address": "10.19.0.5", "netmask": "255.255.0.0", "gateway": "10.19.0.1"}
PRIVATE = {
    "mac": ETH1["mac"],
    "ipv4": {"ip_address": "10.135.0.7", "netmask": "255.255.0.0", "gateway": "10.135.0.1"},
}
V1_JSON = [
    response(
        json.dumps(
            document(
                interfaces={
                    "public": [{**document()["interfaces"]["public"][0], "anchor_ipv4": ANCHOR}],
                    "private": [PRIVATE],
                }
            )
        )
    )
]
KEYS = Droplet.keys
INTERFACES = "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n"


@dataclass(frozen=True)
class Row:
    """A change of the owner's."""

    path: str
    """File that the owner changes."""
    content: str | None
    """What the owner writes, or None: the file is removed."""
    severity: str
    link: str = ""
    """Target, when the owner makes it a symbolic link; `content` is then that of the target."""


ROWS = {
    "a key deleted from the keys of metadata": Row(KEYS, KEY, "security"),
    "all keys of metadata deleted": Row(KEYS, "", "security"),
    "the file of metadata's keys removed": Row(KEYS, None, "security"),
    "a key in ~/.ssh/authorized_keys": Row("root/.ssh/authorized_keys", KEY, "lockout"),
    "another host name": Row("etc/hostname", "mine\n", "surprise"),
    "lines of /etc/hosts": Row("etc/hosts", "127.0.0.1 localhost\n10.0.0.2 db\n", "surprise"),
    "/etc/hostname as a link": Row("etc/hostname", "mine\n", "surprise", "/srv/hostname"),
    "/etc/hosts as a link": Row("etc/hosts", "127.0.0.1 localhost\n", "surprise", "/srv/hosts"),
    "name servers": Row("etc/resolv.conf", "search a.example\nnameserver 192.0.2.1\n", "surprise"),
    "/etc/resolv.conf as a link": Row("etc/resolv.conf", "# empty\n", "surprise", "/run/resolv"),
    "a drop-in of sshd": Row("etc/ssh/sshd_config.d/99-snowdrop.conf", "# mine\n", "security"),
    "the settings of the service": Row("etc/conf.d/snowdrop-init", "patience=0\n", "surprise"),
    "/etc/network/interfaces": Row("etc/network/interfaces", f"{INTERFACES}# mine\n", "lockout"),
}  # fmt: skip


@pytest.fixture(scope="module")
def owned(used_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Droplet]:
    """Return the droplet of each row after its boot: rows of different files share a droplet."""
    batches: list[dict[str, Row]] = []
    for what, row in ROWS.items():
        free = [
            batch for batch in batches if row.path not in {each.path for each in batch.values()}
        ]
        if not free:
            batches.append({})
        (free or batches[-1:])[0][what] = row
    found = {}
    for batch in batches:
        droplet = use_again(used_template, tmp_path_factory.mktemp("owned") / "droplet")
        for row in batch.values():
            change(droplet, row)
        assert droplet.boot().status == 0
        found.update(dict.fromkeys(batch, droplet))
    return found


def change(droplet: Droplet, row: Row) -> None:
    target = droplet.root / row.path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if row.path == "etc/conf.d/snowdrop-init":
        droplet.settings = row.content or ""
    if row.link:
        target.symlink_to(row.link)
    if row.content is not None:
        droplet.write(row.link.lstrip("/") or row.path, row.content)


@pytest.mark.parametrize("what", ROWS)
def test_what_the_owner_changed_stays(owned: Mapping[str, Droplet], what: str) -> None:
    row, droplet = ROWS[what], owned[what]
    target = droplet.root / row.path
    assert target.is_symlink() == bool(row.link)
    if row.content is None:
        assert not target.exists()
    else:
        assert droplet.read(row.link.lstrip("/") or row.path) == row.content


def test_documented_ownership_rows_are_tested() -> None:
    page = Path(__file__).parents[2] / "docs/first-boot.md"
    text = page.read_text(encoding="utf-8")
    table = text[text.index("## What is yours") :].split("\n## ")[0]
    cells = [line.split(" | ")[-1].strip(" |") for line in table.splitlines() if "`" in line]
    named = [name for cell in cells for name in re.findall(r"`(test_\w+|[^`]*)`$", cell)]
    source = "\n".join(
        file.read_text(encoding="utf-8")
        for file in Path(__file__).parent.iterdir()
        if file.suffix == ".py"
    )
    assert len(named) >= len(ROWS)
    for name in named:
        assert name in ROWS or f"def {name}(" in source, name
    assert set(ROWS) <= set(named)


def test_new_droplet_writes_through_the_links_of_the_owner(droplet: Droplet) -> None:
    for name in ("hosts", "hostname"):
        (droplet.root / "etc" / name).rename(droplet.root / name)
        (droplet.root / "etc" / name).symlink_to(f"/{name}")
    droplet.boot()
    assert (droplet.root / "etc/hosts").is_symlink()
    assert (droplet.root / "etc/hostname").is_symlink()
    assert droplet.read("hostname") == "web-1.example.org\n"
    assert "web-1.example.org web-1\t# snowdrop-init\n" in droplet.read("hosts")


def test_search_line_stays_beside_the_name_servers_of_metadata(droplet: Droplet) -> None:
    droplet.write("etc/resolv.conf", "search a.example\noptions ndots:2\n")
    for _ in range(2):
        droplet.boot()
        assert droplet.read("etc/resolv.conf").splitlines() == [
            "search a.example",
            "options ndots:2",
            "nameserver 192.0.2.53 # snowdrop-init",
            "nameserver 192.0.2.54 # snowdrop-init",
        ]


def test_file_with_a_name_server_of_the_owner_is_left_alone(used_droplet: Droplet) -> None:
    text = "nameserver 192.0.2.9 # snowdrop-init\nnameserver 192.0.2.1\n"
    used_droplet.write("etc/resolv.conf", text)
    used_droplet.boot()
    assert used_droplet.read("etc/resolv.conf") == text


@pytest.mark.parametrize(
    ("lines", "owned"),
    [
        ("auto eth1", False),
        ("auto eth1\n\n# use dhcp", False),
        ("auto eth1\n\tuse dhcp", True),
        ("auto eth1\n# of the office\n\taddress 192.0.2.7/24", True),
        ("auto eth1\niface eth1 inet6 static\n\taddress 2001:db8::1/64", False),
        ("auto eth1\niface eth2\n\taddress 192.0.2.7/24", False),
        ("auto eth2\n\tuse dhcp", False),
    ],
)
def test_settings_behind_auto_are_the_owners(
    used_droplet: Droplet, lines: str, *, owned: bool
) -> None:
    """As ifupdown-ng reads them: `auto CARD` alone makes the link up and gives no address."""
    used_droplet.write("etc/network/interfaces", f"{INTERFACES}{lines}\n")
    private = {**PRIVATE, "mac": ETH1["mac"]}
    text = json.dumps(
        document(
            interfaces={"public": document()["interfaces"]["public"], "private": [private]},
        )
    )
    result = used_droplet.boot(interfaces=[ETH0, ETH1], v1_json=[response(text)])
    assert on("eth1", result.addresses) == ([] if owned else ["eth1 10.135.0.7/16"])


def on(card: str, found: list[str]) -> list[str]:
    return [line for line in found if line.startswith(f"{card} ")]


ETH2, ETH3, ETH4, ETH5 = ({"name": f"eth{n}", "mac": f"52:54:00:00:01:0{n}"} for n in range(2, 6))
OWN_CONFIGURATION = {
    "etc/network/interfaces": (
        f"{INTERFACES}iface eth1 inet static\niface eth3 inet6 auto\ninterface eth4\n"
        "source-directory /etc/network/interfaces.d\r\nsource /srv/cards\n"
    ),
    # For ifupdown-ng, and with line ends of Windows.
    "etc/network/interfaces.d/eth2": "\tiface  eth2\r\n\tuse dhcp\r\n",
    "srv/cards": "iface eth5 inet dhcp\n",
}


def test_cards_that_the_owner_configures_are_left_alone(used_droplet: Droplet) -> None:
    for path, text in OWN_CONFIGURATION.items():
        used_droplet.write(path, text)
    cards = [ETH0, ETH1, ETH2, ETH3, ETH4, ETH5]
    private = [{**PRIVATE, "mac": card["mac"]} for card in cards[1:]]
    public = [{**document()["interfaces"]["public"][0], "anchor_ipv4": ANCHOR}]
    text = json.dumps(document(interfaces={"public": public, "private": private}))
    result = used_droplet.boot(interfaces=cards, v1_json=[response(text)])
    assert [line for line in result.addresses if not line.startswith("lo")] == [
        "eth0 203.0.113.5/20",
        "eth0 10.19.0.5/16",
        # Named for IPv6 only.
        "eth3 10.135.0.7/16",
    ]


def test_folder_that_ifupdown_does_not_read_names_no_card(used_droplet: Droplet) -> None:
    used_droplet.write("etc/network/interfaces.d/eth1", "iface eth1 inet static\n")
    result = used_droplet.boot(interfaces=[ETH0, ETH1], v1_json=V1_JSON)
    assert on("eth1", result.addresses) == ["eth1 10.135.0.7/16"]


def test_address_that_the_owner_took_over_stays(used_droplet: Droplet) -> None:
    used_droplet.boot(interfaces=[ETH0, ETH1], v1_json=V1_JSON)
    used_droplet.write("etc/network/interfaces", f"{INTERFACES}iface eth1 inet static\n")
    # Metadata has no private card any more.
    result = used_droplet.boot(interfaces=[ETH0, {**ETH1, "address": "10.135.0.7/16"}])
    assert on("eth1", result.addresses) == ["eth1 10.135.0.7/16"]


def test_static_eth0_of_the_owner_is_left_alone(used_droplet: Droplet) -> None:
    static = INTERFACES.replace("inet dhcp", "inet static")
    used_droplet.write("etc/network/interfaces", static)
    result = used_droplet.boot(interfaces=[ETH0, ETH1], v1_json=V1_JSON)
    assert on("eth0", result.addresses) == ["eth0 203.0.113.5/20"]
    assert on("eth1", result.addresses) == ["eth1 10.135.0.7/16"]


def run_after_sshd(droplet: Droplet) -> list[str]:
    """Run the service that starts after sshd; return the addresses."""
    return droplet.boot(
        *("/bin/sh", "/usr/libexec/snowdrop-init", "user-data"),
        interfaces=[ETH0, ETH1],
        v1_json=V1_JSON,
        user_data=[response("#!/bin/sh\n:>/ran\n")],
    ).addresses


def test_service_that_the_owner_took_out_stays_out(droplet: Droplet) -> None:
    (droplet.root / "etc/runlevels/default/snowdrop-init").unlink()
    addresses = run_after_sshd(droplet)
    assert not droplet.has(droplet.keys)
    assert droplet.read("etc/hostname") == "localhost\n"
    assert on("eth0", addresses) == ["eth0 203.0.113.5/20"]
    assert on("eth1", addresses) == []
    assert droplet.has("ran")


SWITCHES: dict[str, Callable[[Droplet, list[str], str], bool]] = {
    "SNOWDROP_KEYS": lambda droplet, _, __: droplet.has(droplet.keys),
    "SNOWDROP_HOST_NAME": lambda _, __, name: name != "as-it-was",
    "SNOWDROP_ADDRESSES": lambda _, addresses, __: bool(on("eth1", addresses)),
    "SNOWDROP_USER_DATA": lambda droplet, _, __: droplet.has("ran"),
}


@pytest.mark.parametrize(
    "off", [{"SNOWDROP_KEYS", "SNOWDROP_ADDRESSES"}, {"SNOWDROP_HOST_NAME", "SNOWDROP_USER_DATA"}]
)
def test_switches_turn_off_their_parts_and_no_others(droplet: Droplet, off: set[str]) -> None:
    lines = "".join(f"{name}=no\n" for name in off)
    droplet.settings = f"patience=0\npatience_refresh=0\npatience_later=0\n{lines}"
    result = droplet.boot(interfaces=[ETH0, ETH1], v1_json=V1_JSON)
    run_after_sshd(droplet)
    still = [
        name
        for name, is_done in SWITCHES.items()
        if is_done(droplet, result.addresses, result.hostname)
    ]
    assert set(still) == SWITCHES.keys() - off


NO_SETTINGS = (
    "exit 0",
    "touch /ran",
    "patience=$(touch /ran)0",
    'SNOWDROP_KEYS="yes',
    "PATH=/tmp",
    "SNOWDROP_KEYS=maybe",
    "patience=soon",
    "metadata_url=file:///etc",
    "SNOWDROP_KEYS = no",
    "patience=(",
)


def test_settings_are_read_and_not_run(droplet: Droplet) -> None:
    droplet.settings = "\n".join(["# mine", *NO_SETTINGS, "patience=0", "patience_refresh=0", ""])
    droplet.boot()
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert not droplet.has("ran")
    assert [line for line in droplet.console.splitlines() if "no setting" in line] == [
        f"snowdrop-init: /etc/conf.d/snowdrop-init, line {number}: '{line}' is no setting; left out"
        for number, line in enumerate(NO_SETTINGS, start=2)
    ]


def test_settings_have_quotes_comments_and_line_ends_of_windows(droplet: Droplet) -> None:
    droplet.settings = (
        '\tSNOWDROP_KEYS="no"\r\npatience=0 # seconds\r\n'
        "SNOWDROP_HOST_NAME='no' \t # mine\r\nrc_need=net\r\n\r\npatience_refresh=0"
    )
    result = droplet.boot()
    assert not droplet.has(droplet.keys)
    assert result.hostname == "as-it-was"
    assert "no setting" not in droplet.console


EMPTY: dict[str, dict[str, object]] = {
    "404": {"public_keys": [response(status=404)]},
    "an empty answer": {"public_keys": [response()]},
    "blank lines": {"public_keys": [response(" \r\n\n")]},
}


@pytest.mark.parametrize(
    "what", [*EMPTY, "a drive without the member", "a drive with an empty list"]
)
def test_copy_without_keys_drops_those_of_the_former_droplet(
    used_droplet: Droplet, what: str
) -> None:
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    responses: dict[str, object] = {}
    if what in EMPTY:
        responses = EMPTY[what]
    else:
        values = document(droplet_id=4712, public_keys=[])
        if "member" in what:
            del values["public_keys"]
        add_config_drive(used_droplet, json.dumps(values))
    result = used_droplet.boot(listening=what in EMPTY, **responses)  # type: ignore[arg-type]
    assert result.status == 0
    assert used_droplet.read(used_droplet.keys) == ""
    assert used_droplet.read("root/.ssh/authorized_keys") == "the owner's\n"
    assert "those of droplet 4711 are removed" in used_droplet.console


def test_copy_keeps_the_former_keys_while_nobody_says_whose_it_is(used_droplet: Droplet) -> None:
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    used_droplet.boot(listening=False)
    assert used_droplet.read(used_droplet.keys) == FORMER_KEYS
    used_droplet.boot(public_keys=[response(KEY)])
    assert used_droplet.read(used_droplet.keys) == f"{KEY}\n"
