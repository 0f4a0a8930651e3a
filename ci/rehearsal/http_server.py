"""HTTP server of the doubles: a WSGI application on a free port of 127.0.0.1."""

import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

# SO_LINGER with a timeout of 0 makes close() send RST in place of FIN (socket(7), tcp(7)).
LINGER_RESET = struct.pack("ii", 1, 0)


class Server(ThreadedWSGIServer):
    """Server of one application; the port is bound when the object is made."""

    def __init__(
        self,
        application: "WSGIApplication",
        on_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        super().__init__("127.0.0.1", 0, application, Handler, passthrough_errors=True)
        self._on_error = on_error

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that closed its connection; report any other exception."""
        error = sys.exception()
        if isinstance(error, OSError):
            return
        if self._on_error and error:
            self._on_error(error)
        else:
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(WSGIRequestHandler):
    """Connection handler without a log; ConnectionResetError in the application resets."""

    # Headers and body go out in one packet. Two small ones would wait for each other: Nagle's
    # algorithm (RFC 896) holds the second until the client's delayed acknowledgement arrives.
    wbufsize = -1
    timeout = 60

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 (Werkzeug's name)
        """Log nothing."""

    def connection_dropped(
        self, error: BaseException, environ: "WSGIEnvironment | None" = None
    ) -> None:
        """Reset the connection: the client sees ECONNRESET, not the end of a response."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        os.close(self.connection.detach())


@contextmanager
def serve(
    application: "WSGIApplication", on_error: Callable[[BaseException], None] | None = None
) -> Iterator[str]:
    """Serve `application` in a thread while the context is open and yield the URL.

    `on_error` gets each exception that the application did not handle.
    """
    server = Server(application, on_error)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
