"""A server for this computer's browsers, of files that are all known before it starts."""

import errno
import socketserver
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"

# Scripts, styles and models come from here and nowhere else, nothing is inline, nothing may frame
# the page or be posted by it. WebAssembly is compiled, strings are not.
_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # The next server on this port may have another bundle.
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class WebFile:
    """What the server answers with.

    Attributes:
      content: the bytes.
      content_type: its MIME type.
    """

    content: bytes
    content_type: str


class WebServer:
    """Serves given files to browsers on this computer. It must be closed.

    Requests are looked up in a table, so there is no path to escape by and nothing to list. A web
    site whose name somebody points to this computer (DNS rebinding) is refused by the Host header.
    """

    def __init__(self, files: Mapping[str, WebFile], port: int = 0) -> None:
        """Begins to listen; `serve_forever` answers.

        Args:
          files: by absolute URL path, such as '/style.css'. '/' is the start page.
          port: of 127.0.0.1, from 0 to 65535; 0 is any that is free.

        Raises:
          OSError: the port is taken, or not for this user.
          OverflowError: there is no such port.
        """
        handler = type("Handler", (_Handler,), {"files": dict(files)})
        try:
            self._server = _Server((HOST, port), handler)
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"({error.strerror})"
            raise OSError(
                error.errno, f"cannot listen on port {port} of {HOST}, which {reason}"
            ) from error

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Of the start page."""
        return f"http://{HOST}:{self.port}/"

    def serve_forever(self) -> None:
        """Answers requests until another thread calls `shutdown`, or an exception ends it."""
        self._server.serve_forever()

    def shutdown(self) -> None:
        """Makes `serve_forever` return, which must be running in another thread."""
        self._server.shutdown()

    def close(self) -> None:
        """Stops listening."""
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    # A browser keeps connections open; they must not keep the process alive.
    daemon_threads = True

    def server_bind(self) -> None:
        """Binds without asking the DNS for this computer's name, as HTTPServer would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Reports what went wrong, unless it is a browser that has left."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    files: Mapping[str, WebFile]
    protocol_version = "HTTP/1.1"
    # Seconds that a connection may be silent.
    timeout = 60
    # For requests that are not even HTTP.
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(message)s\n"

    def do_GET(self) -> None:
        """Answers with a file."""
        if not self._is_for_us():
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, _text("wrong or missing Host header"))
            return
        file = self.files.get(self.path.partition("?")[0])
        if file is None:
            self._answer(HTTPStatus.NOT_FOUND, _text("there is no such file"))
        else:
            self._answer(HTTPStatus.OK, file)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Refuses: there is nothing to change here."""
        refusal = _text("this server only gives")
        # Closed, since what else the request carries would be taken for the next one.
        allowed = {"Allow": "GET, HEAD", "Connection": "close"}
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, refusal, allowed)

    do_CONNECT = do_DELETE = do_OPTIONS = do_PATCH = do_PUT = do_TRACE = do_POST

    def end_headers(self) -> None:
        """Adds what every answer has, those to broken requests included."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        """Says no more about the computer than it must."""
        return "task-bundle"

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps the terminal quiet."""

    def _is_for_us(self) -> bool:
        port = self.connection.getsockname()[1]
        return self.headers.get_all("Host") in (
            [[f"{name}:{port}"] for name in (HOST, "localhost")]
            + ([[HOST], ["localhost"]] if port == 80 else [])
        )

    def _answer(
        self, status: HTTPStatus, file: WebFile, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", file.content_type)
        self.send_header("Content-Length", str(len(file.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(file.content)


def _text(line: str) -> WebFile:
    return WebFile(f"{line}\n".encode(), "text/plain; charset=utf-8")
