"""Fixtures of the tests of publishing: commands called in process, as by `python -m ci`."""

import argparse
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from werkzeug.wrappers import Request

from build.snapshot.lock import Lock, write_lock
from ci.rehearsal.github.server import running as github_running
from ci.rehearsal.github.state import World
from ci.rehearsal.http_server import serve
from ci.rehearsal.s3 import ObjectStore
from ci.rehearsal.s3 import running as s3_running
from ci.report.console import Console
from tests.apk.makers import key
from tests.publish.release import Counted, world_in
from tests.publish.s3_proxy import Proxy
from tests.publish.snapshots import URL, store_of
from tests.snapshot.kept import keep


@dataclass
class Outcome:
    """Result of a command."""

    status: int
    text: str
    data: dict[str, object] = field(default_factory=dict)
    progress: Counted = field(default_factory=Counted)


@pytest.fixture
def call() -> Callable[..., Outcome]:
    """Return a function that runs a command module: config, arguments, environment -> outcome."""

    def caller(
        command: ModuleType,
        config: Path,
        *argv: str,
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        parser = argparse.ArgumentParser()
        parser.add_argument("--config", type=Path)
        parser.add_argument("--json", action="store_true")
        command.add_arguments(parser)
        out, progress = io.StringIO(), Counted()
        arguments = parser.parse_args(["--config", str(config), *argv])
        environment = environment or {}
        console = Console(out, io.StringIO(), environment, arguments.json, progress)
        status = command.run(arguments, console)
        text = out.getvalue()
        return Outcome(status, text, json.loads(text) if arguments.json else {}, progress)

    return caller


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Give a real S3 server."""
    with s3_running(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture
def spaces(store: ObjectStore, tmp_path: Path) -> dict[str, str]:
    """Return a [spaces] table with a prefix for this test alone."""
    return {
        "bucket": store.bucket,
        "region": "fra1",
        "prefix": f"{tmp_path.name.replace('_', '-')}/",
        "endpoint": store.endpoint,
        "public_url": store.public_url,
    }


@pytest.fixture
def keys(store: ObjectStore) -> dict[str, str]:
    """Return the environment with the keys of the server."""
    return {"SPACES_KEY": store.key, "SPACES_SECRET": store.secret}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give the state of an empty GitHub double."""
    return world_in(tmp_path)


@pytest.fixture
def api(world: World) -> Iterator[str]:
    """Serve the double; nothing that its description forbids may happen."""
    with github_running(world) as url:
        yield url
    assert world.violations == []


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    """A lock in the folder of the configuration, whose files are all in the store."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / key().name).write_bytes(key().public_pem())
    lock = keep(store_of(tmp_path), "hello", "world", url=URL)
    write_lock(tmp_path / "release.lock", lock)
    return lock


@pytest.fixture
def proxy(store: ObjectStore) -> Iterator[Proxy]:
    """Serve the S3 server by a proxy that makes faults."""
    made = Proxy(store.endpoint)
    with serve(Request.application(made.answer)) as made.url:
        yield made
        made.released.set()
