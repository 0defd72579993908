"""The simulated phone's messages, byte by byte, for what current adb clients do not use."""

import socket
import struct
from collections.abc import Iterator

import pytest
from adb_device import AdbDevice, wire
from waiting import wait_for

TMP = "/data/local/tmp"


class Host:
    """A host that sends the messages of a test."""

    def __init__(self, phone: AdbDevice, *, greet: bool = True) -> None:
        address, port = phone.address.split(":")
        self.socket = socket.create_connection((address, int(port)), timeout=20)
        if greet:
            self.send(wire.CNXN, wire.VERSION, 4096, b"host::features=shell_v2")
            self.banner = self.receive()

    def send(self, command: int, arg0: int = 0, arg1: int = 0, payload: bytes = b"") -> None:
        self.socket.sendall(wire.Message(command, arg0, arg1, payload).pack())

    def receive(self) -> wire.Message:
        return wire.receive(self.socket)

    def open(self, destination: str, local: int = 7) -> int:
        """Opens a stream, and returns the phone's number of it."""
        self.send(wire.OPEN, local, 0, destination.encode() + b"\0")
        answer = self.receive()
        assert (answer.command, answer.arg1) == (wire.OKAY, local)
        return answer.arg0

    def is_silent(self, seconds: float = 0.3) -> bool:
        """Returns whether no message arrives for a while."""
        self.socket.settimeout(seconds)
        try:
            return self.receive() is None
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(20)


class SyncHost(Host):
    """A host that has opened the file service."""

    def __init__(self, phone: AdbDevice) -> None:
        super().__init__(phone)
        self.remote = self.open("sync:")
        self.buffer = b""

    def write(self, data: bytes) -> None:
        self.send(wire.WRTE, 7, self.remote, data)

    def request(self, kind: bytes, path: str, setup: bytes = b"") -> None:
        name = path.encode()
        self.write(kind + struct.pack("<I", len(name)) + name + setup)

    def read(self, size: int) -> bytes:
        while len(self.buffer) < size:
            message = self.receive()
            if message.command == wire.WRTE:
                self.buffer += message.payload
                self.send(wire.OKAY, 7, self.remote)
            elif message.command == wire.CLSE:
                raise EOFError
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data


@pytest.fixture
def lone_phone() -> Iterator[AdbDevice]:
    """A phone without an adb client, which these tests do not need."""
    with AdbDevice(features=("shell_v2", "sendrecv_v2")) as phone:
        yield phone


def test_the_greeting(lone_phone: AdbDevice) -> None:
    banner = Host(lone_phone).banner
    assert (banner.command, banner.arg0) == (wire.CNXN, wire.VERSION)
    assert banner.payload == (
        b"device::ro.product.name=oriole;ro.product.model=Pixel 6;ro.product.device=oriole;"
        b"features=shell_v2,sendrecv_v2"
    )


def test_nothing_is_opened_before_the_greeting(lone_phone: AdbDevice) -> None:
    host = Host(lone_phone, greet=False)
    host.send(wire.OPEN, 7, 0, b"shell:echo too early\0")
    assert host.is_silent()


@pytest.mark.parametrize("spoil", ["magic", "length"])
def test_a_damaged_message_ends_the_connection(lone_phone: AdbDevice, spoil: str) -> None:
    host = Host(lone_phone)
    magic = wire.OKAY if spoil == "magic" else wire.OKAY ^ 0xFFFFFFFF
    length = 0 if spoil == "magic" else wire.MAX_PAYLOAD + 1
    host.socket.sendall(struct.pack("<6I", wire.OKAY, 1, 1, length, 0, magic))
    with pytest.raises((EOFError, ConnectionResetError)):
        host.receive()


def test_what_the_phone_does_not_offer_is_closed(lone_phone: AdbDevice) -> None:
    host = Host(lone_phone)
    host.send(wire.OPEN, 7, 0, b"framebuffer:\0")
    answer = host.receive()
    assert (answer.command, answer.arg0, answer.arg1) == (wire.CLSE, 0, 7)


def test_one_write_is_in_flight_at_a_time(lone_phone: AdbDevice) -> None:
    host = Host(lone_phone)
    remote = host.open("exec:head -c 10000 /dev/zero")
    sizes = []
    while (message := host.receive()).command == wire.WRTE:
        assert (message.arg0, message.arg1) == (remote, 7)
        assert host.is_silent()
        sizes.append(len(message.payload))
        host.send(wire.OKAY, 7, remote)
    assert message.command == wire.CLSE
    # Messages have at most as many bytes as the host accepts.
    assert sum(sizes) == 10_000 and max(sizes) == 4096


