"""Tests of task_bundle.web.server."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from task_bundle.web.server import HOST, WebFile, WebServer

_FILES = {
    "/": WebFile(b"<!doctype html>", "text/html; charset=utf-8"),
    "/a/b.wasm": WebFile(bytes(range(256)) * 4096, "application/wasm"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with closing(WebServer(_FILES)) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def _ask(
    server: WebServer, path: str = "/", method: str = "GET", host: str | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    if host != "":
        connection.putheader("Host", host or f"{HOST}:{server.port}")
    connection.endheaders()
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def _send(server: WebServer, request: bytes) -> bytes:
    """Sends raw bytes, which client libraries would refuse; returns the response."""
    with socket.create_connection((HOST, server.port), timeout=60) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("path", _FILES)
def test_files_come_as_they_are(server: WebServer, path: str) -> None:
    response, content = _ask(server, path)
    assert response.status == 200
    assert content == _FILES[path].content
    assert response.getheader("Content-Type") == _FILES[path].content_type
    assert _ask(server, f"{path}?again")[1] == content


def test_head_is_get_without_content(server: WebServer) -> None:
    response, content = _ask(server, "/a/b.wasm", "HEAD")
    assert response.status == 200 and content == b""
    assert response.getheader("Content-Length") == str(len(_FILES["/a/b.wasm"].content))


@pytest.mark.parametrize(
    "path",
    [
        "/a",
        "/a/",
        "/nothing",
        "/a/../a/b.wasm",
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/a\\..\\b.wasm",
        "/a/b.wasm%00",
        "/etc/passwd",
        "http://[",
        "http://127.0.0.1/etc/passwd",
    ],
)
def test_other_paths_are_not_found(server: WebServer, path: str) -> None:
    response, content = _ask(server, path)
    assert response.status == 404
    assert content == b"there is no such file\n"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "localhost.evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "evil.example@localhost:{port}",
        "localhost:evil",
        "localhost:{port}:{port}",
        "evil.example/.localhost",
        "evillocalhost:{port}",
        ".localhost",
        "127.0.0.256",
        "128.0.0.1:{port}",
        "[::2]",
        "0.0.0.0:{port}",
        "",
    ],
)
def test_hosts_that_are_no_loopback_names_are_refused(server: WebServer, host: str) -> None:
    response, content = _ask(server, host=host.format(port=server.port))
    assert response.status == 421
    assert b"open the page as localhost" in content


@pytest.mark.parametrize(
    "host",
    ["localhost:9000", "LocalHost:9000", "127.0.0.1:1", "127.0.0.1", "localhost", "[::1]:9000"]
    + ["127.1.2.3:8080", "[::1]", "studio.localhost", "my-app.dev.localhost:8765"],
)
def test_tunnels_and_published_ports_may_have_another_port(server: WebServer, host: str) -> None:
    assert _ask(server, host=host)[0].status == 200


def test_a_page_behind_a_forwarded_port_opens(server: WebServer) -> None:
    with socket.create_server((HOST, 0)) as tunnel:

        def forward() -> None:
            with (
                tunnel.accept()[0] as browser,
                socket.create_connection((HOST, server.port), timeout=60) as inner,
            ):
                inner.sendall(browser.recv(65536))
                browser.sendall(inner.recv(65536))

        thread = threading.Thread(target=forward)
        thread.start()
        connection = http.client.HTTPConnection("localhost", tunnel.getsockname()[1], timeout=60)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        thread.join()


def test_two_hosts_are_refused(server: WebServer) -> None:
    host = f"Host: {HOST}:{server.port}\r\n"
    answer = _send(server, f"GET / HTTP/1.1\r\n{host}Host: evil.example\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 421 ")


def test_localhost_is_this_computer(server: WebServer) -> None:
    assert _ask(server, host=f"localhost:{server.port}")[0].status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_methods_that_change_files_are_refused(server: WebServer, method: str) -> None:
    response, _ = _ask(server, "/", method)
    assert response.status == 405
    assert response.getheader("Allow") == "GET, HEAD"


def test_what_comes_with_a_refused_request_is_not_another_request(server: WebServer) -> None:
    inner = f"GET / HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n\r\n".encode()
    head = f"POST / HTTP/1.1\r\nContent-Length: {len(inner)}\r\n\r\n".encode()
    assert _send(server, head + inner).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("line", ["nonsense", "GET / HTTP/9.9", "BREW / HTTP/1.1", "GET /"])
def test_malformed_requests_are_answered(server: WebServer, line: str, capfd) -> None:
    answer = _send(server, f"{line}\r\n\r\n".encode())
    assert answer and _FILES["/"].content not in answer
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("path", ["/", "/nothing"])
def test_every_answer_binds_the_browser(server: WebServer, path: str) -> None:
    response, _ = _ask(server, path)
    policy = str(response.getheader("Content-Security-Policy")).split("; ")
    assert "default-src 'none'" in policy
    assert "script-src 'self' 'wasm-unsafe-eval'" in policy
    assert not [rule for rule in policy if "unsafe-inline" in rule or "http" in rule]
    assert response.getheader("X-Content-Type-Options") == "nosniff"
    assert response.getheader("Cross-Origin-Resource-Policy") == "same-origin"
    assert response.getheader("Referrer-Policy") == "no-referrer"
    # No Access-Control header allows other sites to read.
    assert not [name for name in response.headers if name.startswith("Access-Control")]
    # The headers have no information about the computer.
    assert response.getheader("Server") == "task-bundle"


def test_a_browser_that_leaves_is_nothing_to_report(server: WebServer, capfd) -> None:
    with socket.create_connection((HOST, server.port), timeout=60) as connection:
        # The client closes the connection in the middle of the response.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(f"GET /a/b.wasm HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n\r\n".encode())
    assert _ask(server)[0].status == 200
    assert capfd.readouterr() == ("", "")


def test_it_listens_on_this_computer_alone(server: WebServer) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}/"
    # All addresses in 127/8 are this computer; a server on all interfaces would answer here, too.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), timeout=60)


def test_a_container_s_server_listens_on_all_addresses() -> None:
    with closing(WebServer(_FILES, host="0.0.0.0")) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        # In place of the address at which a container's published port arrives.
        connection = http.client.HTTPConnection("127.0.0.2", made.port, timeout=60)
        for host, status in (("localhost:9000", 200), (f"127.0.0.2:{made.port}", 200)):
            connection.request("GET", "/", headers={"Host": host})
            response = connection.getresponse()
            response.read()
            assert response.status == status
        connection.request("GET", "/", headers={"Host": f"neighbor.example:{made.port}"})
        assert connection.getresponse().status == 421
        connection.close()
        made.shutdown()
        thread.join()
        assert made.url == f"http://127.0.0.1:{made.port}/"


def test_an_address_of_another_computer_is_told() -> None:
    with pytest.raises(OSError, match=r"of 192\.0\.2\.1, which .Cannot assign"):
        WebServer(_FILES, host="192.0.2.1")


def test_a_taken_port_is_named(server: WebServer) -> None:
    with pytest.raises(OSError, match=f"port {server.port} of 127.0.0.1, which is in use"):
        WebServer(_FILES, server.port)


def test_a_closed_server_frees_its_port() -> None:
    with closing(WebServer(_FILES)) as first:
        port = first.port
    with closing(WebServer(_FILES, port)) as second:
        assert second.port == port
