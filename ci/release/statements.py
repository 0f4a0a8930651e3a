"""Statements in the bundles of a release folder, whose signatures are verified elsewhere."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from build.errors import VerificationError

T = TypeVar("T")


def read_predicate(bundle: Path) -> object:
    """Return the predicate of the statement in `bundle`; its signature is not verified.

    Raises:
        VerificationError: it is not a bundle with a statement.
    """
    return _read(bundle, lambda statement: statement["predicate"])


def read_subjects(bundle: Path) -> tuple[str, ...]:
    """Return the sha256 of each file that the statement in `bundle` names, in its order.

    Raises:
        VerificationError: it is not a bundle with a statement about files.
    """

    def subjects(statement: Any) -> tuple[str, ...]:  # noqa: ANN401
        return tuple(str(each["digest"]["sha256"]) for each in statement["subject"])

    return _read(bundle, subjects)


def _read(bundle: Path, choose: Callable[[Any], T]) -> T:
    """Return what `choose` takes from the statement in the DSSE envelope (DSSE, version 1)."""
    try:
        envelope = json.loads(bundle.read_bytes())["dsseEnvelope"]
        return choose(json.loads(base64.b64decode(envelope["payload"])))
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        raise VerificationError(f"{bundle.name}: not a bundle with a statement") from None
