"""Operations of the attestation store (GitHub REST API, 2022-11-28, Repository attestations).

As at GitHub, a bundle is found by each subject of its statement, and a file without any has 404.
The double does not verify signatures: the clients do.
"""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from werkzeug.wrappers import Response

from ci.rehearsal.github.call import Call, not_found
from ci.rehearsal.github.responses import json_response, refusal
from ci.rehearsal.github.state import StoredAttestation, World

SHORT_TYPES = {
    "provenance": "https://slsa.dev/provenance/",
    "sbom": "https://spdx.dev/Document",
    "release": "https://in-toto.io/attestation/release/",
}
"""What the short names of a predicate type stand for: the type begins so."""


def create_attestation(world: World, call: Call) -> Response:
    """Store a bundle; the same one twice is stored twice."""
    if world.settings.private:
        return refusal(403, "Feature not available for user-owned private repositories.")
    bundle = call.value("bundle")
    try:
        found = stored_attestation(world.next_number(), bundle)
    except (KeyError, TypeError, ValueError):
        return refusal(422, "Invalid Argument - bundle without a statement about files")
    world.attestations.append(found)
    return json_response({"id": found.number}, 201)


def stored_attestation(number: int, bundle: Mapping[str, Any]) -> StoredAttestation:
    """Return a bundle as it is stored.

    Raises:
        KeyError, TypeError, ValueError: it has no statement with subjects.
    """
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    digests = {
        f"{algorithm}:{value}"
        for subject in statement["subject"]
        for algorithm, value in subject["digest"].items()
    }
    if not digests or not bundle["verificationMaterial"]:
        raise ValueError("no subject, or nothing to verify it with")
    return StoredAttestation(
        number=number,
        bundle=dict(bundle),
        predicate_type=statement["predicateType"],
        subjects=frozenset(digests),
    )


def list_attestations(world: World, call: Call) -> Response:
    """Respond with the bundles about a file, the newest first."""
    kind = call.request.args.get("predicate_type", "")
    kind = SHORT_TYPES.get(kind, kind)
    found = [
        {"bundle": each.bundle, "repository_id": 1, "initiator": each.initiator}
        for each in reversed(world.attestations)
        if call.parts["subject_digest"] in each.subjects and each.predicate_type.startswith(kind)
    ]
    size = int(call.request.args.get("per_page", "30"))
    return json_response({"attestations": found[:size]}) if found else not_found()


OPERATIONS: Mapping[str, Callable[[World, Call], Response]] = {
    "repos/create-attestation": create_attestation,
    "repos/list-attestations": list_attestations,
}
