"""Tests of #cloud-config and MIME user data: each document is applied in one droplet, in turn."""

import base64
import gzip
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

import pytest

from tests.firstboot import root_folder
from tests.firstboot.conftest import KEY, OTHER_KEY, Droplet, response

CONSOLE = "snowdrop-init: user-data: "
APPLIED = "cloud-config: it was applied"
NOTHING = "; nothing of it is applied"
SEPARATOR = "=== "
PACKED = base64.b64encode(gzip.compress(b"packed\n", mtime=0)).decode()
BOMB = base64.b64encode(gzip.compress(bytes(17 << 20))).decode()
STANDARD_INPUT = 'while IFS=: read -r user text; do echo "$user:$text" >>/etc/shadow; done'
STAND_INS = {
    "adduser": (
        "for user; do :; done; case \"$*\" in *' -G '*) ;; *) "
        '! grep -q "^$user:" /etc/group || exit 1; echo "$user:x:1000:" >>/etc/group ;; esac; '
        'echo "$user:x:1000:1000::/home/$user:$4" >>/etc/passwd'
    ),
    "addgroup": '[ $# -eq 2 ] && echo "$*" >>/joined || echo "$1:x:2000:" >>/etc/group',
    "chpasswd": STANDARD_INPUT,
}
"""Debian's busybox has no applets for accounts; Alpine's own are used where they are."""
APK = 'echo "apk $*" >>/apk; echo "apk $*"; case "$*" in *missing*) exit 1 ;; esac'


@dataclass(frozen=True)
class Case:
    """A document, what the console says in order, and what is in the droplet afterwards."""

    document: str
    console: tuple[str, ...] = ()
    """Parts of the lines between the first and the last one."""
    files: Mapping[str, str] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    absent: tuple[str, ...] = ()


def config(text: str, *console: str, **rest: object) -> Case:
    """Return the case of a cloud-config."""
    return Case(f"#cloud-config\n{text}", console, **rest)  # type: ignore[arg-type]


def mime(*parts: tuple[str, str]) -> str:
    """Return a message with these parts: subtype of text, and content."""
    message = MIMEMultipart(boundary="===x 1")
    for kind, content in parts:
        message.attach(MIMEText(content, kind, "utf-8" if "\u20ac" in content else "us-ascii"))
    return message.as_string()


