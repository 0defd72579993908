"""Simulated phones, and the real adb client to reach them."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from adb_device import MISSING, AdbDevice, AdbEnvironment, find_adb


@pytest.fixture(scope="session")
def adb() -> Iterator[AdbEnvironment]:
    """Google's adb client with a server of its own."""
    if find_adb() is None:
        pytest.skip(MISSING)
    with AdbEnvironment() as environment:
        yield environment


@pytest.fixture
def make_phone(adb: AdbEnvironment) -> Iterator[Callable[..., AdbDevice]]:
    """Returns a function that makes a phone and connects it; it takes AdbDevice's arguments."""
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
