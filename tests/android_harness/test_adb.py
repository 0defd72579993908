import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from adb_device import AdbDevice, AdbEnvironment
from android_client import environment

from android_harness.adb import Adb, ListedDevice
from android_harness.errors import (
    AdbError,
    AdbTimeoutError,
    AndroidError,
    DeviceLostError,
    DeviceRefusedError,
    InterruptedRunError,
    ToolError,
)
from android_harness.harness import choose_devices

MakePhone = Callable[..., AdbDevice]


@pytest.fixture
def client(adb: AdbEnvironment, monkeypatch: pytest.MonkeyPatch) -> Adb:
    environment(adb.variables, monkeypatch.setenv)
    return Adb()


@pytest.fixture
def empty_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADB", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")


def test_without_adb_the_message_says_how_to_install_it(empty_path: None) -> None:
    with pytest.raises(AdbError, match="apt install adb"):
        Adb()
    with pytest.raises(AdbError, match="--adb: /no/adb is not a program"):
        Adb("/no/adb")


def test_places_are_searched_in_order(
    empty_path: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs = []
    for place in ("sdk/platform-tools/adb", "bin/adb", "mine"):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        programs.append(str(path))
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    assert Adb().path == programs[0]
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert Adb().path == programs[1]
    monkeypatch.setenv("ADB", programs[2])
    assert Adb().path == programs[2]
    assert Adb(programs[1]).path == programs[1]


def test_another_program_is_not_taken_for_adb(tmp_path: Path) -> None:
    path = tmp_path / "adb"
    path.write_text("#!/bin/sh\necho hello\n")
    path.chmod(0o755)
    with pytest.raises(AdbError, match="is not Google's adb: it prints 'hello"):
        Adb(path).start()


def test_the_port_is_adb_s_own_variable_or_an_option(
    client: Adb, adb: AdbEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.port == int(adb.variables["ANDROID_ADB_SERVER_PORT"])
    assert Adb(port=6000).port == 6000
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "many")
    with pytest.raises(AdbError, match="ANDROID_ADB_SERVER_PORT is 'many'"):
        Adb()


def test_the_server_s_socket_is_adb_s_own_variable(
    client: Adb, adb: AdbEnvironment, phone: AdbDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = client.port
    # No server listens there, and adb prefers the other variable as well.
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    for given in (f"tcp:{port}", f"tcp:127.0.0.1:{port}", f"tcp:localhost:{port}"):
        monkeypatch.setenv("ADB_SERVER_SOCKET", given)
        found = Adb()
        assert found.port == port
        assert found.start().startswith("1.0.")
        assert [d.serial for d in found.devices() if not d.advice] == [phone.address]
    monkeypatch.setenv("ADB_SERVER_SOCKET", "tcp:localhost:1")
    assert [d.serial for d in Adb(port=port).devices() if not d.advice] == [phone.address]
    shown: list[str] = []
    Adb(show=shown.append).show(["version"], "x")
    assert shown[0].endswith("adb -L tcp:localhost:1 -s x version")


def test_the_server_s_host_is_adb_s_own_variable(
    client: Adb, phone: AdbDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_ADDRESS", "localhost")
    found = Adb()
    found.start()
    assert [d.serial for d in found.devices() if not d.advice] == [phone.address]
    monkeypatch.setenv("ANDROID_ADB_SERVER_ADDRESS", "127.0.0.2")
    with pytest.raises(AdbError):  # Nothing listens there, and adb starts no server elsewhere.
        Adb().start()


@pytest.mark.parametrize("given", ["tcp:many", "tcp:", "tcp:host:0", "tcp:host:65536"])
def test_a_socket_without_a_port_is_told(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("ADB_SERVER_SOCKET", given)
    with pytest.raises(AdbError, match=f"ADB_SERVER_SOCKET is '{given}'; .* tcp:HOST:PORT"):
        Adb("/bin/true")


@pytest.mark.parametrize("kind", ["tcp", "localfilesystem", "localabstract"])
def test_a_server_of_another_version_is_not_killed_wherever_it_is(
    client: Adb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    if kind == "tcp":
        given = f"tcp:localhost:{serve_once(b'OKAY00040028')}"
    else:
        name = str(tmp_path / "socket")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(name if kind == "localfilesystem" else f"\0{name}")
        listener.listen()
        answer_once(listener, b"OKAY00040028")
        given = f"{kind}:{name}"
    monkeypatch.setenv("ADB_SERVER_SOCKET", given)
    with pytest.raises(AdbError, match="server on .ADB_SERVER_SOCKET .* has version 40, .* has 41"):
        Adb().start()


def answer_once(listener: socket.socket, answer: bytes) -> None:
    """Starts a thread that accepts one connection and gives one answer."""

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(64)
            connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()


def serve_once(answer: bytes) -> int:
    """Starts a server that gives one answer, and returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = int(listener.getsockname()[1])
    answer_once(listener, answer)
    return port


def test_a_server_of_another_version_is_not_killed(client: Adb) -> None:
    other = Adb(port=serve_once(b"OKAY00040028"))
    with pytest.raises(AdbError, match="has version 40, .* has 41 and would kill it"):
        other.start()


def test_what_is_no_adb_server_is_told(client: Adb) -> None:
    with pytest.raises(AdbError, match="is not an adb server"):
        Adb(port=serve_once(b"HTTP/1.1 400 Bad Request\r\n")).start()


def test_a_running_server_is_used(client: Adb, phone: AdbDevice) -> None:
    assert client.start().startswith("1.0.")
    assert [d.serial for d in client.devices() if not d.advice] == [phone.address]


def test_devices_that_cannot_be_used_say_what_to_do(
    client: Adb, make_phone: MakePhone, adb: AdbEnvironment
) -> None:
    offline, stranger = make_phone(), make_phone(authorize=False, connect=False)
    adb.run("connect", stranger.address)
    offline.faults.offline()
    by_serial = {d.serial: d for d in client.devices()}
    assert "switch USB debugging off and on" in by_serial[offline.address].advice
    assert "Allow USB debugging?" in by_serial[stranger.address].advice


@pytest.fixture
def listing(tmp_path: Path) -> Callable[[str], Adb]:
    """A function that makes a client which lists what it is told to."""

    def make(lines: str) -> Adb:
        path = tmp_path / "adb"
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}END\n")
        path.chmod(0o755)
        return Adb(path)

    return make


def test_lists_are_read_as_adb_writes_them(listing: Callable[[str], Adb]) -> None:
    devices = listing(
        "* daemon not running; starting now at tcp:5037\n"
        "* daemon started successfully\n"
        "List of devices attached\n"
        "R58M\tdevice\n"
        "192.168.1.5:5555\toffline\n"
        "????????????\tno permissions (user in plugdev group; are your udev rules wrong?); see\n"
        "adb-X._adb-tls-connect._tcp\tunauthorized\n"
        "adb-39071FDJG004QV-lIj5Aq (2)._adb-tls-connect._tcp\tdevice\n"
        "0123\tdetached\n"
        "4567\tin a state of the future\n"
        "(no serial number)\tdevice\n"
        "89ab\n\n"
    ).devices()
    assert [(d.serial, d.state) for d in devices] == [
        ("R58M", "device"),
        ("192.168.1.5:5555", "offline"),
        ("????????????", "no permissions"),
        ("adb-X._adb-tls-connect._tcp", "unauthorized"),
        ("adb-39071FDJG004QV-lIj5Aq (2)._adb-tls-connect._tcp", "device"),
        ("0123", "detached"),
        ("4567", "in a state of the future"),
        ("(no serial number)", "device"),
        ("89ab", "unknown"),
    ]
    assert "udev rules" in devices[2].advice and "plugdev" in devices[2].description
    assert "adb attach" in devices[5].advice
    assert [d.serial for d in devices if not d.advice] == ["R58M", devices[4].serial]
    assert not ListedDevice("x", "device", "").advice


def test_no_listed_device_is_passed_over_in_silence(listing: Callable[[str], Adb]) -> None:
    lines = "List of devices attached\n0123\tdetached\n4567\tnew\nA\tdevice\n(2)\tdevice\n"
    twice = "B\tdevice\nB\tdevice\n"
    devices = listing(lines + twice).devices()
    serials, unusable = choose_devices(devices, [], use_all=True)
    assert serials == ("A", "(2)")
    assert [text.partition(":")[0] for text in unusable] == [
        "0123 is detached",
        "4567 is new",
        "adb lists several devices as B and cannot tell them apart",
    ]
    with pytest.raises(DeviceRefusedError, match="several devices as B"):
        choose_devices(devices, ["B"], use_all=False)
    with pytest.raises(AndroidError, match="0123 is detached: .*; 4567 is new: it is in a state"):
        choose_devices(devices[:2], [], use_all=False)


@pytest.mark.parametrize(
    "word",
    [
        "a b",
        "$(reboot)",
        "`reboot`",
        "a;reboot",
        "it's",
        '"',
        "*",
        "a\nb",
        "-n",
        "\\",
        "ä€",
        "&",
        "",
    ],
)
def test_no_word_is_obeyed_by_the_phone_s_shell(client: Adb, phone: AdbDevice, word: str) -> None:
    answer = client.device(phone.address).shell(["printf", "[%s]", word])
    assert (answer.status, answer.stdout) == (0, f"[{word}]")
    assert ["reboot"] not in phone.commands


def test_statuses_and_outputs_arrive(client: Adb, phone: AdbDevice) -> None:
    answer = client.device(phone.address).shell(["ls", "/data/local/tmp/none"])
    assert answer.status != 0 and "No such file" in answer.stderr and answer.stdout == ""
    assert client.device(phone.address).shell(["sh", "-c", "exit 7"]).status == 7
    assert client.device(phone.address).shell(["sh", "-c", "kill -SEGV $$"]).status == 139
    assert client.device(phone.address).shell(["no-such-program"]).status == 127


def test_output_that_is_not_utf8_is_read(client: Adb, phone: AdbDevice) -> None:
    answer = client.device(phone.address).shell(["printf", r"a\377\000b\r\n"])
    assert answer.stdout == "a\ufffd\0b\n"


def test_files_go_there_and_back(client: Adb, phone: AdbDevice, tmp_path: Path) -> None:
    local = tmp_path / "-it's a; file"
    local.write_bytes(os.urandom(100_000))
    remote = "/data/local/tmp/a b"
    client.device(phone.address).push(local, remote)
    assert phone.disk.host_path(remote).read_bytes() == local.read_bytes()
    back = tmp_path / "back"
    client.device(phone.address).pull(remote, back, 100_000)
    assert back.read_bytes() == local.read_bytes()


def test_a_full_disk_is_told(client: Adb, phone: AdbDevice, tmp_path: Path) -> None:
    local = tmp_path / "x"
    local.write_bytes(bytes(300_000))
    phone.faults.disk_full(after_bytes=100_000)
    with pytest.raises(ToolError, match="no space is left on the phone"):
        client.device(phone.address).push(local, "/data/local/tmp/x")


def test_phones_that_are_gone_are_told_from_other_failures(client: Adb, phone: AdbDevice) -> None:
    with pytest.raises(DeviceLostError, match="no-such-phone is gone"):
        client.device("no-such-phone").shell(["true"])
    phone.faults.pull_cable()
    with pytest.raises(DeviceLostError):
        client.device(phone.address).shell(["true"])


def test_a_command_cut_off_is_no_answer(client: Adb, phone: AdbDevice) -> None:
    timer = threading.Timer(0.5, phone.unplug)
    timer.start()
    with pytest.raises(DeviceLostError, match="broke while 'sh -c 'echo half; sleep 30''"):
        client.device(phone.address).shell(["sh", "-c", "echo half; sleep 30"])
    timer.join()


def test_every_call_has_a_time_limit(client: Adb, phone: AdbDevice) -> None:
    with pytest.raises(AdbTimeoutError, match="no answer in 0 s to 'shell sleep 30'"):
        client.device(phone.address).shell(["sleep", "30"], timeout=0.3)


def test_after_a_stop_only_cleaning_up_goes_on(client: Adb, phone: AdbDevice) -> None:
    timer = threading.Timer(0.5, client.stop)
    timer.start()
    with pytest.raises(InterruptedRunError):
        client.device(phone.address).shell(["sleep", "30"])
    with pytest.raises(InterruptedRunError):
        client.device(phone.address).shell(["true"])
    assert client.device(phone.address).shell(["true"], cleanup=True).status == 0


def test_a_dry_run_shows_what_it_would_change(client: Adb, phone: AdbDevice) -> None:
    shown: list[str] = []
    dry = Adb(show=shown.append)
    dry.device(phone.address).push(Path(__file__), "/data/local/tmp/x")
    dry.device(phone.address).shell(["rm", "-rf", "/data/local/tmp/x y"], changes=True)
    assert dry.device(phone.address).shell(["echo", "read"]).stdout == "read\n"
    assert len(shown) == 2 and shown[1].endswith("""shell 'rm -rf '"'"'/data/local/tmp/x y'"'"''""")
    assert not list(phone.disk.host_path("/data/local/tmp").iterdir())
