"""The simulated phone under Google's own adb client: transport, shell and files."""

import hashlib
import os
import random
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from adb_device import AdbDevice, AdbEnvironment, Phone
from adb_device.commands import OutputFilter, to_host
from adb_device.disk import Disk
from waiting import wait_for

MakePhone = Callable[..., AdbDevice]

TMP = "/data/local/tmp"
# Sizes at the limits of messages, sync blocks and the client's buffers, and one of many blocks.
SIZES = (0, 1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 20_000_000)


# Connecting.


def test_adb_lists_the_phone_with_its_model(adb: AdbEnvironment, phone: AdbDevice) -> None:
    lines = adb.run("devices", "-l").stdout.decode().splitlines()
    (line,) = [line for line in lines if line.startswith(phone.address)]
    assert line.split()[1:5] == ["device", "product:oriole", "model:Pixel_6", "device:oriole"]


def test_adb_negotiates_the_features_of_both(adb: AdbEnvironment, make_phone: MakePhone) -> None:
    phone = make_phone(features=("shell_v2", "from_the_future"))
    features = adb.run("features", serial=phone.address).stdout.decode().split()
    assert "shell_v2" in features and "stat_v2" not in features


def test_a_key_is_trusted_once_and_recognized_again(
    adb: AdbEnvironment, make_phone: MakePhone
) -> None:
    phone = make_phone(authorize=True)
    assert len(phone.trusted_keys) == 1
    adb.run("disconnect", phone.address)
    adb.connect(phone.address)
    assert len(phone.trusted_keys) == 1  # The second time, its signature was enough.


def test_a_signature_of_something_else_is_no_signature(
    adb: AdbEnvironment, make_phone: MakePhone
) -> None:
    (key,) = make_phone(authorize=True).trusted_keys
    assert not key.verifies(bytes(20), bytes(256))


def test_two_phones_are_kept_apart(adb: AdbEnvironment, make_phone: MakePhone) -> None:
    first = make_phone()
    second = make_phone(phone=Phone(model="Pixel 8", device="shiba", android="14"))
    answers: dict[str, bytes] = {}

    def ask(phone: AdbDevice) -> None:
        script = (
            f"echo {phone.serial} > {TMP}/name; sleep 0.2; cat {TMP}/name; getprop ro.product.model"
        )
        answers[phone.serial] = adb.shell(phone.address, script).stdout

    threads = [threading.Thread(target=ask, args=(phone,)) for phone in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers[first.serial].decode().splitlines() == [first.serial, "Pixel 6"]
    assert answers[second.serial].decode().splitlines() == [second.serial, "Pixel 8"]


def test_a_stopped_phone_leaves_nothing(adb: AdbEnvironment) -> None:
    before = threading.enumerate()
    with AdbDevice() as phone:
        adb.connect(phone.address)
        adb.shell(phone.address, "nohup sleep 1000 > /dev/null 2>&1 &")
        script = "trap '' HUP; echo ready; while :; do sleep 1; done"
        shell = subprocess.Popen(
            [adb.adb, "-s", phone.address, "shell", script],
            env=adb.variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert shell.stdout and shell.stdout.readline() == b"ready\n"
        assert len(list(phone.processes())) >= 2
    shell.communicate(timeout=60)
    adb.run("disconnect", phone.address)
    assert not phone.disk.root.exists()
    assert not list(phone.processes())
    assert [thread for thread in threading.enumerate() if thread not in before] == []
    host, port = phone.address.split(":")
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0


def test_the_private_server_is_nobody_elses(adb: AdbEnvironment) -> None:
    assert adb.variables["HOME"] != os.environ.get("HOME")
    assert adb.variables["ANDROID_ADB_SERVER_PORT"] != "5037"
    assert (Path(adb.variables["HOME"]) / ".android/adbkey").exists()


# The shell.


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("true", 0),
        ("false", 1),
        ("exit 42", 42),
        ("no-such-tool", 127),
        (f"echo x > {TMP}/text; {TMP}/text", 126),
        ("kill -9 $$", 137),
        ("kill -SEGV $$", 139),
        ("sh -c 'kill -TERM $$'", 143),
        ("true && false || exit 7", 7),
        ("echo a | grep -q b", 1),
    ],
)
def test_exit_statuses_come_through(
    adb: AdbEnvironment, phone: AdbDevice, command: str, status: int
) -> None:
    assert adb.shell(phone.address, command).returncode == status


