import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from adb_device.binaries import write_benchmark_model

from android_harness.binary import download_binary, open_binary
from android_harness.errors import AndroidError
from task_bundle.cache import CACHE_VARIABLE


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a web server shows, a cache, and the folder's address in `URL`."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *unused: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setitem(globals(), "URL", f"http://127.0.0.1:{server.server_port}/")
        yield folder
        server.shutdown()


URL = ""
NAME = "android_aarch64_benchmark_model"


@pytest.mark.parametrize("abi", ["arm64-v8a", "armeabi-v7a", "x86_64", "x86"])
def test_a_program_s_header_tells_its_abi(tmp_path: Path, abi: str) -> None:
    path = write_benchmark_model(tmp_path / "benchmark_model", abi)
    binary = open_binary(path)
    assert binary.abi == abi
    assert binary.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_other_files_are_no_programs(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"#!/bin/sh\necho hello\n")
    with pytest.raises(AndroidError, match="not an ELF file"):
        open_binary(path)
    header = bytearray(write_benchmark_model(path).read_bytes())
    header[18] = 2  # SPARC.
    path.write_bytes(header)
    with pytest.raises(AndroidError, match="another processor"):
        open_binary(path)


def test_the_first_download_is_recorded_and_kept(served: Path) -> None:
    published = write_benchmark_model(served / NAME)
    binary = download_binary("arm64-v8a", url=URL)
    assert binary.path.read_bytes() == published.read_bytes()
    record = json.loads((binary.path.parent / "record.json").read_text())
    assert record["sha256"] == binary.sha256 and record["url"] == URL + NAME
    # Once there, nothing is asked of the server any more.
    published.unlink()
    assert download_binary("arm64-v8a", url=URL) == binary


def test_a_later_download_must_be_the_same(served: Path) -> None:
    published = write_benchmark_model(served / NAME)
    binary = download_binary("arm64-v8a", url=URL)
    binary.path.unlink()
    changed = published.read_bytes() + b"\n"
    published.write_bytes(changed)
    digest = hashlib.sha256(changed).hexdigest()
    with pytest.raises(AndroidError, match=f"pass --sha256 {digest}"):
        download_binary("arm64-v8a", url=URL)
    assert not binary.path.exists()
    # Unless its hash is stated.
    assert download_binary("arm64-v8a", digest, URL).sha256 == digest


def test_a_stated_hash_holds_for_the_first_download_too(served: Path) -> None:
    write_benchmark_model(served / NAME)
    with pytest.raises(AndroidError, match="--sha256 asks for"):
        download_binary("arm64-v8a", "0" * 64, URL)


def test_a_damaged_copy_is_noticed(served: Path) -> None:
    write_benchmark_model(served / NAME)
    binary = download_binary("arm64-v8a", url=URL)
    binary.path.write_bytes(binary.path.read_bytes() + b"\n")
    with pytest.raises(AndroidError, match="not what was downloaded"):
        download_binary("arm64-v8a", url=URL)


def test_what_is_published_must_fit(served: Path) -> None:
    with pytest.raises(AndroidError, match="no benchmark_model for x86_64"):
        download_binary("x86_64", url=URL)
    with pytest.raises(AndroidError, match="404"):
        download_binary("arm64-v8a", url=URL)
    write_benchmark_model(served / NAME, "x86_64")
    with pytest.raises(AndroidError, match="for x86_64, not arm64-v8a"):
        download_binary("arm64-v8a", url=URL)
    (served / NAME).write_text("<html>Not found</html>")
    with pytest.raises(AndroidError, match="not an ELF file"):
        download_binary("arm64-v8a", url=URL)
