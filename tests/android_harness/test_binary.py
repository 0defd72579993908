import hashlib
import json
from pathlib import Path

import pytest
from adb_device.binaries import write_benchmark_model
from android_client import WebFolder

from android_harness.binary import download_binary, open_binary
from android_harness.errors import AndroidError

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


def test_the_first_download_is_recorded_and_kept(served: WebFolder) -> None:
    published = write_benchmark_model(served.path / NAME)
    binary = download_binary("arm64-v8a", url=served.url)
    assert binary.path.read_bytes() == published.read_bytes()
    record = json.loads((binary.path.parent / "record.json").read_text())
    assert record["sha256"] == binary.sha256 and record["url"] == served.url + NAME
    # A cached program needs no further download.
    published.unlink()
    assert download_binary("arm64-v8a", url=served.url) == binary


def test_a_later_download_must_be_the_same(served: WebFolder) -> None:
    published = write_benchmark_model(served.path / NAME)
    binary = download_binary("arm64-v8a", url=served.url)
    binary.path.unlink()
    changed = published.read_bytes() + b"\n"
    published.write_bytes(changed)
    digest = hashlib.sha256(changed).hexdigest()
    with pytest.raises(AndroidError, match=f"pass --sha256 {digest}"):
        download_binary("arm64-v8a", url=served.url)
    assert not binary.path.exists()
    # It is accepted if its hash is stated.
    assert download_binary("arm64-v8a", digest, served.url).sha256 == digest


def test_a_stated_hash_holds_for_the_first_download_too(served: WebFolder) -> None:
    write_benchmark_model(served.path / NAME)
    with pytest.raises(AndroidError, match="--sha256 requires"):
        download_binary("arm64-v8a", "0" * 64, served.url)


def test_a_damaged_copy_is_noticed(served: WebFolder) -> None:
    write_benchmark_model(served.path / NAME)
    binary = download_binary("arm64-v8a", url=served.url)
    binary.path.write_bytes(binary.path.read_bytes() + b"\n")
    with pytest.raises(AndroidError, match="has changed since it was downloaded"):
        download_binary("arm64-v8a", url=served.url)


def test_what_is_published_must_fit(served: WebFolder) -> None:
    with pytest.raises(AndroidError, match="no benchmark_model for x86_64"):
        download_binary("x86_64", url=served.url)
    with pytest.raises(AndroidError, match="404"):
        download_binary("arm64-v8a", url=served.url)
    write_benchmark_model(served.path / NAME, "x86_64")
    with pytest.raises(AndroidError, match="for x86_64, not arm64-v8a"):
        download_binary("arm64-v8a", url=served.url)
    (served.path / NAME).write_text("<html>Not found</html>")
    with pytest.raises(AndroidError, match="not an ELF file"):
        download_binary("arm64-v8a", url=served.url)