def test_stdout_and_stderr_are_apart(adb: AdbEnvironment, phone: AdbDevice) -> None:
    result = adb.shell(phone.address, "echo out; echo err >&2; no-such-tool")
    assert result.stdout == b"out\n"
    assert result.stderr == (b"err\n/system/bin/sh: no-such-tool: inaccessible or not found\n")


def test_an_old_phone_mixes_them_and_tells_no_status(
    adb: AdbEnvironment, make_phone: MakePhone
) -> None:
    phone = make_phone(features=())
    result = adb.shell(phone.address, "echo out; echo err >&2; exit 3")
    assert (result.returncode, result.stdout) == (0, b"out\nerr\n")


@pytest.mark.parametrize("service", ["shell", "exec-out"])
def test_output_is_binary_safe(adb: AdbEnvironment, phone: AdbDevice, service: str) -> None:
    data = bytes(range(256)) * 400 + b"\r\n\n\r\x00"
    phone.disk.host_path(f"{TMP}/data").write_bytes(data)
    assert adb.run(service, f"cat {TMP}/data", serial=phone.address).stdout == data


def test_a_host_may_hang_up_before_its_input_is_read(adb: AdbEnvironment, phone: AdbDevice) -> None:
    command = f"read first; sleep 0.5; cat > {TMP}/data"
    adb.run("exec-in", command, serial=phone.address, stdin=b"first\nsecond\n")
    file = phone.disk.host_path(f"{TMP}/data")
    wait_for(lambda: file.exists() and file.read_bytes() == b"second\n")


@pytest.mark.parametrize("service", ["shell", "exec-in"])
def test_input_is_binary_safe(adb: AdbEnvironment, phone: AdbDevice, service: str) -> None:
    data = random.Random(1).randbytes(300_000)
    adb.run(service, f"cat > {TMP}/data", serial=phone.address, stdin=data)
    file = phone.disk.host_path(f"{TMP}/data")
    # exec-in does not wait for the command.
    wait_for(lambda: file.exists() and file.read_bytes() == data)


def test_a_shell_without_a_command_reads_its_input(adb: AdbEnvironment, phone: AdbDevice) -> None:
    result = adb.run("shell", serial=phone.address, stdin=b"echo 6 times 7 is $((6 * 7))\nexit 5\n")
    assert b"6 times 7 is 42" in result.stdout
    assert result.returncode == 5


def test_a_shell_may_have_a_terminal(adb: AdbEnvironment, phone: AdbDevice) -> None:
    command = "test -t 0 && test -t 1 && echo terminal; echo err >&2; exit 4"
    result = adb.run("shell", "-tt", command, serial=phone.address)
    assert (result.returncode, result.stdout) == (4, b"terminal\r\nerr\r\n")


def test_quotes_pipes_and_variables_are_the_shells(adb: AdbEnvironment, phone: AdbDevice) -> None:
    script = (
        f"cd {TMP}; for i in 3 1 2; do echo \"line $i\" >> 'a file'; done; "
        "sort 'a file' | head -n 2; "
        f"D={TMP}; ls \"$D\"; [ -f '{TMP}/a file' ] && echo yes; echo $(pwd); cd /; pwd"
    )
    expected = f"line 1\nline 2\na file\nyes\n{TMP}\n/\n"
    assert adb.shell(phone.address, script).stdout.decode() == expected


def test_a_background_process_outlives_its_shell(adb: AdbEnvironment, phone: AdbDevice) -> None:
    adb.shell(phone.address, "nohup sleep 1000 > /dev/null 2>&1 & echo $! > /data/local/tmp/pid")
    script = f"kill -0 $(cat {TMP}/pid) && echo alive; kill $(cat {TMP}/pid)"
    assert adb.shell(phone.address, script).stdout == b"alive\n"


