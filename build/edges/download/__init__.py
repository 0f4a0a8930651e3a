"""The one way to fetch files over http(s), for pin, verify, the read-back of publish, and trust.

A server is not trusted: what it can cost in time, bytes and memory is bounded by `limits`, where it
can lead by `addresses` and `redirects`. `downloader` tries and resumes; `meter` counts while
bytes arrive; `session` puts the meter between the libraries and the socket; `partial` holds what
has arrived; `netrc` finds credentials. Proxies and CA bundles come from the usual environment
variables, which `requests` reads.
"""

from build.edges.download.addresses import is_loopback
from build.edges.download.downloader import (
    CONNECTIONS,
    Downloader,
    RefusedError,
    Request,
    SizeError,
    VanishedError,
)
from build.edges.download.limits import Limits
from build.edges.download.netrc import Auth, bearer
from build.edges.download.partial import Received, Watch
from build.edges.download.responses import retry_after

__all__ = [
    "CONNECTIONS",
    "Auth",
    "Downloader",
    "Limits",
    "Received",
    "RefusedError",
    "Request",
    "SizeError",
    "VanishedError",
    "Watch",
    "bearer",
    "is_loopback",
    "retry_after",
]
