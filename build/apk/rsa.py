"""RSA in plain Python: keys derived from a seed, and signatures with them (RFC 8017).

Only for keys that authenticate nothing by themselves: those of the local packages and of the
sample distribution, both derived from a public seed. Slow, and not protected against timing
attacks.
"""

import base64
import hashlib
import math
from collections.abc import Iterator

EXPONENT = 65537
ROUNDS = 16
"""Of Miller-Rabin: a composite of 1024 random bits passes with less than 2^-80."""
SMALL_PRIMES = [n for n in range(3, 2000, 2) if all(n % d for d in range(3, int(n**0.5) + 1, 2))]
SHA1_PREFIX = bytes.fromhex("3021300906052b0e03021a05000414")
"""DER of DigestInfo for SHA-1, all but the digest (RFC 8017, section 9.2, note 1)."""
RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")
"""DER of the algorithm of an RSA key (RFC 3279, section 2.3.1)."""


PrivateKey = tuple[int, int]
"""The two primes of a key, from which everything else is computed."""


def derive_private_key(seed: bytes, bits: int) -> PrivateKey:
    """Return the primes of a key of `bits` bits; the same seed gives the same key."""
    stream = _numbers(seed, bits // 2)
    p = _prime(stream, bits // 2)
    q = _prime(stream, bits // 2)
    while q == p:
        q = _prime(stream, bits // 2)
    return max(p, q), min(p, q)


def sign_sha1(key: PrivateKey, content: bytes) -> bytes:
    """Return the signature of `content`: RSASSA-PKCS1-v1_5 with SHA-1, as apk's `.SIGN.RSA.`."""
    size = (math.prod(key).bit_length() + 7) // 8
    digest = SHA1_PREFIX + hashlib.sha1(content, usedforsecurity=False).digest()
    # EMSA-PKCS1-v1_5 (RFC 8017, section 9.2).
    padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    return _private(key, int.from_bytes(padded, "big")).to_bytes(size, "big")


def public_pem(key: PrivateKey) -> bytes:
    """Return the public key as PEM of a SubjectPublicKeyInfo (RFC 5280, section 4.1)."""
    numbers = _der(0x30, _der_integer(math.prod(key)) + _der_integer(EXPONENT))
    info = _der(0x30, RSA_ENCRYPTION + _der(0x03, b"\0" + numbers))
    text = base64.b64encode(info).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(
        ["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""]
    ).encode()


def _numbers(seed: bytes, bits: int) -> Iterator[int]:
    """Yield numbers of `bits` bits without end: SHA-256 of seed and counter, concatenated."""
    count, blocks = 0, -(-bits // 256)
    while True:
        parts = []
        for _ in range(blocks):
            block = b"snowdrop key %d " % bits + count.to_bytes(8, "big") + seed
            parts.append(hashlib.sha256(block).digest())
            count += 1
        yield int.from_bytes(b"".join(parts), "big") >> (256 * blocks - bits)


def _prime(stream: Iterator[int], bits: int) -> int:
    # The two highest bits set: the product of two such primes has exactly twice the bits.
    for number in stream:
        candidate = number | (0b11 << (bits - 2)) | 1
        if (candidate - 1) % EXPONENT and _is_prime(candidate):
            return candidate
    raise AssertionError("the stream of numbers has no end")


def _is_prime(number: int) -> bool:
    """Test with Miller-Rabin and the first primes as bases.

    Fixed bases are only sound for numbers that no attacker chose, such as these.
    """
    if any(number % prime == 0 for prime in SMALL_PRIMES):
        return number in SMALL_PRIMES
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(number, base, odd, twos) for base in (2, *SMALL_PRIMES[: ROUNDS - 1]))


def _passes(number: int, base: int, odd: int, twos: int) -> bool:
    value = pow(base, odd, number)
    if value in (1, number - 1):
        return True
    for _ in range(twos - 1):
        value = value * value % number
        if value == number - 1:
            return True
    return False


def _private(key: PrivateKey, value: int) -> int:
    """Raise to the private exponent with the Chinese remainder theorem (RFC 8017, 5.1.2)."""
    p, q = key
    of_p = pow(value % p, pow(EXPONENT, -1, p - 1), p)
    of_q = pow(value % q, pow(EXPONENT, -1, q - 1), q)
    return of_q + q * ((of_p - of_q) * pow(q, -1, p) % p)


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def _der_integer(number: int) -> bytes:
    # One bit more than needed: DER integers are signed (X.690, section 8.3).
    return _der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))
