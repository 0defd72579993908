"""A web server for browsers on the same computer, with a fixed set of files."""

import errno
import re
import socketserver
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"

# Host headers that name this computer: localhost, a name below it, or a loopback address, with any
# port. The port is that of the browser's side of a tunnel (`ssh -L 9000:localhost:8765`, a
# container's published port), which this server cannot know. DNS rebinding always shows a domain
# name of the attacker, who can have none that ends in `.localhost`: RFC 6761 reserves it.
_LOOPBACK = re.compile(
    r"(([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*localhost|127(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}|\[::1\])(:\d{1,5})?",
    re.ASCII | re.IGNORECASE,
)

# Scripts, styles and models are only loaded from this server, and nothing is inline. Other pages
# may not frame this one, and forms may not be submitted. WebAssembly may be compiled, but `eval` is
# not allowed.
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
_WRONG_HOST = "the Host header is missing or is no loopback name: open the page as localhost"
_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # The next server on this port may have another bundle, so nothing is cached.
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class WebFile:
    """A file that the server sends.

    Attributes:
      content: the bytes.
      content_type: the MIME type.
    """

    content: bytes
    content_type: str


class WebServer:
    """Serves a fixed set of files to browsers on this computer. It must be closed.

    Requested paths are looked up in a dictionary, so that path traversal and directory listings are
    impossible. Requests whose Host header is not a loopback name are refused, against DNS
    rebinding: web sites whose domain name resolves to this computer.
    """

    def __init__(self, files: Mapping[str, WebFile], port: int = 0, host: str = HOST) -> None:
        """Opens the port; `serve_forever` answers requests.

        Args:
          files: the files by absolute URL path, such as '/style.css'. '/' is the start page.
          port: the port, from 0 to 65535; 0 chooses a free one.
          host: the IPv4 address to listen on. In a container it is 0.0.0.0, because connections to
            a published port do not come from the container itself.

        Raises:
          OSError: the port is in use, this user may not open it, or this computer does not have the
            address.
          OverflowError: the port is out of range.
        """
        handler = type("Handler", (_Handler,), {"files": dict(files)})
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"({error.strerror})"
            raise OSError(
                error.errno, f"cannot listen on port {port} of {host}, which {reason}"
            ) from error

    @property
    def port(self) -> int:
        """The port on which the server listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The address of the start page, for browsers on this computer."""
        return f"http://{HOST}:{self.port}/"

    def serve_forever(self) -> None:
        """Answers requests until another thread calls `shutdown`, or an exception is raised."""
        self._server.serve_forever()

    def shutdown(self) -> None:
        """Makes `serve_forever`, which must run in another thread, return."""
        self._server.shutdown()

    def close(self) -> None:
        """Closes the port."""
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    # Browsers keep connections open, which must not keep the process alive.
    daemon_threads = True

    def server_bind(self) -> None:
        """Binds the port without HTTPServer's DNS lookup of the host name, which can be slow."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Reports an error, unless the browser has closed the connection."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    files: Mapping[str, WebFile]
    protocol_version = "HTTP/1.1"
    # Seconds after which an idle connection is closed.
    timeout = 60
    # These apply to requests that are not valid HTTP.
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(message)s\n"

    def do_GET(self) -> None:
        """Sends a file."""
        if not self._has_loopback_host():
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, _text(_WRONG_HOST))
            return
        file = self.files.get(self.path.partition("?")[0])
        if file is None:
            self._answer(HTTPStatus.NOT_FOUND, _text("there is no such file"))
        else:
            self._answer(HTTPStatus.OK, file)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Refuses the request, because the server is read-only."""
        refusal = _text("this server is read-only")
        # The connection is closed, because the unread body would be parsed as the next request.
        allowed = {"Allow": "GET, HEAD", "Connection": "close"}
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, refusal, allowed)

    do_CONNECT = do_DELETE = do_OPTIONS = do_PATCH = do_PUT = do_TRACE = do_POST

    def end_headers(self) -> None:
        """Adds the headers of all responses, including those to invalid requests."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        """Returns the name in the Server header, without versions of Python and of this package."""
        return "task-bundle"

    def log_message(self, format: str, *args: Any) -> None:
        """Writes no log."""

    def _has_loopback_host(self) -> bool:
        hosts = self.headers.get_all("Host", [])
        return len(hosts) == 1 and _LOOPBACK.fullmatch(hosts[0].strip()) is not None

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