def test_the_shell_hears_that_the_host_is_gone(adb: AdbEnvironment, phone: AdbDevice) -> None:
    script = f"trap 'touch {TMP}/hung-up; exit' HUP; echo ready; while :; do sleep 0.05; done"
    client = subprocess.Popen(
        [adb.adb, "-s", phone.address, "shell", script], env=adb.variables, stdout=subprocess.PIPE
    )
    assert client.stdout and client.stdout.readline() == b"ready\n"
    client.kill()
    client.communicate()
    marker = phone.disk.host_path(f"{TMP}/hung-up")
    wait_for(marker.exists)
    wait_for(lambda: not list(phone.processes()))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("cat /data/x", "cat ROOT/data/x"),
        (
            "--graph=/data/x --out='/data/y z' \"/sdcard/$A\"",
            "--graph=ROOT/data/x --out='ROOT/data/y z' \"ROOT/sdcard/$A\"",
        ),
        ("cd /data/local/tmp&&ls>/data/l", "cd ROOT/data/local/tmp&&ls>ROOT/data/l"),
        (
            "cat \"$D\"/data '$D'/data $D/data ./data a/data",
            "cat \"$D\"/data '$D'/data $D/data ./data a/data",
        ),
        (
            "cat /proc/cpuinfo /proc/1/stat /dev/null",
            "cat ROOT/proc/cpuinfo /proc/1/stat /dev/null",
        ),
        ("echo /database /data-x \\'/data", "echo /database /data-x \\'/data"),
        ("LIB=/data/a:/system/lib ${X:-/data}", "LIB=ROOT/data/a:ROOT/system/lib ${X:-ROOT/data}"),
        ("echo x > /tmp/x; sh -c 'ls /data'", "echo x > ROOT/tmp/x; sh -c 'ls ROOT/data'"),
    ],
)
def test_device_paths_in_commands_become_the_disks(command: str, expected: str) -> None:
    assert to_host(command, "/tmp/disk") == expected.replace("ROOT", "/tmp/disk")
    assert to_host(expected.replace("ROOT", "/tmp/disk"), "/tmp/disk") == expected.replace(
        "ROOT", "/tmp/disk"
    )


def test_the_disks_path_is_taken_out_wherever_output_is_cut() -> None:
    data = b"a /tmp/disk/data/x /tmp/dis /tmp/disk\n/tmp/disk"
    for cut in range(len(data)):
        output = OutputFilter("/tmp/disk", messages=False)
        text = output.feed(data[:cut]) + output.feed(data[cut:]) + output.flush()
        assert text == b"a /data/x /tmp/dis /\n/"


# Files.


@pytest.mark.parametrize("size", SIZES)
def test_files_come_back_as_they_went(
    adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path, size: int
) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(random.Random(size).randbytes(size))
    there.chmod(0o751)
    os.utime(there, (1_600_000_000, 1_600_000_123))
    assert adb.run("push", there, f"{TMP}/file", serial=phone.address).returncode == 0
    digest = hashlib.sha256(there.read_bytes()).hexdigest()
    listed = adb.shell(phone.address, f"sha256sum {TMP}/file").stdout.decode()
    assert listed == f"{digest}  {TMP}/file\n"
    assert adb.run("pull", "-a", f"{TMP}/file", back, serial=phone.address).returncode == 0
    assert hashlib.sha256(back.read_bytes()).hexdigest() == digest
    on_disk = phone.disk.host_path(f"{TMP}/file").stat()
    # adbd gives the owner's permissions to group and others.
    assert stat.S_IMODE(on_disk.st_mode) == 0o777
    assert on_disk.st_mtime == back.stat().st_mtime == 1_600_000_123


def test_an_executable_stays_one_and_a_plain_file_none(
    adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path
) -> None:
    for mode in (0o644, 0o755):
        (tmp_path / "file").write_bytes(b"x")
        (tmp_path / "file").chmod(mode)
        adb.run("push", tmp_path / "file", f"{TMP}/file", serial=phone.address)
        bits = stat.S_IMODE(phone.disk.host_path(f"{TMP}/file").stat().st_mode)
        assert bool(bits & stat.S_IXUSR) == (mode == 0o755)


def test_shared_storage_runs_nothing(adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "tool").chmod(0o755)
    adb.run("push", tmp_path / "tool", "/sdcard/tool", serial=phone.address)
    result = adb.shell(phone.address, "/sdcard/tool")
    assert result.returncode == 126
    assert result.stderr.endswith(b"/sdcard/tool: can't execute: Permission denied\n")


@pytest.mark.parametrize("features", [None, ("shell_v2", "cmd")])
def test_folders_come_back_as_they_went(
    adb: AdbEnvironment, make_phone: MakePhone, tmp_path: Path, features: tuple[str, ...] | None
) -> None:
    phone = make_phone() if features is None else make_phone(features=features)
    files = {"a.txt": b"a", "deep/er/b": b"", "deep/ünï cödé": b"c" * 70_000}
    for name, data in files.items():
        file = tmp_path / "folder" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    assert adb.run("push", tmp_path / "folder", TMP, serial=phone.address).returncode == 0
    pulled = adb.run("pull", f"{TMP}/folder", tmp_path / "back", serial=phone.address)
    assert pulled.returncode == 0
    found = {
        str(file.relative_to(tmp_path / "back")): file.read_bytes()
        for file in (tmp_path / "back").rglob("*")
        if file.is_file()
    }
    assert found == files


