"""Values in a release that would be a path, a name, a pattern or a size if they were believed.

All but the manifest's are sealed, as only the trusted job could: the values alone are refused.
"""

import json
import tarfile
from collections.abc import Callable

from build.apk.streams import BLOCK, tar_header
from ci.release.manifest import build_bundle
from tests.verify.attacks import Attack, deep, seal
from tests.verify.attacks.packages import both_sboms, installed
from tests.verify.mint import Json
from tests.verify.stage import ARCHIVE, IMAGE, REPOSITORY, Scene

LONG = "a" * 5000


def relocked(
    change: Callable[[bytes], bytes], name: str = "release.lock"
) -> Callable[[Scene], None]:
    """Return what changes a file in the archive, the lock at first, whose headers fit."""

    def do(scene: Scene) -> None:
        pieces = []
        with tarfile.open(scene / ARCHIVE) as archive:
            for member in archive:
                file = archive.extractfile(member)
                content = file.read() if file else b""
                if member.name == name:
                    before, content = content, change(content)
                    assert content != before
                header = tar_header(member.name, len(content), mtime=int(member.mtime))
                pieces += [header, content, bytes(-len(content) % BLOCK)]
        (scene / ARCHIVE).write_bytes(b"".join([*pieces, bytes(2 * BLOCK)]))

    return do


def lock(old: str, new: str) -> Callable[[Scene], None]:
    """Return what replaces text in the lock, once, and seals it all."""
    return deep(relocked(lambda raw: raw.replace(old.encode(), new.encode(), 1)), seal)


def value(table: str, key: str, new: str) -> Callable[[Scene], None]:
    """Return what gives `key` another value in the first table of the kind `table`."""

    def change(raw: bytes) -> bytes:
        head, mark, rest = raw.decode().partition(f"[[{table}]]\n" if table else "\n")
        lines = rest.split("\n")
        number = next(n for n, line in enumerate(lines) if line.startswith(f"{key} = "))
        lines[number] = f"{key} = {new}"
        return f"{head}{mark}{chr(10).join(lines)}".encode()

    return deep(relocked(change), seal)


def manifest(change: Callable[[Json], object]) -> Callable[[Scene], None]:
    """Return what changes the manifest, which is read before its signature is known."""

    def do(scene: Scene) -> None:
        document = json.loads((scene / "release.json").read_text())
        change(document)
        text = json.dumps(document, indent=2, sort_keys=True)
        (scene / "release.json").write_text(text + "\n")

    return do


def artifact(**changes: object) -> Callable[[Scene], None]:
    """Return what changes the first artifact of the manifest."""
    return manifest(lambda said: said["artifacts"][0].update(changes))


def repeated_keys(scene: Scene) -> None:
    """Write a manifest of many keys, the last of them twice."""
    names = [*(f'"{number}":0' for number in range(200_000)), '"199999":0']
    (scene / "release.json").write_text("{" + ",".join(names) + "}")


def component(**changes: object) -> Callable[[Scene], None]:
    """Return what changes the first component of the image's SBOM."""
    return both_sboms(lambda said: said["components"][0].update(changes))


def many_components(said: Json) -> None:
    """Give the SBOM more components than any image has."""
    said["components"] = [{}] * 20_001


def package(**changes: object) -> Callable[[Scene], None]:
    """Return what changes the first package of image.json."""
    return installed(lambda items: items[0].update(changes))


def record(change: Callable[[Json], object]) -> Callable[[Scene], None]:
    """Return what signs another build record."""
    return deep(
        lambda scene: scene.restate(build_bundle(IMAGE), lambda said: change(said["predicate"]))
    )


def rows(
    kind: str, check: str, attacks: dict[str, tuple[Callable[[Scene], None], str]]
) -> list[Attack]:
    """Return the attacks on one document, all of which one check refuses."""
    return [Attack(f"{kind}: {name}", do, check, found) for name, (do, found) in attacks.items()]


