"""The meter of one download: counts bytes and seconds while they pass, and ends it in time.

The libraries above it bound a single read or line; a server that sends a byte every ten seconds, or
a thousand responses `100 Continue`, keeps them busy without end.
"""

from collections.abc import Callable
from contextvars import ContextVar

from build.edges.download.addresses import Zone, zone_of
from build.edges.download.limits import Limits


class TransientError(Exception):
    """A failure that another try may not meet; `seconds` is the wait that the server asks for."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class ShortError(TransientError):
    """A file that is whole as the server has it, but shorter than it must be."""


class FinalError(Exception):
    """A failure that ends the download."""


class TooLongError(FinalError):
    """More bytes arrived than a file of the expected size can take."""


class Meter:
    """What is left of the limits of one download, for all its tries and redirects."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.limits, self._clock = limits, clock
        self._start = clock()
        self.progress = 0
        """Bytes of the file that have arrived."""
        self.floor = self.zone = Zone.LOOPBACK
        """The narrowest zone that a connection may lead to, and that of the last one."""
        self.secrets: frozenset[str] = frozenset()
        """Credentials that were sent: no message repeats them."""
        self._until = 0.0
        self._wire, self._allowed = 0, 0
        self._mark, self._marked, self._in_body = 0.0, 0, False

    def check_address(self, address: str) -> None:
        """Check that a redirect may lead to `address`, and record its zone.

        Raises:
            FinalError: it is closer to this machine than the server that sent the redirect.
        """
        zone = zone_of(address)
        if zone < self.floor:
            raise FinalError(
                f"redirected to {address}, a {zone.name.lower()} address, "
                f"by a server at a {self.floor.name.lower()} one"
            )
        self.zone = zone

    def begin_headers(self) -> None:
        """Count from now on what belongs to the headers of a response."""
        self._wire, self._allowed = 0, self.limits.header_bytes
        self._until, self._in_body = self._clock() + self.limits.headers, False

    def begin_body(self, size: int) -> None:
        """Count from now on what belongs to a body of at most `size` bytes."""
        self._allowed = self._wire + 2 * size + self.limits.framing
        self._in_body, self._mark, self._marked = True, self._clock(), self._wire

    def seconds_left(self) -> float:
        """Return the seconds of the whole download, not counting what is still to come.

        Raises:
            FinalError: none are left.
        """
        limits = self.limits
        total = limits.patience + self.progress / limits.rate
        left = self._start + total - self._clock()
        if left <= 0:
            raise FinalError(
                f"given up after {total:.3g} s with {self.progress} bytes, "
                f"expected {limits.rate} bytes/s"
            )
        return left

    def wait(self) -> float:
        """Return the seconds that the next read may take.

        Raises:
            FinalError: the time of the download is used up.
            TransientError: that of the headers is, or too little arrived lately.
        """
        left, now = self.seconds_left(), self._clock()
        if not self._in_body:
            if now >= self._until:
                raise TransientError(f"no complete headers in {self.limits.headers:g} s")
            return min(left, self.limits.headers, self._until - now)
        if now - self._mark >= self.limits.silence:
            if self._wire - self._marked < self.limits.least:
                bytes_ = self._wire - self._marked
                raise TransientError(f"{bytes_} bytes in {self.limits.silence:g} s")
            self._mark, self._marked = now, self._wire
        return min(left, self.limits.silence)

    def count(self, size: int) -> None:
        """Count `size` bytes that arrived.

        Raises:
            FinalError: there are more than headers can have.
            TooLongError: there are more than a file of this size can take.
        """
        self._wire += size
        if self._wire > self._allowed:
            if self._in_body:
                raise TooLongError(f"body of more than {self._allowed} bytes")
            raise FinalError(f"headers of more than {self._allowed} bytes")


CURRENT: ContextVar[Meter] = ContextVar("CURRENT")
"""The meter of the download in this thread: the libraries between cannot be given it."""
