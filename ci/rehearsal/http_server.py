"""HTTP server of the doubles: a WSGI application on a free port of 127.0.0.1."""

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

# SO_LINGER with a timeout of 0 makes close() send RST in place of FIN (socket(7), tcp(7)).
LINGER_RESET = struct.pack("ii", 1, 0)


class Handler(WSGIRequestHandler):
    """Connection handler without a log; ConnectionResetError in the application resets."""

    # Headers and body go out in one packet. Two small ones would wait for each other: Nagle's
    # algorithm (RFC 896) delays the second until the client's delayed acknowledgement arrives.
    wbufsize = -1
    timeout = 60

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 (Werkzeug's name)
        """Log nothing."""

    def handle_expect_100(self) -> bool:
        """Ask for the body at once: botocore waits a second for that answer."""
        self.send_response_only(100)
        self.end_headers()
        self.wfile.flush()
        # Werkzeug would answer it once more.
        del self.headers["Expect"]
        return True

    def connection_dropped(
        self, error: BaseException, environ: "WSGIEnvironment | None" = None
    ) -> None:
        """Reset the connection: the client sees ECONNRESET, not the end of a response."""
        self.close_connection = True
        if self.connection.fileno() >= 0:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            os.close(self.connection.detach())


@contextmanager
def serve(application: "WSGIApplication") -> Iterator[str]:
    """Serve `application` in a thread while the context is open and yield the URL."""
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