ARCH = "expected one of: x86_64"
VERSION = "expected apk's version"
DOTS = "dotted keys or other quotes"
LOCKS = {
    "arch leads to other keys": (
        value("", "arch", '"../../../keys"'),
        f'arch = "../../../keys": {ARCH}',
    ),
    "arch is an absolute path": (value("", "arch", '"/tmp/keys"'), ARCH),
    "arch is the folder itself": (value("", "arch", '"."'), ARCH),
    "arch is empty": (value("", "arch", '""'), ARCH),
    "arch is that of other machines": (value("", "arch", '"aarch64"'), ARCH),
    "arch is a pattern": (value("", "arch", '"x86.64"'), ARCH),
    "arch and more lines": (value("", "arch", r'"x86_64\n"'), ARCH),
    "arch is a list": (value("", "arch", '["x86_64"]'), ARCH),
    "branch is a path": (value("", "branch", '"../v3.24"'), "branch = "),
    "branch is long": (value("", "branch", f'"v3.{"2" * 5000}"'), "branch = "),
    "apk is long": (value("", "apk", f'"{LONG}"'), "apk = "),
    "apk clears the screen": (value("", "apk", r'"apk-tools \u001b[2J"'), "apk = "),
    "epoch is no number": (value("", "epoch", '"1"'), "epoch = "),
    "epoch is huge": (value("", "epoch", "9" * 30), "epoch = "),
    "epoch has 5,000 digits": (value("", "epoch", "9" * 5000), "4300 digits"),
    "repository: arch is a path": (value("repository", "arch", '"../x86_64"'), ARCH),
    "repository: URL is long": (value("repository", "url", f'"https://{LONG}"'), "url = "),
    "repository: URL has a line feed": (value("repository", "url", r'"a\nb"'), "url = "),
    "repository: place is a path": (value("repository", "place", '"../image"'), "place = "),
    "repository: key is a path": (value("repository", "key", '"../a.rsa.pub"'), "key = "),
    "repository: key is hidden": (value("repository", "key", '".rsa.pub"'), "key = "),
    "repository: key is long": (value("repository", "key", f'"{LONG}"'), "key = "),
    "repository: description is long": (
        value("repository", "description", f'"{LONG}"'),
        "description = ",
    ),
    "repository: description has controls": (
        value("repository", "description", r'"v3\u0007"'),
        "description = ",
    ),
    "repository: many mirrors": (
        value("repository", "mirrors", str(["a"] * 1001).replace("'", '"')),
        "at most 1000 strings",
    ),
    "repository: mirror is long": (value("repository", "mirrors", f'["{LONG}"]'), "mirrors = "),
    "repository: index is huge": (
        value("repository", "index_size", "9" * 18),
        "index_size = ",
    ),
    "package: arch is a path": (value("package", "arch", '"../../x86_64"'), f"{ARCH} or noarch"),
    "package: name is a path": (value("package", "name", '"../musl"'), "name = "),
    "package: name is long": (value("package", "name", f'"{LONG}"'), "name = "),
    "package: name is an option": (value("package", "name", '"--root"'), "name = "),
    "package: version is a path": (value("package", "version", '"1/../2"'), VERSION),
    "package: version is a pattern": (value("package", "version", '".*"'), VERSION),
    "package: version of 101 digits": (value("package", "version", f'"{"1" * 101}"'), VERSION),
    "package: version of a million digits": (
        value("package", "version", f'"{"1" * 1_000_000}"'),
        VERSION,
    ),
    "package: version of a million suffixes": (
        value("package", "version", f'"1{"_p1" * 1_000_000}"'),
        VERSION,
    ),
    "package: version of other digits": (value("package", "version", '"\u0661.0-r0"'), VERSION),
    "package: version is no version": (value("package", "version", '"latest"'), VERSION),
    "package: file is a path": (value("package", "file", '"../a.apk"'), "file = "),
    "package: file of another package": (value("package", "file", '"a-1-r0.apk"'), "file = "),
    "package: origin is long": (value("package", "origin", f'"{LONG}"'), "origin = "),
    "package: commit is a path": (value("package", "commit", '"../HEAD"'), "commit = "),
    "package: commit is long": (value("package", "commit", f'"{LONG}"'), "commit = "),
    "package: license is long": (value("package", "license", f'"{LONG}"'), "license = "),
    "package: license has controls": (value("package", "license", r'"MIT\r"'), "license = "),
    "package: digest is a path": (value("package", "sha256", '"../../a"'), "sha256 = "),
    "package: checksum is no checksum": (value("package", "checksum", '"Q1"'), "checksum = "),
    "package: size is negative": (value("package", "size", "-1"), "size = "),
    "package: of no repository": (value("package", "repository", "9"), "repository = "),
    "package: closure is a path": (value("package", "order", '{ "../a" = 1 }'), "order = "),
    "package: closure has a long name": (
        value("package", "order", f"{{ {LONG} = 1 }}"),
        "order = ",
    ),
    "package: many closures": (
        value("package", "order", f"{{ {', '.join(f'a{n} = 1' for n in range(101))} }}"),
        "closures, expected at most 100",
    ),
    "dotted keys without end": (lock("[[", f"{'a.' * 200_000}a = 1\n[["), DOTS),
    "dotted keys in quotes": (lock("[[", '"a".' * 200_000 + "a = 1\n[["), DOTS),
    "dotted keys behind another quote": (
        value("package", "order", f"{{ x = '\"', {'a.' * 200_000}a = 1, y = '\"' }}"),
        DOTS,
    ),
    "tables without end": (lock("[[", f"[a{'.a' * 200_000}]\n[["), DOTS),
    "lists without end": (value("", "arch", "[" * 100_000), "release.lock: "),
    "lock of 5 MiB": (lock("[[", f"# {'a' * (5 << 20)}\n[["), "expected at most 4194304 bytes"),
}
MANIFESTS = {
    "tag is a path": (manifest(lambda said: said.update(tag="v1/../v2")), "tag = "),
    "tag is long": (manifest(lambda said: said.update(tag=LONG)), "tag = "),
    "version is a path": (manifest(lambda said: said.update(version="../v2")), "version = "),
    "version is long": (manifest(lambda said: said.update(version=LONG)), "version = "),
    "name is a path": (manifest(lambda said: said.update(name="../snowdrop")), "name = "),
    "name is long": (manifest(lambda said: said.update(name=LONG)), "name = "),
    "repository has three parts": (
        manifest(lambda said: said.update(repository=f"{REPOSITORY}/../x")),
        "repository = ",
    ),
    "repository is long": (
        manifest(lambda said: said.update(repository=f"{REPOSITORY}{LONG}")),
        "repository = ",
    ),
    "previous is a path": (manifest(lambda said: said.update(previous="../v1")), "previous = "),
    "previous is long": (manifest(lambda said: said.update(previous=LONG)), "previous = "),
    "commit is a name": (manifest(lambda said: said["source"].update(commit="HEAD")), "commit = "),
    "lock's id is a path": (manifest(lambda said: said["lock"].update(id="../x")), "id = "),
    "artifact's name is long": (artifact(name=LONG), "name = "),
    "artifact's role is a path": (artifact(role="../image"), "role = "),
    "artifact's media type is long": (artifact(media_type=LONG), "media_type = "),
    "artifact's size is negative": (artifact(size=-1), "size = "),
    "artifact's size is huge": (artifact(size=1 << 60), "size = "),
    "artifact's size is a fraction": (artifact(size=1.5), "size = "),
    "artifact's digest is a path": (artifact(sha256="../" + "0" * 61), "sha256 = "),
    "1,001 artifacts": (
        manifest(
            lambda said: said.update(
                artifacts=[{**said["artifacts"][0], "name": f"a{n}"} for n in range(1001)]
            )
        ),
        "1001 artifacts, expected at most 1000",
    ),
    "200,000 keys and one twice": (repeated_keys, "key '199999' twice"),
}
SBOMS = {
    "a name that climbs": (component(**{"bom-ref": "a\\..\\b"}), "bom-ref = "),
    "a name with a line feed": (component(**{"bom-ref": "a\nb"}), "bom-ref = "),
    "a name of 5,000 letters": (component(**{"bom-ref": LONG}), "bom-ref = "),
    "a name that is a number": (component(**{"bom-ref": 1}), "bom-ref = "),
    "a purl of another scheme": (component(purl="javascript:alert(1)"), "purl = "),
    "a purl of 5,000 letters": (component(purl=f"pkg:{LONG}"), "purl = "),
    "a purl with a space": (component(purl="pkg:apk/a b"), "purl = "),
    "a digest that is none": (component(hashes=[{"alg": "SHA-256", "content": "x"}]), "content = "),
    "digests that are no list": (component(hashes={"alg": "SHA-256"}), "hashes = "),
    "no digest": (component(hashes=[]), "0 SHA-256, expected one"),
}
INVENTORIES = {
    "a name that climbs": (package(name="../musl"), "name = "),
    "a name of 5,000 letters": (package(name=LONG), "name = "),
    "a name that is a number": (package(name=1), "name = "),
    "a version that climbs": (package(version="../1"), "version = "),
    "a version of 5,000 digits": (package(version="1" * 5000), "version = "),
    "a version that is a list": (package(version=["1"]), "version = "),
    "a checksum that is none": (package(checksum="\x1b[2J"), "checksum = "),
    "a checksum of 5,000 letters": (package(checksum=f"Q1{LONG}"), "checksum = "),
    "20,001 packages": (
        installed(lambda items: items.extend([items[0]] * 20_001)),
        "at most 20000 tables",
    ),
}
RECORDS = {
    "a variant that climbs": (
        record(lambda said: said.update(variant="../droplet")),
        "variant is ",
    ),
    "a variant that is a pattern": (record(lambda said: said.update(variant=".*")), "variant is "),
    "a variant of 5,000 letters": (record(lambda said: said.update(variant=LONG)), "variant is "),
    "a variant that the lock lacks": (record(lambda said: said.update(variant="b")), "variant is "),
    "a variant that is a list": (record(lambda said: said.update(variant=[])), "variant is "),
    "a package that climbs": (
        record(lambda said: said.update(packages=[{"file": "../a.apk"}])),
        "file = ",
    ),
    "a package of 5,000 letters": (
        record(lambda said: said.update(packages=[{"file": LONG}])),
        "file = ",
    ),
    "packages that are no list": (record(lambda said: said.update(packages={})), "packages = "),
}
ATTACKS = [
    *rows("lock field", "snapshot signatures", LOCKS),
    *rows("manifest field", "release.json", MANIFESTS),
    *rows("SBOM field", f"packages in the SBOM of {IMAGE}", SBOMS),
    *rows("image.json field", f"packages in {IMAGE}", INVENTORIES),
    *rows("build record field", f"build record of {IMAGE}", RECORDS),
    Attack(
        "SBOM field: 20,001 components",
        both_sboms(many_components),
        f"SBOM of {IMAGE}",
        "at most 20000 tables",
    ),
]
