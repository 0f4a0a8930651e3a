"""Append-only Merkle tree with inclusion proofs (RFC 6962, section 2.1)."""

import hashlib


def hash_leaf(content: bytes) -> bytes:
    """Return the hash of one entry."""
    # The prefixes 0 and 1 keep a leaf from having the hash of a node (RFC 6962, section 2.1).
    return hashlib.sha256(b"\0" + content).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node over two others."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """Hashes of all entries; those of full subtrees are kept, so that a proof is cheap."""

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = [[]]
        # _levels[h][i] is the hash of the 2**h leaves from i * 2**h on.

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self._levels[0])

    def add(self, content: bytes) -> None:
        """Append one entry."""
        node, height = hash_leaf(content), 0
        while True:
            if height == len(self._levels):
                self._levels.append([])
            level = self._levels[height]
            level.append(node)
            if len(level) % 2:
                return
            node, height = hash_node(level[-2], level[-1]), height + 1

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first `size` entries, by default over all."""
        return self._hash(0, self.size if size is None else size)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the path from entry `index` to the root over `size` entries, leaf to root."""
        return self._path(index, 0, size)

    def _hash(self, start: int, end: int) -> bytes:
        count = end - start
        if count == 0:
            return hashlib.sha256(b"").digest()
        height = count.bit_length() - 1
        if count == 1 << height and start % count == 0:
            return self._levels[height][start >> height]
        middle = start + _split(count)
        return hash_node(self._hash(start, middle), self._hash(middle, end))

    def _path(self, index: int, start: int, end: int) -> list[bytes]:
        if end - start == 1:
            return []
        middle = start + _split(end - start)
        if index < middle:
            return [*self._path(index, start, middle), self._hash(middle, end)]
        return [*self._path(index, middle, end), self._hash(start, middle)]


def _split(count: int) -> int:
    """Return the greatest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)
