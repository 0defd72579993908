"""Simulated phones, and the real adb client to reach them."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from adb_device import MISSING, AdbDevice, AdbEnvironment, find_adb
from adb_device.binaries import write_benchmark_model
from android_client import FAST, WebFolder, environment, served
from conv_model import make_stylizer
from interrupts import let_programs_heed_interrupts

from mm_face_stylizer.cli import main
from task_bundle.cache import CACHE_VARIABLE

Command = Callable[..., int]


@pytest.fixture(scope="session")
def adb() -> Iterator[AdbEnvironment]:
    """Google's adb client with a server of its own."""
    if find_adb() is None:
        pytest.skip(MISSING)
    let_programs_heed_interrupts()
    with AdbEnvironment() as environment:
        yield environment


@pytest.fixture
def make_phone(adb: AdbEnvironment) -> Iterator[Callable[..., AdbDevice]]:
    """A function that makes and connects a phone; it takes the arguments of AdbDevice."""
    with contextlib.ExitStack() as phones:

        def make(*, connect: bool = True, **arguments: object) -> AdbDevice:
            phone = phones.enter_context(AdbDevice(**arguments))
            phones.callback(adb.run, "disconnect", phone.address)
            if connect:
                adb.connect(phone.address)
            return phone

        yield make


@pytest.fixture
def phone(make_phone: Callable[..., AdbDevice]) -> AdbDevice:
    """One connected phone."""
    return make_phone()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "identity.tflite"
    path.write_bytes(make_stylizer(32))
    return path


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    return write_benchmark_model(tmp_path / "benchmark_model")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "result.json"


@pytest.fixture
def arguments(model: Path, tool: Path, output: Path) -> list[str]:
    return [str(model), "--benchmark-model", str(tool), "-o", str(output), *FAST]


@pytest.fixture(scope="session")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that all tests share, so that models are validated in another process only once."""
    return tmp_path_factory.mktemp("verdicts")


@pytest.fixture
def command(
    adb: AdbEnvironment, arguments: list[str], verdicts: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    environment(adb.variables, monkeypatch.setenv)
    monkeypatch.setenv(CACHE_VARIABLE, str(verdicts))

    def run(*more: str) -> int:
        return main(["android-benchmark", *arguments, *more])

    return run


@pytest.fixture(name="served")
def _served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebFolder]:
    """An empty folder on a local web server, and a cache for downloads from it."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    folder = tmp_path / "served"
    folder.mkdir()
    with served(folder) as web:
        yield web
