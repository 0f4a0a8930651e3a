"""A build writes the image and its record, or neither and an error with the reason."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from build.apk.writing import Entry, Recipe, derive_key, write_index, write_package
from build.builder import PROBE
from build.compare import compare_images
from build.config import MIB, BuildConfig, ImageConfig, Origin, Source
from build.edges.container import Choice, Job
from build.edges.process import Finished
from build.edges.progress import Silent
from build.edges.variation import USUAL, Variation
from build.errors import BuildError, NotReproducibleError, VerificationError
from build.image import Image, build_image
from build.inside.normalise import RULES
from build.snapshot.lock import Lock, LockedPackage, LockedRepository
from build.snapshot.store import Store

ROOT = Path(__file__).parents[2]
EPOCH = 1_700_000_000
ORIGIN = Origin(name="snowdrop", version="v3.24.20261123", commit="c" * 40, dirty=False)
STEM = "snowdrop-droplet-v3.24.20261123-x86_64"
KEY = derive_key(b"tests of image", "tests.rsa.pub")


@dataclass
class FakeEngine:
    """An engine that runs no program: it reads the plan and writes results as the builder does."""

    name: str = "fake"
    version: str = "1"
    lines: Sequence[Mapping[str, object]] = ()
    status: int = 0
    plan: Mapping[str, object] = field(default_factory=dict)
    seen: dict[str, list[str]] = field(default_factory=dict)
    job: Job | None = None

    def run(self, job: Job) -> Finished:
        """Write the results of a builder, and keep the job."""
        self.job = job
        folders = {mount.target: mount.source for mount in job.mounts} | {"/": job.root}
        self.plan = json.loads((folders["/in"] / "plan.json").read_text())
        self.seen = {
            target: sorted(str(path.relative_to(source)) for path in source.rglob("*"))
            for target, source in folders.items()
        }
        for line in self.lines:
            if job.on_line:
                job.on_line(json.dumps(line))
        out = folders["/out"]
        if self.status == 0:
            (out / str(self.plan["image"])).write_bytes(b"an image")
            (out / "tree.txt").write_text(".\tdir\n")
            tree = {"entries": 1, "sha256": "1" * 64, "bytes": 0}
            raw = {"size": 64 * MIB, "sha256": "2" * 64}
            result = {"raw": raw, "tree": tree, "seconds": {"install": 1.5}}
            (out / "result.json").write_text(json.dumps(result))
        return Finished(tuple(job.argv), self.status, b"", b"the last lines")


@dataclass(frozen=True)
class World:
    """One snapshot in a store, and the folders of its image."""

    config: BuildConfig
    lock: Lock
    store: Store
    work: Path
    out: Path
    engine: FakeEngine

    def build(self, variation: Variation = USUAL) -> Image:
        """Build the image of the snapshot."""
        return build_image(
            self.config,
            "droplet",
            self.lock,
            self.store,
            ORIGIN,
            wanted_engine=None,
            caller={},
            work=self.work,
            out=self.out,
            progress=Silent(),
            clock=lambda: 0.0,
            variation=variation,
        )

    def left(self) -> list[str]:
        """Return the names of everything in both folders."""
        return sorted(path.name for folder in (self.work, self.out) for path in folder.glob("*"))


def package(name: str, store: Store, *closures: str) -> LockedPackage:
    entry = Entry(f"usr/share/{name}", 0o644, "file", content=name.encode())
    raw = write_package(
        Recipe(name=name, version="1.0-r0", description=name, epoch=EPOCH, entries=(entry,)), KEY
    )
    return LockedPackage(
        name=name,
        version="1.0-r0",
        arch="x86_64",
        repository=0,
        file=f"{name}-1.0-r0.apk",
        sha256=store.put(raw),
        size=len(raw),
        checksum="Q1",
        origin=name,
        commit="",
        license="MIT",
        build_time=EPOCH,
        order=dict.fromkeys(closures, 1),
    )


def snapshot(store: Store) -> Lock:
    index = write_index([], KEY, "tests")
    return Lock(
        branch="v3.24",
        arch="x86_64",
        apk_version="apk-tools 3.0.6",
        epoch=EPOCH,
        choice_sha256="0" * 64,
        repositories=(
            LockedRepository(
                role="image",
                url="https://mirror.example/v3.24/main",
                arch="x86_64",
                index_sha256=store.put(index),
                index_size=len(index),
                description="tests",
                key=KEY.name,
                key_sha256=store.put(KEY.public_pem()),
                mirrors=(),
            ),
        ),
        packages=(
            package("apk-tools-static", store, "apk"),
            package("busybox", store, "droplet"),
            package("python3", store, "builder"),
        ),
    )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    store = Store(tmp_path / "store")
    source = Source(repositories=(), mirrors=(), keys=tmp_path, base=tmp_path)
    image = ImageConfig(
        variant="droplet",
        arch="x86_64",
        disk=64 * MIB,
        packages=("busybox",),
        services={"default": ("sshd", "chronyd")},
        overlay=None,
        kernel_options="",
    )
    config = BuildConfig(
        file=tmp_path / "release.toml",
        branch="v3.24",
        source=source,
        builder_source=source,
        builder_packages=("python3",),
        images={"droplet": image},
        lock=tmp_path / "release.lock",
        store=tmp_path / "store",
        work=tmp_path / "work",
    )
    engine = FakeEngine()
    chosen: Callable[..., Choice] = lambda *_, **__: Choice(engine, (("docker", "not here"),))  # noqa: E731
    monkeypatch.setattr("build.builder.choose_engine", chosen)
    return World(config, snapshot(store), store, tmp_path / "work", tmp_path / "dist", engine)


def test_a_build_leaves_image_record_and_local_packages_only(world: World) -> None:
    image = world.build()
    assert [name for name in world.left() if not name.endswith(".apk")] == [
        f"{STEM}.build.json",
        f"{STEM}.qcow2",
    ]
    record = json.loads(image.record_path.read_text())
    assert record == image.record
    content = image.path.read_bytes()
    assert record["image"] == {
        "file": f"{STEM}.qcow2",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert record["engine"]["refused"] == [{"name": "docker", "reason": "not here"}]
    assert record["lock"] == {"id": world.lock.id}
    assert {entry["file"] for entry in record["packages"]} == {
        path.name for path in world.out.glob("*.apk")
    }


def test_the_builder_sees_the_closure_and_no_other_file_of_the_host(world: World) -> None:
    world.build()
    seen, plan = world.engine.seen, world.engine.plan
    assert "usr/share/python3" in seen["/"]
    assert "usr/share/apk-tools-static" in seen["/apk"]
    assert "r0/x86_64/busybox-1.0-r0.apk" in seen["/apk/packages"]
    assert not any("python3" in name for name in seen["/apk/packages"])
    assert f"keys/{KEY.name}" in seen["/apk/packages"]
    assert all(name.startswith("build") for name in seen["/snowdrop"])
    assert not any("image.py" in name or "apk" in name for name in seen["/snowdrop"])
    assert str(world.work) not in json.dumps(plan)
    assert plan["public_repositories"] == ["https://mirror.example/v3.24/main"]


def test_a_variation_reaches_the_job_of_the_builder(world: World) -> None:
    tree = world.work / "tree"
    world.build(Variation(tree=tree, host_name="elsewhere", environment={"TZ": "Asia/Tokyo"}))
    job = world.engine.job
    assert job is not None
    assert (job.host_name, job.environment, job.tmpfs) == ("elsewhere", {"TZ": "Asia/Tokyo"}, [])
    assert [mount.target for mount in job.mounts if mount.source == tree] == ["/apk/build"]


def test_an_engine_without_device_nodes_is_refused_in_one_line() -> None:
    # Without the folder /apk/build, mknod fails as it does in a user namespace.
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "no device nodes and owners, which need root of the host: No such file or directory\n"
    )


def test_uuids_and_names_depend_on_the_lock_only(world: World) -> None:
    world.build()
    first = world.engine.plan
    world.build()
    assert world.engine.plan == first
    replace(world, lock=replace(world.lock, epoch=EPOCH + 1)).build()
    for key in ("root_uuid", "hash_seed", "disk_id"):
        assert world.engine.plan[key] != first[key]


def test_a_damaged_package_is_not_unpacked(world: World) -> None:
    damaged = world.store.path(world.lock.closure("droplet")[0].sha256)
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes() + b"!")
    with pytest.raises(VerificationError, match="sha256"):
        world.build()
    assert world.left() == []


def test_a_failed_step_is_reported_and_leaves_nothing(world: World) -> None:
    world.engine.status = 1
    world.engine.lines = [
        {"step": "install"},
        {"error": "service x of runlevel default: no /etc/init.d/x", "hint": "leave it out"},
    ]
    with pytest.raises(BuildError, match=r"^service x of runlevel default") as caught:
        world.build()
    assert caught.value.hint == "leave it out"
    assert world.left() == []


def test_the_output_of_a_builder_that_dies_is_reported(world: World) -> None:
    world.engine.status = 137
    with pytest.raises(BuildError, match=r"ended with status 137:\nthe last lines$"):
        world.build()


def test_a_full_disk_is_reported_in_one_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    free = type("Usage", (), {"free": 1})
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    with pytest.raises(BuildError, match=r"0 MiB free, about \d+ MiB needed$"):
        world.build()
    assert world.left() == []


def test_differences_between_builds_are_listed_by_cause(world: World) -> None:
    first = world.build()
    compare_images(first, first)
    record = dict(first.record) | {"tree": {"sha256": "3" * 64}}
    times = b"".join(b"bin/%d\tfile\t0644\t0\t0\t1\t1700000000\n" % n for n in range(9))
    second = replace(
        first,
        record=record,
        listing=b".\tdir\n" + times.replace(b"\t17", b"\t18") + b"etc/odd\tfile\nvar/log/a\tfile\n",
    )
    with pytest.raises(NotReproducibleError) as caught:
        compare_images(replace(first, listing=b".\tdir\n" + times), second)
    reasons = {rule.name: rule.reason for rule in RULES}
    assert str(caught.value).splitlines() == [
        f"two builds of {STEM}.qcow2 differ in: tree",
        "  not covered by any rule",
        "    /etc/odd: only in one: -, file",
        f"  rule `times`: {reasons['times']}",
        *(f"    /bin/{n}: mtime: 1700000000, 1800000000" for n in range(4)),
        "    and 5 more",
        f"  rule `logs`: {reasons['logs']}",
        "    /var/log/a: only in one: -, file",
    ]


def test_a_build_needs_nothing_but_python() -> None:
    # A release's archive is rebuilt by a Python without any package installed.
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import build.image"
    subprocess.run([sys.executable, "-I", "-S", "-B", "-c", script], check=True)