def test_the_phone_takes_the_next_write_when_it_has_read_the_last(lone_phone: AdbDevice) -> None:
    host = Host(lone_phone)
    remote = host.open("exec:sleep 1000")
    host.send(wire.WRTE, 7, remote, bytes(4096))
    assert host.receive().command == wire.OKAY
    # More data than fits into the pipe to a command that reads nothing.
    for _ in range(100):
        host.send(wire.WRTE, 7, remote, bytes(4096))
        if host.is_silent(2.0):
            break
    else:
        pytest.fail("the phone took 400 kB that nobody has read")


def test_streams_are_apart_and_closed_ones_are_ignored(lone_phone: AdbDevice) -> None:
    host = Host(lone_phone)
    first, second = host.open("exec:cat", local=7), host.open("exec:cat", local=8)
    assert first != second
    host.send(wire.CLSE, 7, first)
    host.send(wire.WRTE, 7, first, b"into the void")
    host.send(wire.WRTE, 8, second, b"hello")
    received = [host.receive() for _ in range(2)]
    assert all(message.arg1 == 8 for message in received)
    assert {message.payload for message in received} == {b"", b"hello"}


def test_shell_packets(lone_phone: AdbDevice) -> None:
    host = Host(lone_phone)
    remote = host.open("shell,v2,raw:cat; echo err >&2; exit 9")
    host.send(wire.WRTE, 7, remote, struct.pack("<BI", 0, 3) + b"abc" + struct.pack("<BI", 4, 0))
    data = b""
    while (message := host.receive()).command != wire.CLSE:
        if message.command == wire.WRTE:
            data += message.payload
            host.send(wire.OKAY, 7, remote)
    packets = {}
    while data:
        kind, size = struct.unpack_from("<BI", data)
        packets[kind] = packets.get(kind, b"") + data[5 : 5 + size]
        data = data[5 + size :]
    assert packets == {1: b"abc", 2: b"err\n", 3: b"\x09"}


def test_newer_hosts_send_and_receive_files_another_way(lone_phone: AdbDevice) -> None:
    host = SyncHost(lone_phone)
    setup = b"SND2" + struct.pack("<II", 0o100644, 0)
    data = b"DATA" + struct.pack("<I", 5) + b"hello" + b"DONE" + struct.pack("<I", 1_600_000_000)
    host.request(b"SND2", f"{TMP}/file", setup)
    host.write(data)
    assert host.read(8) == b"OKAY" + bytes(4)
    on_disk = lone_phone.disk.host_path(f"{TMP}/file")
    assert (on_disk.read_bytes(), on_disk.stat().st_mtime) == (b"hello", 1_600_000_000)
    host.request(b"RCV2", f"{TMP}/file", b"RCV2" + bytes(4))
    assert host.read(21) == b"DATA" + struct.pack("<I", 5) + b"hello" + b"DONE" + bytes(4)


def test_what_was_not_agreed_on_is_refused(lone_phone: AdbDevice) -> None:
    for kind, setup, reason in (
        (b"SND2", b"SND2" + struct.pack("<II", 0o100644, 1), b"unknown flags: 1"),
        (b"SEND", b"", b"missing , in ID_SEND_V1"),
        (b"NONE", b"", b"unknown command 454e4f4e"),
    ):
        host = SyncHost(lone_phone)
        host.request(kind, f"{TMP}/file", setup)
        assert host.read(8 + len(reason)) == b"FAIL" + struct.pack("<I", len(reason)) + reason


def test_links_are_pushed_as_links(lone_phone: AdbDevice) -> None:
    lone_phone.disk.host_path(f"{TMP}/file").write_bytes(b"hello")
    for target in (f"{TMP}/file", "file"):
        host = SyncHost(lone_phone)
        host.request(b"SEND", f"{TMP}/link,{0o120777}")
        name = target.encode() + b"\0"
        host.write(b"DATA" + struct.pack("<I", len(name)) + name + b"DONE" + bytes(4))
        assert host.read(8) == b"OKAY" + bytes(4)
        host.request(b"STAT", f"{TMP}/link")
        kind, mode = struct.unpack("<4sI", host.read(16)[:8])
        assert (kind, mode >> 12) == (b"STAT", 0o12)
        host.request(b"RECV", f"{TMP}/link")
        assert host.read(13) == b"DATA" + struct.pack("<I", 5) + b"hello"


def test_a_host_that_hangs_up_leaves_no_process(lone_phone: AdbDevice) -> None:
    host = Host(lone_phone)
    host.open("shell,v2,raw:exec sleep 1000")
    wait_for(lambda: list(lone_phone.processes()))
    host.socket.close()
    wait_for(lambda: not list(lone_phone.processes()))