PUBLIC = {
    "keys alone": config(
        f"ssh_authorized_keys:\n  - {KEY}\n  - {OTHER_KEY}\n",
        files={"etc/snowdrop/authorized_keys/root": f"{KEY}\n{OTHER_KEY}\n"},
    ),
    "a user who may become root": config(
        "users:\n  - default\n  - name: ann\n    gecos: Ann A.\n    groups: sudo, wheel\n"
        "    shell: /bin/bash\n    sudo: ['ALL=(ALL) NOPASSWD:ALL']\n    lock_passwd: true\n"
        f"    ssh_authorized_keys:\n      - {KEY}\n",
        "'default': this image has no default user",
        "ann: gecos: not supported",
        "ann: shell /bin/bash is not installed; it is /bin/sh",
        "neither doas nor sudo is installed",
        files={
            "etc/snowdrop/authorized_keys/ann": f"{KEY}\n",
            "etc/sudoers.d/snowdrop-ann": "ann ALL=(ALL:ALL) NOPASSWD: ALL\n",
            "etc/doas.d/snowdrop-ann.conf": "permit nopass ann\n",
        },
        modes={"etc/sudoers.d/snowdrop-ann": 0o440, "etc/doas.d/snowdrop-ann.conf": 0o400},
    ),
    "files in each encoding": config(
        "write_files:\n"
        "- path: /srv/plain/a.conf\n  permissions: '0640'\n  owner: root:root\n"
        "  content: |\n    one\n      two\n\n    $(touch /owned)\n"
        "- {path: /srv/b64, encoding: b64, content: aGVsbG8K}\n"
        f"- path: /srv/gz\n  encoding: gzip+base64\n  content: {PACKED}\n"
        "- path: /srv/b64\n  append: true\n  content: more\n- path: /srv/empty\n",
        files={
            "srv/plain/a.conf": "one\n  two\n\n$(touch /owned)\n",
            "srv/b64": "hello\nmore",
            "srv/gz": "packed\n",
            "srv/empty": "",
        },
        modes={"srv/plain/a.conf": 0o640, "srv/b64": 0o644, "srv/plain": 0o755},
        absent=("owned",),
    ),
    "commands of both forms": config(
        'runcmd:\n  - cd /srv\n  - echo "it\'s $HOME" >said\n'
        '  - [sh, -c, \'echo "$0 $1" >list\', "a\'b", $HOME]\n'
        "  - false\n  - [echo, 'a;touch /owned']\n",
        files={"srv/said": "it's /root\n", "srv/list": "a'b $HOME\n"},
        absent=("owned",),
    ),
    "packages": config(
        "package_update: true\npackage_upgrade: yes\npackages:\n  - nginx\n  - [curl, 8.1-r0]\n",
        files={
            "apk": "apk update\napk upgrade --update-cache\n"
            "apk add --update-cache nginx curl=8.1-r0\n"
        },
    ),
    "a user whose group an earlier user has": config(
        "users: [{name: joe, groups: kim}, {name: kim}]\nwrite_files:\n"
        "- {path: /srv/kim, owner: 'kim:kim', defer: true, content: kim}\n",
        files={"srv/kim": "kim"},
    ),
    "a time zone": config(
        "timezone: Europe/Paris\n", files={"etc/localtime": "TZif", "srv/said": "it's /root\n"}
    ),
    "unknown keys beside known ones": config(
        "locale: en_US.UTF-8\nntp:\n  enabled: true\n  servers: [a.example.org]\n"
        "bootcmd:\n  - touch /owned\nruncmd:\n  - touch /srv/known\npower_state: {mode: reboot}\n",
        "locale: not supported",
        "ntp: not supported",
        "bootcmd: not run: it would run at every start",
        "power_state: not supported",
        files={"srv/known": ""},
        absent=("owned",),
    ),
    "a file that a new user owns": config(
        "users: [{name: bob}]\nwrite_files:\n- path: /home/bob/x\n  owner: bob:nobody-here\n"
        "- path: /srv/late\n  defer: true\n  owner: root:root\n  content: x\n",
        "no owner 'bob:nobody-here'",
        files={"home/bob/x": "", "srv/late": "x"},
    ),
    "MIME with scripts around a cloud-config": Case(
        mime(
            ("x-shellscript", "#!/bin/sh\necho first >>/order\n"),
            ("cloud-config", "#cloud-config\nruncmd: ['echo last >>/order']\n"),
            ("x-shellscript", "#!/bin/sh\necho '\u20ac' >>/order\n"),
            ("x-include-url", "http://192.0.2.1/x\n"),
        ),
        ("part 4: text/x-include-url is not supported",),
        files={"order": "first\n\xe2\x82\xac\nlast\n"},
    ),
    "keys in another order than cloud-init's": config(
        "runcmd:\n- cat /srv/early /etc/hostname >/srv/order\n"
        'write_files:\n- {path: /srv/early, content: "early\\n"}\nhostname: ordered\n',
        files={"srv/order": "early\nordered\n"},
    ),
    "a host name": config(
        "hostname: web\nfqdn: web.example.org\nmanage_etc_hosts: true\n",
        "manage_etc_hosts: not supported",
        files={"etc/hostname": "web\n"},
    ),
}
OWNED = "touch /owned"
HOSTILE_VALUES = {
    "names of users that are commands": config(
        f"users:\n- name: '$({OWNED})'\n- name: ../../x\n- name: -D\n- {{}}\n- name: [a]\n",
        *("is no name of a user",) * 5,
        absent=("owned",),
    ),
    "passwords": config(
        "users:\n- name: eve\n  passwd: $6$x\n  plain_text_passwd: x\n  lock_passwd: false\n"
        "chpasswd: {expire: false}\nssh_pwauth: true\n",
        "chpasswd: not supported",
        "ssh_pwauth: not supported",
        *("eve: passwd", "eve: plain_text_passwd", "eve: lock_passwd"),
    ),
    "rules and groups with line feeds": config(
        'users:\n- name: mal\n  sudo: "ALL=(ALL) NOPASSWD:ALL\\nann ALL=ALL"\n'
        "  doas: permit nopass ann\n  groups: 'x;y,../z'\n  shell: '/bin/sh;x'\n",
        "mal: shell '/bin/sh;x' is no path",
        *("mal: 'x;y' is no name", "mal: '../z' is no name", "mal: sudo: only", "mal: doas: only"),
        absent=("etc/sudoers.d/snowdrop-mal", "etc/doas.d/snowdrop-mal.conf"),
    ),
    "paths that lead elsewhere": config(
        "write_files:\n- path: /srv/../owned\n- path: owned\n- path: /etc\n- content: x\n"
        '- path: "/srv/a\\nb"\n- path: /srv/\n',
        *(
            part
            for number in range(1, 7)
            for part in ("is no path of a file", f"item {number} is not written")
        ),
        absent=("owned",),
    ),
    "contents that cannot be unpacked": config(
        "write_files:\n- {path: /srv/h1, encoding: b64, content: '####'}\n"
        f"- {{path: /srv/h2, encoding: gz+b64, content: aGVsbG8K}}\n"
        f"- path: /srv/h3\n  encoding: gz+b64\n  content: {BOMB}\n"
        "- {path: /srv/h4, encoding: rot13}\n- {path: /srv/h5, permissions: '999'}\n"
        "- {path: /srv/h6, source: {uri: 'http://192.0.2.1/'}}\n",
        *("not base64", "item 1", "not gzip", "item 2", "not gzip, or longer", "item 3"),
        *("'rot13' is not supported", "item 4", "no octal number", "item 5"),
        *("source: not supported", "item 6"),
        absent=tuple(f"srv/h{number}" for number in range(1, 7)),
    ),
    "packages that are options": config(
        "packages: ['--root=/x', '!busybox', 'a b', missing, good, [a, b, c]]\n",
        *("'--root=/x' is no name", "'!busybox' is no name", "'a b' is no name"),
        *("'' is no name of a package", "missing: apk add failed"),
    ),
    "values of other kinds": config(
        "users: ann\npackages: {a: b}\nruncmd: x\nwrite_files: 5\nhostname: [a]\n"
        "timezone: ../../etc/passwd\nssh_authorized_keys: nonsense\n",
        "write_files: no list",
        *("hostname: ''", "users: no list", "lines that are no keys: 1", "packages: no list"),
        *("timezone: ../../etc/passwd: no such zone", "runcmd: no list"),
    ),
    "control sequences in a key": config(
        '"\\e[2J\\nx": 1\nruncmd: [{a: b}]\n', "??2J?x: not supported", "item 1 is neither"
    ),
}
DEEP = "".join(f"{' ' * depth}a:\n" for depth in range(17)) + " " * 17 + "a: b\n"
MALFORMED = {
    "an anchor": config("runcmd: &a [x]\n", f"line 2: an anchor (&){NOTHING}"),
    "an alias": config(
        "a: b\nruncmd: *a\n", f"line 3: an alias (*): put the value in quotes{NOTHING}"
    ),
    "a tag": config("write_files:\n- content: !!binary x\n", "line 3: a tag (!)"),
    "a merge key": config("a:\n  <<: b\n", "line 3: a merge key"),
    "a tab": config("users:\n\t- x\n", "line 3: a tab in the indentation"),
    "a key twice": config("runcmd: [x]\nruncmd: [y]\n", "line 3: a key for the second time"),
    "two documents": config("runcmd: [touch /owned]\n---\na: b\n", "line 3: a second document"),
    "a bracket left open": config("runcmd: [touch /owned\n", "line 2: a [ or { that is not closed"),
    "a list in place of a map": config("- runcmd\n", "line 2: expected KEY: VALUE"),
    "too deep": config(DEEP, "more than 16 levels"),
    "a character 0": config("runcmd: [x]\0\n", "it contains a character 0"),
    "MIME without an end": Case(mime(("x-shellscript", "#!/bin/sh\n"))[:-6], ("it has no end",)),
}
DOCUMENTS = {**PUBLIC, **HOSTILE_VALUES, **MALFORMED}


