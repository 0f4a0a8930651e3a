"""What a server may cost; every limit is a parameter, so that a test takes milliseconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one download, all its tries and redirects together where nothing else is said.

    A server that sends nothing of use costs less than a minute: `patience`. Each byte of the file
    that arrives prolongs that by the time it takes at `rate`, so a large file has its time.
    """

    patience: float = 55.0
    """Seconds in all, and besides one second for each `rate` bytes of the file."""
    rate: int = 16 * 1024
    """Bytes a second."""
    connect: float = 10.0
    """Seconds until a connection is there: all addresses of a host, or one TLS handshake."""
    headers: float = 20.0
    """Seconds from the request until the headers are complete."""
    silence: float = 15.0
    """Seconds without a byte, and the interval in which `least` bytes must arrive."""
    least: int = 15 * 1024
    header_bytes: int = 128 * 1024
    """Bytes of all status lines and headers of one response, informational ones included."""
    framing: int = 64 * 1024
    """Bytes that the chunks and trailers of a body may have in addition to twice its limit."""
    redirects: int = 5
    pauses: tuple[float, ...] = (1.0, 4.0)
    """Seconds before the next tries; one more pause is one more try that brings nothing."""
    tries: int = 12
    """Tries at most, whether they bring something or not."""
    retry_after: float = 30.0
    """Seconds that a server's `Retry-After` is obeyed for."""
