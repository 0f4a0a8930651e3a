"""What it costs to mirror a release to an S3 server of this machine, beside boto3's upload_file.

The download without an account, which nothing else makes, is measured apart from the upload.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.config import Config

from build.edges.progress import Silent, Step
from ci.config import read_config
from ci.publish.mirror import mirror_release, open_bucket
from ci.publish.release_files import read_release
from ci.rehearsal import s3
from ci.rehearsal.s3 import ObjectStore
from tests.bench.verifying import ASK
from tests.publish.release import write_config, write_release

BLOCK = 32
"""Bytes of a block of `write_release`."""
MB = 1000 * 1000
SIZE, LARGE = 100 * MB, 400 * MB
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a mirror, in seconds and MB."""

    plain: float
    """boto3's upload_file for each file."""
    upload: float
    read_back: float
    again: float
    """The whole command when there is nothing to do."""
    uploaded_again: int
    memory: int
    memory_large: int


@dataclass
class Timed(Silent):
    """Progress that keeps the seconds of each step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, title: str, *, total: int | None = None, unit: str = "B") -> Iterator[Step]:
        """Time a step, by the first word of its title."""
        del total, unit
        start = time.perf_counter()
        yield self
        self.seconds[title.partition(" ")[0]] = time.perf_counter() - start


def seconds_and_memory(folder: Path) -> Cost:
    """Return what a release of 100 MB costs, and the memory for one of 400 MB."""
    with s3.running(folder / "s3") as store:
        release = folder / "release"
        release.mkdir()
        write_release(release, blocks=SIZE // BLOCK)
        plain, upload, read_back = [], [], []
        for number in range(ROUNDS):
            plain.append(upload_plainly(store, release / "dist", f"plain{number}/"))
            timed = mirror(store, release, f"mirror{number}/")
            upload.append(timed["Mirror"])
            read_back.append(timed["Download"])
        memory = most_memory(store, release, "first/")
        again = [mirror_again(store, release, "first/") for _ in range(ROUNDS)]
        large = folder / "large"
        large.mkdir()
        write_release(large, blocks=LARGE // BLOCK)
        memory_large = most_memory(store, large, "large/")
    return Cost(
        plain=min(plain),
        upload=min(upload),
        read_back=min(read_back),
        again=min(seconds for seconds, _ in again),
        uploaded_again=sum(uploaded for _, uploaded in again),
        memory=memory,
        memory_large=memory_large,
    )


def upload_plainly(store: ObjectStore, dist: Path, prefix: str) -> float:
    """Return the seconds of boto3's upload_file for all files."""
    client = boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name="us-east-1",
        aws_access_key_id=store.key,
        aws_secret_access_key=store.secret,
        config=Config(s3={"addressing_style": "path"}),
    )
    start = time.perf_counter()
    for path in sorted(dist.iterdir()):
        client.upload_file(str(path), store.bucket, prefix + path.name)
    return time.perf_counter() - start


def configured(store: ObjectStore, folder: Path, prefix: str) -> Path:
    """Return a configuration whose mirror is below `prefix`."""
    spaces = {
        "bucket": store.bucket,
        "region": "fra1",
        "prefix": prefix,
        "endpoint": store.endpoint,
        "public_url": store.public_url,
    }
    return write_config(folder, spaces=spaces)


def mirror(store: ObjectStore, folder: Path, prefix: str) -> dict[str, float]:
    """Return the seconds of each step of a mirror, in this process."""
    config = read_config(configured(store, folder, prefix))
    assert config.spaces
    client = open_bucket(config.spaces, keys(store))
    progress = Timed()
    release = read_release(config, progress)
    mirror_release(client, config.spaces, release, progress=progress, wait=time.sleep)
    return progress.seconds


def command(store: ObjectStore, folder: Path, prefix: str) -> list[str]:
    """Return the command that mirrors a release."""
    config = configured(store, folder, prefix)
    return [sys.executable, "-m", "ci", "mirror", "--config", str(config), "--json"]


def most_memory(store: ObjectStore, folder: Path, prefix: str) -> int:
    """Mirror a release; return the most memory of the command in MB."""
    # Asked by a small process: a child begins with its parent's size.
    argv = [sys.executable, "-c", ASK, *command(store, folder, prefix)]
    environment = {**os.environ, **keys(store)}
    asked = subprocess.run(argv, env=environment, capture_output=True, check=True)
    return int(asked.stdout) // 1024


def mirror_again(store: ObjectStore, folder: Path, prefix: str) -> tuple[float, int]:
    """Mirror what is there; return the seconds of the command, and the bytes that it uploaded."""
    environment = {**os.environ, **keys(store)}
    start = time.perf_counter()
    argv = command(store, folder, prefix)
    done = subprocess.run(argv, env=environment, capture_output=True, check=True)
    seconds = time.perf_counter() - start
    files = json.loads(done.stdout)["files"]
    return seconds, sum(file["size"] for file in files if file["state"] == "uploaded")


def keys(store: ObjectStore) -> dict[str, str]:
    """Return the environment with the keys of the server."""
    return {"SPACES_KEY": store.key, "SPACES_SECRET": store.secret}