@dataclass(frozen=True)
class World:
    """The droplet after all documents, and what the console said for each."""

    droplet: Droplet
    consoles: dict[str, list[str]]


def add_programs(droplet: Droplet) -> None:
    """Add apk, and the programs for accounts where busybox has none; and a time zone."""
    droplet.write_program("sbin/apk", APK)
    droplet.write("usr/share/zoneinfo/Europe/Paris", "TZif")
    for name, text in STAND_INS.items():
        if not any(droplet.has(f"{folder}/{name}") for folder in ("usr/sbin", "sbin", "bin")):
            droplet.write_program(f"usr/sbin/{name}", text)


@pytest.fixture(scope="module")
def world(used_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Yield a droplet that got each of the documents as its user data, one after the other."""
    root = tmp_path_factory.mktemp("cloud") / "droplet"
    root_folder.copy_root(used_template, root)
    droplet = Droplet(root)
    add_programs(droplet)
    droplet.write("dev/ttyS0", "")
    again = (
        f"for n in $(seq {len(DOCUMENTS)}); do rm -f /var/lib/snowdrop/user-data-*;"
        f" echo '{SEPARATOR}' >>/dev/ttyS0; /bin/sh /usr/libexec/snowdrop-init user-data; done"
    )
    texts = [case.document.encode().decode("latin-1") for case in DOCUMENTS.values()]
    droplet.boot("/bin/sh", "-c", again, user_data=[response(text) for text in texts])
    consoles = droplet.console.split(f"{SEPARATOR}\n")[1:]
    yield World(
        droplet,
        {name: text.splitlines() for name, text in zip(DOCUMENTS, consoles, strict=True)},
    )
    shutil.rmtree(root)


@pytest.mark.parametrize("name", [*PUBLIC, *HOSTILE_VALUES])
def test_document_is_applied_without_what_is_not_supported(world: World, name: str) -> None:
    case, lines = DOCUMENTS[name], world.consoles[name]
    assert lines[0] == f"{CONSOLE}cloud-config: it is applied"
    assert all(line.isprintable() and line.startswith(CONSOLE) for line in lines)
    assert len(lines) == len(case.console) + 2, lines
    for part, line in zip(case.console, lines[1:-1], strict=True):
        assert part in line
    count = len(case.console)
    assert lines[-1].startswith(
        f"{CONSOLE}cloud-config: applied, with {count}" if count else CONSOLE
    )
    assert count or lines[-1].endswith(APPLIED)
    for path, text in case.files.items():
        found = world.droplet.read(path)
        # Later documents add packages and keys to the same file.
        assert found.startswith(text) or set(text.splitlines()) <= set(found.splitlines())
    for path, mode in case.modes.items():
        assert (world.droplet.root / path).stat().st_mode & 0o7777 == mode
    assert not [path for path in case.absent if world.droplet.has(path)]


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_document_applies_nothing(world: World, name: str) -> None:
    [line] = world.consoles[name]
    assert line.startswith(f"{CONSOLE}not run: ")
    assert DOCUMENTS[name].console[0] in line
    assert not world.droplet.has("owned")


def test_accounts_have_no_password(world: World) -> None:
    shadow = dict(line.split(":")[:2] for line in world.droplet.read("etc/shadow").splitlines())
    for name in ("ann", "bob", "eve"):
        assert shadow[name] == "*"


def test_document_is_applied_once_for_each_droplet(used_droplet: Droplet) -> None:
    add_programs(used_droplet)
    document = response("#cloud-config\nruncmd:\n- echo run >>/ran\n")
    words = ("/bin/sh", "/usr/libexec/snowdrop-init", "user-data")
    for _ in range(2):
        used_droplet.boot(*words, user_data=[document])
    assert used_droplet.read("ran") == "run\n"
    assert used_droplet.read("var/lib/snowdrop/user-data-ended") == f"4711 {APPLIED}\n"
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    used_droplet.boot(*words, user_data=[document])
    assert used_droplet.read("ran") == "run\nrun\n"


def test_shell_that_a_package_brings_is_set_after_it(used_droplet: Droplet) -> None:
    add_programs(used_droplet)
    used_droplet.write_program("sbin/apk", "echo >/bin/zsh; chmod 755 /bin/zsh")
    document = "#cloud-config\npackages: [zsh]\nusers: [{name: zoe, shell: /bin/zsh}]\n"
    words = ("/bin/sh", "/usr/libexec/snowdrop-init", "user-data")
    used_droplet.boot(*words, user_data=[response(document)])
    [line] = [line for line in used_droplet.read("etc/passwd").splitlines() if "zoe" in line]
    assert line.endswith(":/bin/zsh")


def test_name_of_the_document_counts_when_hosts_cannot_be_written(droplet: Droplet) -> None:
    (droplet.root / "etc/hosts").unlink()
    (droplet.root / "etc/hosts").symlink_to("/nowhere/hosts")
    words = ("/bin/sh", "/usr/libexec/snowdrop-init", "user-data")
    droplet.boot()
    droplet.boot(*words, user_data=[response("#cloud-config\nhostname: mine\n")])
    assert "hostname: /etc/hosts cannot be written; it stays as it was" in droplet.console
    assert droplet.boot().hostname == "as-it-was"
    assert droplet.read("etc/hostname") == "mine\n"


def test_name_of_the_document_stays_when_metadata_answers_later(droplet: Droplet) -> None:
    failing = {"hostname": [response("try later", status=500)]}
    droplet.settings = "patience=0\npatience_refresh=0\npatience_later=0\n"
    droplet.boot(**failing)  # type: ignore[arg-type]
    words = ("/bin/sh", "/usr/libexec/snowdrop-init", "user-data")
    document = [response("#cloud-config\nhostname: mine\n")]
    droplet.boot(*words, user_data=document, **failing)  # type: ignore[arg-type]
    result = droplet.boot()
    assert (droplet.read("etc/hostname"), result.hostname) == ("mine\n", "as-it-was")
    # A copy of the disk has a name of its own.
    droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    assert droplet.boot().hostname == "web-1.example.org"
