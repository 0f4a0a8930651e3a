"""Files for clients: trusted keys (trusted_root.json), addresses (signing_config.json).

Formats: sigstore's protobuf-specs, TrustedRoot and SigningConfig, as JSON.
The trust root contains no port: it is the same at every start.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from build.edges.files import write_file
from ci.rehearsal.sigstore import rekor_v1, rekor_v2
from ci.rehearsal.sigstore.encoding import base64_text
from ci.rehearsal.sigstore.keys import ORGANIZATION, Keys, spki
from ci.rehearsal.sigstore.note import ECDSA

TRUSTED_ROOT = "trusted_root.json"
SIGNING_CONFIG = "signing_config.json"
MEDIA_TYPE = "application/vnd.dev.sigstore."


def trusted_root(keys: Keys) -> dict[str, Any]:
    """Return the trust root of the instance with `keys`."""
    ct_key = spki(keys.certificate_transparency.public_key())
    ct_id = hashlib.sha256(ct_key).digest()  # RFC 6962, section 3.2
    since = {"start": _time(keys.start)}
    return {
        "mediaType": MEDIA_TYPE + "trustedroot+json;version=0.1",
        "tlogs": [
            _log(key.host, key.details, key.public, key.identity, since)
            for key in (rekor_v2.log_key(keys), rekor_v1.log_key(keys))
        ],
        "ctlogs": [_log("ct.rehearsal.invalid", ECDSA, ct_key, ct_id, since)],
        "certificateAuthorities": [_authority("authority", keys.authority_chain, since)],
        "timestampAuthorities": [_authority("timestamp", keys.timestamp_chain, since)],
    }


def signing_config(keys: Keys, address: str, *, rekor: int) -> dict[str, Any]:
    """Return the addresses for signing while the instance serves at `address`.

    `rekor`: the version of the log. Only one is named: of two versions of one operator, clients
    take the higher.
    """

    def service(url: str, version: int) -> dict[str, Any]:
        since = {"start": _time(keys.start)}
        common = {"validFor": since, "operator": ORGANIZATION}
        return {"url": url, "majorApiVersion": version, **common}

    return {
        "mediaType": MEDIA_TYPE + "signingconfig.v0.2+json",
        "caUrls": [service(address, 1)],
        "rekorTlogUrls": [service(address, rekor)],
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": [service(f"{address}/api/v1/timestamp", 1)],
        "tsaConfig": {"selector": "ANY"},
    }


def write_trust(folder: Path, keys: Keys, address: str, *, rekor: int) -> None:
    """Write the trust root, and the signing config with the log of version `rekor`."""
    root, config = trusted_root(keys), signing_config(keys, address, rekor=rekor)
    for name, value in ((TRUSTED_ROOT, root), (SIGNING_CONFIG, config)):
        text = json.dumps(value, indent=2, sort_keys=True) + "\n"
        write_file(folder / name, text.encode())


def _log(
    host: str, details: str, key: bytes, identity: bytes, since: dict[str, str]
) -> dict[str, Any]:
    # protobuf's JSON: bytes are base64, field names are in lowerCamelCase.
    return {
        "baseUrl": f"https://{host}",
        "hashAlgorithm": "SHA2_256",
        "publicKey": {"rawBytes": base64_text(key), "keyDetails": details, "validFor": since},
        "logId": {"keyId": base64_text(identity)},
    }


def _authority(
    name: str, chain: Sequence[x509.Certificate], since: dict[str, str]
) -> dict[str, Any]:
    certificates = (item.public_bytes(serialization.Encoding.DER) for item in chain)
    return {
        "subject": {"organization": ORGANIZATION, "commonName": name},
        "uri": f"https://{name}.rehearsal.invalid",
        "certChain": {"certificates": [{"rawBytes": base64_text(raw)} for raw in certificates]},
        "validFor": since,
    }


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
