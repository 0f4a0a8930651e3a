"""Predicates of the bundles in a release folder, whose signatures are verified elsewhere."""

import base64
import json
from pathlib import Path

from build.errors import VerificationError


def read_predicate(bundle: Path) -> object:
    """Return the predicate of the statement in `bundle`, from its DSSE envelope (DSSE, version 1).

    The signature is not verified.

    Raises:
        VerificationError: it is not a bundle with a statement.
    """
    try:
        envelope = json.loads(bundle.read_bytes())["dsseEnvelope"]
        return json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        raise VerificationError(f"{bundle.name}: not a bundle with a statement") from None
