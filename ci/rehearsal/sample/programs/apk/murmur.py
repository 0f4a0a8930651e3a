"""MurmurHash3 (32 bit, Austin Appleby, public domain): apk walks its names in this order.

Where several packages wait for one name, real apk takes them in the order of its hash table.
The order of installation decides which user gets which number, so it must be the same.
"""

BUCKETS = 20_000
SEED = 5381
_WORD = 0xFFFFFFFF


def _rotate(value: int, count: int) -> int:
    return ((value << count) | (value >> (32 - count))) & _WORD


def _mix(block: int) -> int:
    return _rotate(block * 0xCC9E2D51 & _WORD, 15) * 0x1B873593 & _WORD


def murmur3(content: bytes, seed: int = SEED) -> int:
    """Return the hash of `content`, 32 bits.

    >>> hex(murmur3(b"hello", 0))
    '0x248bfa47'
    """
    whole = len(content) & ~3
    value = seed
    for start in range(0, whole, 4):
        value ^= _mix(int.from_bytes(content[start : start + 4], "little"))
        value = (_rotate(value, 13) * 5 + 0xE6546B64) & _WORD
    if rest := content[whole:]:
        value ^= _mix(int.from_bytes(rest, "little"))
    value ^= len(content)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        value = (value ^ (value >> shift)) * factor & _WORD
    return value


def bucket(name: str) -> int:
    """Return where apk's table keeps `name`; within one bucket the newest name stands first."""
    return murmur3(name.encode("utf-8", "surrogateescape")) % BUCKETS