@pytest.mark.parametrize("features", [None, ("shell_v2",)])
def test_adb_ls_lists_a_folder(
    adb: AdbEnvironment, make_phone: MakePhone, features: tuple[str, ...] | None
) -> None:
    phone = make_phone() if features is None else make_phone(features=features)
    file = phone.disk.host_path(f"{TMP}/file")
    file.write_bytes(b"12345")
    file.chmod(0o640)
    os.utime(file, (0x5F000000, 0x5F000000))
    lines = adb.run("ls", TMP, serial=phone.address).stdout.decode().splitlines()
    assert sorted(line.split()[-1] for line in lines) == [".", "..", "file"]
    assert f"{stat.S_IFREG | 0o640:08x} 00000005 5f000000 file" in lines
    assert adb.run("ls", "/none", serial=phone.address).stdout == b""


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/system/file", "Read-only file system"),
        ("/file", "Read-only file system"),
        ("/data/file", "Permission denied"),
        ("/data/local/file", "Permission denied"),
        (f"{TMP}/../../../system/file", "Read-only file system"),
    ],
)
def test_only_two_places_can_be_written(
    adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path, target: str, message: str
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    result = adb.run("push", tmp_path / "file", target, serial=phone.address)
    assert result.returncode == 1
    assert f"couldn't create file: {message}" in (result.stdout + result.stderr).decode()


def test_a_failed_push_leaves_the_connection_well(
    adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(bytes(1_000_000))
    assert adb.run("push", tmp_path / "file", "/system/f", serial=phone.address).returncode == 1
    assert adb.run("push", tmp_path / "file", f"{TMP}/f", serial=phone.address).returncode == 0


def test_what_is_not_there_cannot_be_pulled(
    adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path
) -> None:
    result = adb.run("pull", f"{TMP}/none", tmp_path / "none", serial=phone.address)
    assert result.returncode == 1
    assert b"No such file or directory" in result.stdout + result.stderr
    assert not (tmp_path / "none").exists()


def test_pulling_does_not_leave_the_disk(
    adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("host")
    phone.disk.host_path(f"{TMP}/link").symlink_to(secret)
    phone.disk.host_path(f"{TMP}/root").symlink_to("/")
    dots = "../" * 12
    for remote in (f"{TMP}/link", f"{TMP}/root{secret}", f"{TMP}/{dots}{secret}", str(secret)):
        result = adb.run("pull", remote, tmp_path / "got", serial=phone.address)
        assert result.returncode == 1, remote
    assert not (tmp_path / "got").exists()


def test_pushing_does_not_leave_the_disk(
    adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path
) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_text("host")
    folder.mkdir()
    (tmp_path / "file").write_text("phone")
    phone.disk.host_path(f"{TMP}/link").symlink_to(victim)
    phone.disk.host_path(f"{TMP}/folder").symlink_to(folder)
    adb.run("push", tmp_path / "file", f"{TMP}/link", serial=phone.address)
    adb.run("push", tmp_path / "file", f"{TMP}/folder/new", serial=phone.address)
    assert victim.read_text() == "host"
    assert list(folder.iterdir()) == []
    # adbd replaces the link itself.
    assert phone.disk.host_path(f"{TMP}/link", follow=False).read_text() == "phone"


def test_links_on_the_disk_are_the_devices(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/absolute").symlink_to("/b/c")
    (tmp_path / "a/relative").symlink_to("../b/c")
    (tmp_path / "a/own").symlink_to(disk.link_target("/b/c"))
    (tmp_path / "a/loop").symlink_to("/a/loop")
    for name in ("absolute", "relative", "own"):
        assert disk.host_path(f"/a/{name}/d") == disk.root / "b/c/d"
        assert disk.host_path(f"/a/{name}", follow=False) == disk.root / "a" / name
    with pytest.raises(OSError, match="Too many levels"):
        disk.host_path("/a/loop")


def test_a_disk_needs_a_path_that_is_one_word(tmp_path: Path) -> None:
    (tmp_path / "two words").mkdir()
    with pytest.raises(ValueError, match="takes as one word"):
        Disk(tmp_path / "two words")
