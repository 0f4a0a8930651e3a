"""TrustedSigner a person trusts: a repository by its name, and for ever by its numbers.

A name like OWNER/REPO can be given up and registered by somebody else; the numeric ids that
GitHub gives to a repository and its owner cannot. The file is written at the first use, from a
certificate that held, and from then on its numbers are demanded.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from build.errors import ConfigError, VerificationError
from ci.config import ISSUER, REPOSITORY, URL

NUMBER = re.compile(r"[0-9]{1,20}")
HEAD = """\
# TrustedSigner `verify` trusts. The numbers stay the same when a repository is renamed, and are not
# those of somebody who registers its name later. Read them, and keep this file.
"""
KEYS = {"repository": REPOSITORY, "repository_id": NUMBER, "owner_id": NUMBER, "issuer": URL}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedSigner:
    """Whose workflow must have signed."""

    repository: str
    """OWNER/REPO."""
    issuer: str = ISSUER
    """Who vouches for the workflow: GitHub's token service."""
    repository_id: str | None = None
    """GitHub's number; None when it is not known yet."""
    owner_id: str | None = None


def read_signer(path: Path) -> TrustedSigner:
    """Return whom the policy file `path` says.

    Raises:
        ConfigError: it cannot be read, or has other keys or values.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no policy file ({error})") from None
    if others := sorted(values.keys() - KEYS):
        raise ConfigError(f"{path}: {others[0]}: no key of a policy file")
    for key, pattern in KEYS.items():
        found = values.get(key)
        if not isinstance(found, str) or not pattern.fullmatch(found):
            raise ConfigError(
                f"{path}: {key} = {found!r}, expected text like {pattern.pattern}",
                hint="remove the file and verify once more with `--repository OWNER/REPO`",
            )
    return TrustedSigner(**values)


def dump_signer(whom: TrustedSigner) -> str:
    """Return the content of the policy file for `whom`, whose numbers are known."""
    return HEAD + "".join(f'{key} = "{getattr(whom, key)}"\n' for key in KEYS)


def write_signer(path: Path, whom: TrustedSigner) -> None:
    """Write the policy file `path`, which must not be there yet.

    Raises:
        VerificationError: the numbers of `whom` are none.
        ConfigError: it is there, or cannot be written.
    """
    for what, number in (("repository", whom.repository_id), ("owner", whom.owner_id)):
        if number is None or not NUMBER.fullmatch(number):
            raise VerificationError(f"certificate: {what} number {number!r}, expected digits")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(dump_signer(whom))
    except OSError as error:
        raise ConfigError(f"--policy {path}: {error.strerror}, not written") from None
