"""Documents that verify reads, damaged at random: each gives a value or an error of ours.

`nox -s fuzz` runs them for minutes, the tests a few hundred tries each.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.errors import VerificationError
from build.snapshot.lock_reader import parse_lock
from ci.release.checksums import parse_checksums
from ci.release.manifest import (
    PROVENANCE_BUNDLE,
    boot_bundle,
    build_bundle,
    parse_manifest,
)
from ci.verify.content.artifacts import check_artifacts
from ci.verify.content.facts import (
    check_boot_report,
    check_build_record,
    check_sbom_of,
    describe_parameters,
    value_at,
)
from ci.verify.content.packages import _components
from ci.verify.content.release_index import ReleaseIndex
from ci.verify.findings import Findings
from ci.verify.safe_io import parse_strict
from ci.verify.target import find_tag, locate
from ci.verify.trust.bundles import parse_statement
from ci.verify.trust.policy import Policy, TrustedSigner
from ci.verify.trust.policy_file import dump_signer, read_signer, remember
from tests.snapshot.test_parsers import changed, quick, tried
from tests.verify.attacks.content import SBOM
from tests.verify.stage import IMAGE, NEW, REPOSITORY, Stage, payload_of

Parser = Callable[[bytes], object]
SIGNER = TrustedSigner(repository=REPOSITORY, repository_id="7", owner_id="6")
KINDS = (
    *("manifest", "manifest's checks", "checksums", "SBOM", "lock", "policy"),
    *("statement", "boot report", "build record", "parameters"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


class Documents:
    """Each document of a good release, with what reads it."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.folder, self.policy_file = stage.new, folder / "policy.toml"
        self.raw = (stage.new / "release.json").read_bytes()
        self.manifest = parse_manifest(self.raw)
        (self.image,) = (item for item in self.manifest.artifacts if item.name == IMAGE)
        self.policy = Policy(SIGNER, NEW, self.manifest.commit)

    def of(self, kind: str) -> tuple[Parser, bytes]:
        """Return parser and good content of a kind."""
        signer = remember(SIGNER, NEW, 5)
        pairs: dict[str, tuple[Parser, bytes]] = {
            "manifest": (parse_manifest, self.raw),
            "manifest's checks": (self._manifest, self.raw),
            "checksums": (parse_checksums, (self.folder / "SHA256SUMS").read_bytes()),
            "SBOM": (self._sbom, (self.folder / SBOM).read_bytes()),
            "lock": (self._lock, (self.folder / "release.lock").read_bytes()),
            "policy": (self._policy, dump_signer(signer).encode()),
            "statement": (self._statement, self._payload(PROVENANCE_BUNDLE)),
            "boot report": (self._boot, self._payload(boot_bundle(IMAGE))),
            "build record": (self._record, self._payload(build_bundle(IMAGE))),
            "parameters": (self._parameters, self._payload(PROVENANCE_BUNDLE)),
        }
        return pairs[kind]

    def _payload(self, bundle: str) -> bytes:
        return json.dumps(payload_of(json.loads((self.folder / bundle).read_text()))).encode()

    def _manifest(self, raw: bytes) -> object:
        # As a signed manifest of any values: its byte form is not what is tried here.
        document = parse_strict(raw, where="release.json")
        canonical = json.dumps(document, indent=2, sort_keys=True) + "\n"
        index = ReleaseIndex(self.folder, parse_manifest(canonical.encode()), {}, self.policy)
        findings = Findings()
        check_artifacts(index, findings, allow_dirty=False)
        return findings

    def _sbom(self, raw: bytes) -> object:
        document = _object(parse_strict(raw, where="SBOM"))
        check_sbom_of(document, self.image)
        return _components(document)

    def _lock(self, raw: bytes) -> object:
        return parse_lock(raw, where="lock")

    def _policy(self, raw: bytes) -> object:
        self.policy_file.write_bytes(raw)
        return read_signer(self.policy_file)

    def _statement(self, raw: bytes) -> object:
        return parse_statement("statement", "application/vnd.in-toto+json", raw)

    def _boot(self, raw: bytes) -> None:
        check_boot_report(self._predicate(raw), self.image, self.policy)

    def _record(self, raw: bytes) -> None:
        check_build_record(self._predicate(raw), self.image, self.manifest, self.policy)

    def _parameters(self, raw: bytes) -> object:
        keys = ("buildDefinition", "externalParameters")
        return describe_parameters(value_at(self._predicate(raw), *keys), self.manifest)

    def _predicate(self, raw: bytes) -> dict[str, object]:
        return _object(value_at(parse_strict(raw, where="statement"), "predicate"))


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise VerificationError("no object, expected one")
    return value


@pytest.fixture(name="documents", scope="session")
def _documents(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Documents:
    return Documents(stage, tmp_path_factory.mktemp("documents"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_document_gives_a_value_or_our_error(kind: str, documents: Documents) -> None:
    parse, good = documents.of(kind)
    parse(good)

    @quick
    @given(changed(good))
    def check(content: bytes) -> None:
        tried(parse, content)

    check()


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"lock", "policy", "checksums"}))
def test_another_value_anywhere_gives_a_value_or_our_error(kind: str, documents: Documents) -> None:
    """Damaged bytes are seldom JSON: here the JSON is good, and one value is another."""
    parse, good = documents.of(kind)
    document = json.loads(good)

    @quick
    @given(st.data())
    def check(data: st.DataObject) -> None:
        tried(parse, json.dumps(_with_other_value(document, data)).encode())

    check()


def _with_other_value(value: object, data: st.DataObject) -> object:
    """Return `value` with one value in it replaced, drawn from `data`."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 4)):
        key = data.draw(st.sampled_from(sorted(value)))
        return {**value, key: _with_other_value(value[key], data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 4)):
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], _with_other_value(value[place], data), *value[place + 1 :]]
    return data.draw(JSON)


@quick
@given(st.text(alphabet="v3.24/2016:%-edgx?#;\\ ", max_size=60), st.sampled_from(["", "https://"]))
def test_any_target_is_located_or_refused(text: str, scheme: str) -> None:
    def parse(_: bytes) -> object:
        target = locate(f"{scheme}{text}", repository="a/b", web="https://github.com")
        return find_tag(None, target)

    tried(parse, b"")
