"""The Debian mirror is found on Debian, and on Ubuntu from an installed debootstrap."""

from pathlib import Path

import pytest

from build.edges.process import PLAIN
from build.errors import ConfigError
from ci import environment
from ci.rehearsal.sample.mirror import mirror_of_host, mirrors_of_apt, mirrors_of_debootstrap

UBUNTU = (
    "Ubuntu\tPackages\tmain\thttp://azure.mirror.example/ubuntu/\tnoble",
    "Ubuntu\tPackages\tuniverse\thttp://azure.mirror.example/ubuntu/\tnoble-updates",
    "\tPackages\tmain\thttps://packages.vendor.example/repos/\tnoble",
)
DEBIAN = (
    "Debian\tPackages\tmain\thttp://mirror.example/debian/\tbookworm",
    "Debian\tPackages\tmain\thttp://mirror.example/debian-security/\tbookworm-security",
    "Debian\tTranslations\tmain\thttp://mirror.example/debian/\tbookworm",
)
SOURCES = """\
Types: deb
URIs: http://azure.mirror.example/ubuntu/
Suites: noble noble-updates
Components: main universe
"""
# The forms of debootstrap's scripts: a call, one for each architecture, and its own default.
PLAIN_SCRIPT = "mirror_style release\ndefault_mirror http://one.example/debian\n"
CASES = """\
case $ARCH in
  amd64|i386)
\tdefault_mirror http://two.example/ubuntu
\t;;
  *)
\tdefault_mirror http://two.example/debian/
\t;;
esac
"""
PROGRAM = 'VERSION=1\nDEF_MIRROR="http://three.example/debian"\nDEF_HTTPS_MIRROR="https://x"\n'


def install(root: Path, **files: str) -> None:
    scripts = root / "usr/share/debootstrap/scripts"
    scripts.mkdir(parents=True)
    (root / "usr/sbin").mkdir()
    for name, text in files.items():
        path = root / "usr/sbin/debootstrap" if name == "program" else scripts / name
        path.write_text(text)


def test_apt_names_a_mirror_on_debian_only() -> None:
    assert list(mirrors_of_apt(DEBIAN)) == ["http://mirror.example/debian"]
    assert list(mirrors_of_apt(UBUNTU)) == []


@pytest.mark.parametrize(
    ("files", "mirror"),
    [
        ({"trixie": PLAIN_SCRIPT, "program": PROGRAM}, "http://one.example/debian"),
        ({"trixie": CASES, "program": PROGRAM}, "http://two.example/debian"),
        ({"sid": CASES, "program": PROGRAM}, "http://two.example/debian"),
        ({"trixie": "mirror_style release\n", "program": PROGRAM}, "http://three.example/debian"),
        ({"program": PROGRAM.replace("debian", "ubuntu")}, None),
    ],
)
def test_debootstrap_names_one(files: dict[str, str], mirror: str | None, tmp_path: Path) -> None:
    install(tmp_path, **files)
    assert next(mirrors_of_debootstrap("trixie", tmp_path), None) == mirror


def test_on_ubuntu_debootstrap_decides(tmp_path: Path) -> None:
    """The real apt reads Ubuntu's sources in a folder of its own."""
    parts = tmp_path / "apt" / "sources.list.d"
    parts.mkdir(parents=True)
    (parts / "ubuntu.sources").write_text(SOURCES)
    settings = tmp_path / "apt.conf"
    settings.write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/none";\nDir::Etc::sourceparts "{parts}";\n'
        f'Dir::State::lists "{tmp_path}/lists";\n'
    )
    apt = {**PLAIN, "APT_CONFIG": str(settings)}
    with pytest.raises(ConfigError) as refused:
        mirror_of_host("trixie", root=tmp_path, environment=apt)
    assert "apt-get install debootstrap debian-archive-keyring" in refused.value.hint
    install(tmp_path, program=PROGRAM)
    found = mirror_of_host("trixie", root=tmp_path, environment=apt)
    assert found == "http://three.example/debian"


def test_debian_itself_needs_no_debootstrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    monkeypatch.setattr(environment, "DEBIAN_KEYRING", keyring)
    monkeypatch.setattr(environment, "OS_RELEASE", tmp_path / "os-release")
    monkeypatch.setattr(environment, "find_tool", lambda _: None)
    answers = {}
    for text in ("ID=debian\n", "ID=ubuntu\nID_LIKE=debian\n"):
        (tmp_path / "os-release").write_text(text)
        answers[text.split()[0]] = environment.is_installed("debian")
    assert answers == {"ID=debian": True, "ID=ubuntu": False}
