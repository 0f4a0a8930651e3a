"""The provenance of a release in GitHub's attestation store, where `gh attestation verify` looks.

One stored bundle answers for every file that its statement names (REST API 2022-11-28,
"Repository attestations"). The store is no part of the release: without it the same bundle is a
file of the release. A private repository has a store with GitHub Enterprise Cloud alone, and
GitHub Enterprise Server has none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from build.edges.progress import Progress
from build.errors import PublishError, RemoteError
from build.tables import Table
from build.words import counted
from ci.publish.github_calls import GithubRepository, MissingError
from ci.publish.release_files import ReleaseFiles
from ci.publish.transfer import AGAIN, Wait
from ci.release.manifest import PROVENANCE_BUNDLE
from ci.release.statements import read_subjects

PERMISSION = "attestations: write"
SERVER_API = "/api/v3"
"""End of the address of the API of a GitHub Enterprise Server (REST API of Enterprise Server)."""
PAGE = 100

State = Literal["stored", "kept", "absent"]
"""`absent`: GitHub has no store for this repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The bundle to store."""

    bundle: Mapping[str, object]
    subjects: tuple[str, ...]
    """sha256 of each file that the statement names."""


class AttestationStore(GithubRepository):
    """The attestations of one repository."""

    def __init__(self, api: str, repository: str, token: str, *, wait: Wait) -> None:
        """The token needs the permission `attestations: write`."""
        super().__init__(api, repository, token, wait=wait, permission=PERMISSION)

    def exists(self) -> bool:
        """Return whether GitHub stores attestations of this repository.

        Raises:
            RemoteError: GitHub refuses or does not reply.
        """
        if self._api.endswith(SERVER_API):
            return False
        return not self.retry("repository", lambda: self.remote.private)

    def bundles(self, sha256: str) -> list[object]:
        """Return the stored provenance of the file with this digest.

        Raises:
            RemoteError: GitHub refuses, or does not reply as it documents.
        """
        path = f"/attestations/sha256:{sha256}?per_page={PAGE}&predicate_type=provenance"
        try:
            reply = self.read(path)
        except MissingError:  # GitHub's answer for a file without any
            return []
        found = Table(f"attestations of {self.repository}", reply, RemoteError)
        return [each.values.get("bundle") for each in found.tables("attestations")]

    def store(self, provenance: Provenance) -> None:
        """Store the bundle; one request, repeated only if it had no effect.

        Raises:
            RemoteError: GitHub refuses or does not reply.
        """
        self.send(
            "attestation of the provenance",
            "/attestations",
            {"bundle": dict(provenance.bundle)},
            lambda: not missing_subjects(provenance, self.stored(provenance)) or None,
        )

    def stored(self, provenance: Provenance) -> dict[str, list[object]]:
        """Return the stored bundles of each subject."""
        return {sha256: self.bundles(sha256) for sha256 in provenance.subjects}


def read_provenance(release: ReleaseFiles) -> Provenance:
    """Return the provenance among the files of a release.

    Raises:
        PublishError: the release has none, or it names no file.
        VerificationError: it is not a bundle with a statement.
    """
    paths = [file.path for file in release.files if file.name == PROVENANCE_BUNDLE]
    subjects = read_subjects(paths[0]) if paths else ()
    if not subjects:
        raise PublishError(
            f"{PROVENANCE_BUNDLE}: names no file, expected the provenance of the release",
            hint="sign it again with `nox -s sign`",
        )
    return Provenance(bundle=json.loads(paths[0].read_bytes()), subjects=subjects)


def missing_subjects(
    provenance: Provenance, stored: Mapping[str, Sequence[object]]
) -> tuple[str, ...]:
    """Return the subjects for which `stored` lacks the bundle; none: there is nothing to do."""
    wanted = without_defaults(provenance.bundle)
    return tuple(
        sha256
        for sha256 in provenance.subjects
        if wanted not in [without_defaults(each) for each in stored.get(sha256, ())]
    )


def without_defaults(value: object) -> object:
    """Return a bundle without the keys that a writer may leave out.

    A bundle is a protocol buffer, whose JSON need not have keys with the default value (ProtoJSON,
    "Presence and default values"), and GitHub may write it anew.

    >>> without_defaults({"index": "0", "keyid": "", "log": {"hashes": [], "size": "7"}})
    {'log': {'size': '7'}}
    """
    if isinstance(value, Mapping):
        found = {key: without_defaults(inner) for key, inner in value.items()}
        return {key: inner for key, inner in found.items() if inner and inner != "0"}
    return [without_defaults(each) for each in value] if isinstance(value, list) else value


def plan_attestation(store: AttestationStore, release: ReleaseFiles) -> list[tuple[str, str]]:
    """Return what `attest_release` would do: `store` or `keep`, nothing without a store.

    Raises:
        PublishError: the release has no provenance.
        RemoteError: GitHub refuses or does not reply.
    """
    if not store.exists():
        return []
    provenance = read_provenance(release)
    missing = missing_subjects(provenance, store.stored(provenance))
    return [
        (
            "store" if missing else "keep",
            f"attestation of {counted(len(provenance.subjects), 'file')}",
        )
    ]


def attest_release(store: AttestationStore, release: ReleaseFiles, progress: Progress) -> State:
    """Store the provenance of `release` unless it is there, and read it back for every subject.

    Raises:
        PublishError: it is not read back as it was stored.
        RemoteError: GitHub refuses or does not reply; running the command again is safe.
    """
    if not store.exists():
        progress.note(
            f"{store.repository}: GitHub stores attestations of public repositories alone; the "
            f"provenance is the file {PROVENANCE_BUNDLE} of the release"
        )
        return "absent"
    provenance = read_provenance(release)
    if not missing_subjects(provenance, store.stored(provenance)):
        return "kept"
    store.store(provenance)
    if lacking := missing_subjects(provenance, store.stored(provenance)):
        raise PublishError(
            f"{PROVENANCE_BUNDLE}: GitHub's attestation store does not return it for the file "
            f"with sha256 {lacking[0]}",
            hint=AGAIN,
        )
    return "stored"
