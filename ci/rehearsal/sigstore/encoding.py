"""Encodings that the services share: bytes and canonical JSON."""

import base64
import json


def base64_text(content: bytes) -> str:
    """Return bytes as protobuf's JSON has them."""
    return base64.b64encode(content).decode()


def canonical_json(value: object) -> bytes:
    """Return `value`, of ASCII and integers, as canonical JSON (RFC 8785)."""
    # For such values RFC 8785 requires sorted keys and no spaces, nothing else.
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
