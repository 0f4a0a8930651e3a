"""The log is append-only: it keeps its entries at every start, or does not start."""

import base64
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from build.errors import ConfigError, VerificationError
from ci.rehearsal.sigstore.log import FIRST, TransparencyLog
from ci.rehearsal.sigstore.merkle import Tree, hash_leaf, hash_node
from ci.rehearsal.sigstore.note import LogKey

KEY = LogKey(key=ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)), host="log.invalid")


def root_by_definition(contents: list[bytes]) -> bytes:
    """Return the Merkle tree hash by its definition (RFC 6962, section 2.1)."""
    if not contents:
        return hashlib.sha256(b"").digest()
    if len(contents) == 1:
        return hash_leaf(contents[0])
    split = 1
    while split * 2 < len(contents):
        split *= 2
    return hash_node(root_by_definition(contents[:split]), root_by_definition(contents[split:]))


def root_by_path(content: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Return the root that results from an inclusion proof (RFC 9162, section 2.1.3.2)."""
    position, last, node = index, size - 1, hash_leaf(content)
    for step in path:
        if position % 2 or position == last:
            node = hash_node(step, node)
            while not position % 2 and position:
                position, last = position >> 1, last >> 1
        else:
            node = hash_node(node, step)
        position, last = position >> 1, last >> 1
    assert last == 0
    return node


def test_every_inclusion_proof_is_valid_for_all_sizes_up_to_40() -> None:
    contents = [str(number).encode() for number in range(40)]
    tree = Tree()
    for content in contents:
        tree.add(content)
    for size in range(1, 41):
        assert tree.root(size) == root_by_definition(contents[:size])
        for index in range(size):
            path = tree.inclusion(index, size)
            assert root_by_path(contents[index], index, size, path) == tree.root(size)


def test_a_restart_has_the_same_tree_and_checkpoint(tmp_path: Path) -> None:
    first = TransparencyLog(tmp_path, KEY)
    first.close()
    again = TransparencyLog(tmp_path, KEY)
    again.close()
    assert (again.size, again.checkpoint()) == (1, first.checkpoint())
    assert again.checkpoint() == (tmp_path / "checkpoint").read_text()


def test_an_entry_cut_off_by_a_crash_is_dropped(tmp_path: Path) -> None:
    log = TransparencyLog(tmp_path, KEY)
    log.close()
    with (tmp_path / "entries").open("ab") as file:
        file.write(b"eyJhcGk")
    again = TransparencyLog(tmp_path, KEY)
    again.close()
    assert again.checkpoint() == log.checkpoint()
    assert (tmp_path / "entries").read_bytes().endswith(b"\n")


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param(b"", id="entries removed"),
        pytest.param(base64.b64encode(FIRST + b" ") + b"\n", id="entry changed"),
    ],
)
def test_a_log_with_changed_files_does_not_start(tmp_path: Path, entries: bytes) -> None:
    TransparencyLog(tmp_path, KEY).close()
    (tmp_path / "entries").write_bytes(entries)
    with pytest.raises(VerificationError, match="not those of its checkpoint of 1"):
        TransparencyLog(tmp_path, KEY)


def test_a_checkpoint_of_another_key_does_not_start(tmp_path: Path) -> None:
    TransparencyLog(tmp_path, KEY).close()
    with pytest.raises(VerificationError, match="not signed by this log's key"):
        TransparencyLog(tmp_path, replace(KEY, key=ed25519.Ed25519PrivateKey.generate()))


def test_two_processes_cannot_open_one_log(tmp_path: Path) -> None:
    log = TransparencyLog(tmp_path, KEY)
    with pytest.raises(ConfigError, match="another process has this log open"):
        TransparencyLog(tmp_path, KEY)
    log.close()
    TransparencyLog(tmp_path, KEY).close()
