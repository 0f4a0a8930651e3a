"""Alpine's own apk 2.14, which installs and removes packages in a root folder."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from build.firstboot.packages import LocalPackages

RUNTIME = ("musl", "apk-tools", "libcrypto3", "libssl3", "zlib")
IMAGE = ("alpine-base", "openssh-server", "chrony", "e2fsprogs-extra")


@dataclass(frozen=True, slots=True)
class Apk:
    """The program, with the repositories of a test."""

    folder: Path
    """Where the packages of RUNTIME are unpacked."""
    main: Path
    """Alpine's repository: the folder above `x86_64`."""

    def run(self, root: Path, *words: str) -> str:
        """Run apk on a root folder; return its output."""
        argv = [
            str(self.folder / "lib/ld-musl-x86_64.so.1"),
            *("--library-path", str(self.folder / "lib"), str(self.folder / "sbin/apk")),
            *("--arch", "x86_64", "--root", str(root), "--keys-dir", str(_beside(root, "keys"))),
            *("--repositories-file", "/dev/null", "--no-network", "--no-cache", "--no-progress"),
            *("--repository", str(_beside(root, "local")), "--repository", str(self.main)),
            *words,
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def offer(self, root: Path, local: LocalPackages) -> None:
        """Make `local` the repository of local packages for this root folder."""
        keys, repository = _beside(root, "keys"), _beside(root, "local") / "x86_64"
        if not keys.exists():
            shutil.copytree(self.main.parents[2] / "keys", keys)
            keys.chmod(0o755)
        (keys / local.key_name).write_bytes(local.public_pem)
        repository.mkdir(parents=True, exist_ok=True)
        (repository / "APKINDEX.tar.gz").write_bytes(local.index)
        for name, content in local.packages:
            (repository / name).write_bytes(content)

    def install(self, root: Path, local: LocalPackages, *names: str) -> str:
        """Install packages into a new root folder; return apk's output."""
        self.offer(root, local)
        return self.run(root, "--initdb", "add", *names)


def _beside(root: Path, name: str) -> Path:
    return root.with_name(f"{root.name}-{name}")
