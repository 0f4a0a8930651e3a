"""Transparency log: an append-only list of signatures with a signed tree head.

Sources: sigstore's Rekor v2 (rekor-tiles, API and hashedrekord 0.0.2), C2SP tlog-checkpoint
and signed-note, RFC 8785 (canonical JSON of an entry).

On disk: `entries` has one entry per line in base64 and is only appended to; `checkpoint`
has the last signed tree head. At the next start the tree is computed from the entries and
must still have that head, so a log whose files were changed does not start.
"""

import base64
import fcntl
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from sigstore_models.rekor.v2.hashedrekord import HashedRekordRequestV002

from build.edges.files import write_file
from build.errors import ConfigError, VerificationError
from ci.rehearsal.sigstore.merkle import Tree

ORIGIN = "log.rehearsal.invalid"
"""The log's name, no address: the trust root does not depend on the port."""
KIND = "hashedrekord"
VERSION = "0.0.2"
KEY_DETAILS = "PKIX_ECDSA_P256_SHA_256"
FIRST = b'{"apiVersion":"0.0.1","kind":"beginning","spec":{}}'
"""Entry 0 of each log. Without it the first signature would have index 0 and an empty proof.
protobuf's JSON may leave out fields with such default values, and other tools need them."""


def key_id(key: ed25519.Ed25519PublicKey) -> bytes:
    """Return the log's id, 32 bytes; a checkpoint has the first four (C2SP signed-note)."""
    return hashlib.sha256(ORIGIN.encode() + b"\n\x01" + key.public_bytes_raw()).digest()


class TransparencyLog:
    """Entries, their tree, and the key that signs its head; one process at a time."""

    def __init__(self, folder: Path, key: ed25519.Ed25519PrivateKey) -> None:
        """Open the log in `folder`, or create one.

        Raises:
            ConfigError: another process has it open.
            VerificationError: entries were changed or are missing since the last checkpoint.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._key = key
        self._tree = Tree()
        self._checkpoint = folder / "checkpoint"
        self._lock = Lock()
        self._file = (folder / "entries").open("a+b")
        try:
            self._lock_file(folder)
            self._read()
            self._check(folder)
        except BaseException:
            self._file.close()
            raise
        if not self.size:
            self._append(FIRST)

    @property
    def size(self) -> int:
        """Number of entries, FIRST included."""
        return self._tree.size

    def close(self) -> None:
        """Close the files and release the lock."""
        self._file.close()

    def add(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Append the entry that `request` describes and return it with its proof.

        `request` and the result have the form of Rekor v2's `CreateEntryRequest` and
        `TransparencyLogEntry`.

        Raises:
            VerificationError: the request has another form, or its signature is invalid.
        """
        body = entry_body(request)
        with self._lock:
            return self._entry(self._append(body), body)

    def checkpoint(self) -> str:
        """Return the signed head of the tree (C2SP tlog-checkpoint)."""
        root = base64_text(self._tree.root())
        text = f"{ORIGIN}\n{self.size}\n{root}\n"
        signature = key_id(self._key.public_key())[:4] + self._key.sign(text.encode())
        return f"{text}\n\u2014 {ORIGIN} {base64_text(signature)}\n"

    def _entry(self, index: int, body: bytes) -> dict[str, Any]:
        # protobuf's JSON: 64-bit numbers are strings, bytes are base64.
        return {
            "logIndex": str(index),
            "logId": {"keyId": base64_text(key_id(self._key.public_key()))},
            "kindVersion": {"kind": KIND, "version": VERSION},
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": base64_text(self._tree.root()),
                "treeSize": str(self.size),
                "hashes": [base64_text(node) for node in self._tree.inclusion(index, self.size)],
                "checkpoint": {"envelope": self._checkpoint.read_text(encoding="utf-8")},
            },
            "canonicalizedBody": base64_text(body),
        }

    def _append(self, body: bytes) -> int:
        self._file.write(base64.b64encode(body) + b"\n")
        self._file.flush()
        self._tree.add(body)
        write_file(self._checkpoint, self.checkpoint().encode())
        return self.size - 1

    def _lock_file(self, folder: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"{folder}: another process has this log open, expected one at a time",
                hint="end the other rehearsal, or use another folder",
            ) from None

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        # A line without its end has no response yet: the process ended while writing it.
        self._file.truncate(whole)
        for line in content[:whole].split(b"\n")[:-1]:
            self._tree.add(base64.b64decode(line))

    def _check(self, folder: Path) -> None:
        if not self._checkpoint.exists():
            return
        text = self._checkpoint.read_text(encoding="utf-8")
        head, _, note = text.partition("\n\n")
        try:
            signature = base64.b64decode(note.split(" ")[2])
            self._key.public_key().verify(signature[4:], f"{head}\n".encode())
            size, root = int(head.split("\n")[1]), base64.b64decode(head.split("\n")[2])
        except (InvalidSignature, ValueError, IndexError):
            raise VerificationError(f"{self._checkpoint}: not signed by this log's key") from None
        if size > self.size or self._tree.root(size) != root:
            raise VerificationError(
                f"{folder}: its {self.size} entries are not those of its checkpoint of {size}",
                hint="remove the rehearsal's sigstore folder: its files were changed",
            )


def entry_body(request: Mapping[str, Any]) -> bytes:
    """Return the log entry for a request as canonical JSON (RFC 8785).

    Raises:
        VerificationError: the request has another form, or its signature is invalid.
    """
    try:
        text = json.dumps(request["hashedRekordRequestV002"])
        parsed = HashedRekordRequestV002.from_json(text)
        verifier = parsed.signature.verifier
        raw = verifier.x509_certificate.raw_bytes if verifier.x509_certificate else b""
        key = x509.load_der_x509_certificate(raw).public_key()
    except (KeyError, ValueError) as error:
        raise VerificationError(f"log entry: not a hashedrekord request ({error})") from None
    if verifier.key_details != KEY_DETAILS or not isinstance(key, ec.EllipticCurvePublicKey):
        raise VerificationError(f"log entry: key is not {KEY_DETAILS}")
    try:
        key.verify(parsed.signature.content, parsed.digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except (InvalidSignature, ValueError):
        raise VerificationError("log entry: the signature is not valid for the digest") from None
    rekord = {
        "data": {"algorithm": "SHA2_256", "digest": base64_text(parsed.digest)},
        "signature": parsed.signature.to_dict(),
    }
    entry = {"apiVersion": VERSION, "kind": KIND, "spec": {"hashedRekordV002": rekord}}
    # For ASCII without numbers RFC 8785 requires sorted keys and no spaces, nothing else.
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()


def base64_text(content: bytes) -> str:
    """Return bytes as protobuf's JSON has them."""
    return base64.b64encode(content).decode()
