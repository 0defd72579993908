"""Faults of the simulated phone, as Google's adb client shows them."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from adb_device import AdbDevice, AdbEnvironment, Battery, Phone, write_benchmark_model
from conv_model import make_stylizer
from waiting import wait_for

MakePhone = Callable[..., AdbDevice]

TMP = "/data/local/tmp"
RUN = (
    f"cd {TMP}; ./benchmark_model --graph=model.tflite --num_runs=5 --min_secs=0 "
    "--warmup_min_secs=0 --num_threads=1"
)
MEGABYTE = 1_000_000


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file that is sent in many messages."""
    (tmp_path / "big").write_bytes(bytes(8 * MEGABYTE))
    return tmp_path / "big"


def load(adb: AdbEnvironment, phone: AdbDevice, folder: Path, abi: str = "arm64-v8a") -> None:
    """Pushes the tool and a model."""
    (folder / "model.tflite").write_bytes(make_stylizer(32))
    files = [write_benchmark_model(folder / "benchmark_model", abi), folder / "model.tflite"]
    assert adb.run("push", *files, f"{TMP}/", serial=phone.address).returncode == 0


# The connection.


def test_an_offline_phone_answers_with_adbs_error(adb: AdbEnvironment, phone: AdbDevice) -> None:
    phone.faults.offline()
    wait_for(lambda: adb.state(phone.address) == "offline")
    result = adb.shell(phone.address, "true")
    assert (result.returncode, result.stderr) == (1, b"error: device offline\n")
    phone.faults.clear()
    wait_for(lambda: adb.shell(phone.address, "true").returncode == 0)


def test_offline_from_the_first(adb: AdbEnvironment, make_phone: MakePhone) -> None:
    phone = make_phone(connect=False)
    phone.faults.offline()
    # adb waits some time for an answer.
    client = threading.Thread(target=adb.run, args=("connect", phone.address))
    client.start()
    wait_for(lambda: adb.state(phone.address) == "offline")
    phone.faults.clear()
    client.join()
    assert adb.state(phone.address) == "device"


def test_an_unauthorized_phone_answers_with_adbs_error(
    adb: AdbEnvironment, phone: AdbDevice
) -> None:
    phone.faults.unauthorized()
    wait_for(lambda: adb.state(phone.address) == "unauthorized")
    result = adb.shell(phone.address, "true")
    assert result.returncode == 1
    assert result.stderr.startswith(b"error: device unauthorized.\n")
    phone.faults.clear()
    wait_for(lambda: adb.shell(phone.address, "true").returncode == 0)


def test_unauthorized_from_the_first(adb: AdbEnvironment, make_phone: MakePhone) -> None:
    phone = make_phone(connect=False, authorize=False)
    assert b"failed to authenticate" in adb.run("connect", phone.address).stdout
    assert adb.state(phone.address) == "unauthorized"
    assert phone.trusted_keys == []


def test_a_cable_pulled_and_plugged_in(adb: AdbEnvironment, phone: AdbDevice) -> None:
    phone.disk.host_path(f"{TMP}/file").touch()
    phone.faults.pull_cable()
    wait_for(lambda: adb.state(phone.address) != "device")
    assert adb.shell(phone.address, "true").returncode == 1
    assert b"Connection refused" in adb.run("connect", phone.address).stdout
    phone.plug_in()
    adb.connect(phone.address)
    assert adb.shell(phone.address, f"ls {TMP}").stdout == b"file\n"


def test_a_cable_pulled_in_mid_push(adb: AdbEnvironment, phone: AdbDevice, big: Path) -> None:
    phone.faults.pull_cable_during_push(after_bytes=MEGABYTE)
    result = adb.run("push", big, f"{TMP}/big", serial=phone.address)
    assert result.returncode == 1
    assert b"couldn't read from device" in result.stdout + result.stderr
    # adbd has time to remove the incomplete file.
    wait_for(lambda: not phone.disk.host_path(f"{TMP}/big").exists())
    phone.plug_in()
    adb.connect(phone.address)
    assert adb.run("push", big, f"{TMP}/big", serial=phone.address).returncode == 0


def test_a_reboot_ends_commands_and_the_phone_comes_back(
    adb: AdbEnvironment, phone: AdbDevice
) -> None:
    boot_id = "cat /proc/sys/kernel/random/boot_id"
    before = adb.shell(phone.address, boot_id).stdout
    phone.clock.advance(3600)
    adb.shell(phone.address, f"nohup sleep 1000 > /dev/null 2>&1 & echo kept > {TMP}/file")
    adb.run("reboot", serial=phone.address)
    wait_for(lambda: phone.is_down)
    wait_for(lambda: not list(phone.processes()))
    assert b"Connection refused" in adb.run("connect", phone.address).stdout
    phone.clock.advance(60)
    wait_for(lambda: not phone.is_down)
    adb.connect(phone.address)
    assert adb.shell(phone.address, boot_id).stdout not in (b"", before)
    assert phone.uptime < 3600
    assert adb.shell(phone.address, f"cat {TMP}/file").stdout == b"kept\n"


def test_a_reboot_in_mid_push_leaves_a_torso(
    adb: AdbEnvironment, phone: AdbDevice, big: Path
) -> None:
    phone.faults.reboot_during_push(after_bytes=MEGABYTE, seconds=3600)
    assert adb.run("push", big, f"{TMP}/big", serial=phone.address).returncode == 1
    wait_for(lambda: phone.is_down and not phone.is_connected)
    assert 0 < phone.disk.host_path(f"{TMP}/big").stat().st_size < 8 * MEGABYTE


# The disk and the battery.


def test_a_full_disk_in_mid_push(adb: AdbEnvironment, phone: AdbDevice, big: Path) -> None:
    phone.faults.disk_full(after_bytes=MEGABYTE)
    assert adb.shell(phone.address, "df /data").stdout.split()[-3:] == [b"976", b"100%", b"/data"]
    result = adb.run("push", big, f"{TMP}/big", serial=phone.address)
    assert result.returncode == 1
    assert b"write failed: No space left on device" in result.stdout + result.stderr
    wait_for(lambda: not phone.disk.host_path(f"{TMP}/big").exists())
    phone.faults.clear()
    assert adb.run("push", big, f"{TMP}/big", serial=phone.address).returncode == 0


def test_a_low_battery_is_reported_by_dumpsys(adb: AdbEnvironment, phone: AdbDevice) -> None:
    phone.faults.low_battery(3)
    text = adb.shell(phone.address, "dumpsys battery").stdout
    assert b"  level: 3\n" in text and b"  USB powered: false\n" in text
    phone.faults.clear()
    assert phone.battery == Battery()


# Runs of benchmark_model.


def test_a_binary_for_another_phone(
    adb: AdbEnvironment, make_phone: MakePhone, tmp_path: Path
) -> None:
    phone = make_phone(phone=Phone(abis=("armeabi-v7a", "armeabi")))
    load(adb, phone, tmp_path)
    result = adb.shell(phone.address, RUN)
    assert result.returncode == 126
    assert result.stderr == (
        b"/system/bin/sh: ./benchmark_model: not executable: 64-bit ELF file\n"
    )


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_binary_killed_by_a_signal(
    adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path, number: int
) -> None:
    load(adb, phone, tmp_path)
    phone.faults.kill_binary(number)
    result = adb.shell(phone.address, RUN)
    assert result.returncode == 128 + number
    assert b"Running benchmark for at least 5" in result.stdout
    assert b"Inference timings" not in result.stdout
    # A killed run no longer heats the phone.
    before = phone.thermal.read().skin
    phone.clock.advance(60)
    assert phone.thermal.read().skin < before


def test_garbage_takes_the_place_of_the_results(
    adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path
) -> None:
    load(adb, phone, tmp_path)
    phone.faults.garbage_output(b"\xff\x00 garbage")
    result = adb.shell(phone.address, RUN)
    assert result.returncode == 0
    assert result.stdout.endswith(b"\xff\x00 garbage")
    assert b"Inference timings" not in result.stdout


def test_a_full_disk_in_a_run(adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path) -> None:
    load(adb, phone, tmp_path)
    phone.faults.disk_full(after_bytes=100)
    result = adb.shell(phone.address, f"{RUN} --result_file_path=r --output_filepath=o > log")
    assert result.returncode == 0
    # Like the tool, the stand-in reports no error.
    for name in ("r", "o", "log"):
        assert phone.disk.host_path(f"{TMP}/{name}").stat().st_size <= 100


def test_a_cable_pulled_in_mid_run(adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path) -> None:
    load(adb, phone, tmp_path)
    phone.faults.pull_cable_during_run()
    result = adb.shell(phone.address, f"{RUN}; echo end $?")
    assert b"INFO: Loaded model" in result.stdout
    assert b"Inference timings" not in result.stdout and b"end" not in result.stdout
    wait_for(lambda: not list(phone.processes()))
    phone.plug_in()
    adb.connect(phone.address)
    assert b"Inference timings" in adb.shell(phone.address, RUN).stdout


def test_a_reboot_in_mid_run(adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path) -> None:
    load(adb, phone, tmp_path)
    phone.faults.reboot_during_run(seconds=30)
    # Processes that ignore SIGHUP do not survive either.
    result = adb.shell(phone.address, RUN.replace("./", "nohup ./") + "; echo end $?")
    assert b"end" not in result.stdout
    wait_for(lambda: phone.is_down and not list(phone.processes()))
    phone.clock.advance(30)
    wait_for(lambda: not phone.is_down)
    adb.connect(phone.address)
    assert b"Inference timings" in adb.shell(phone.address, RUN).stdout


def test_runs_heat_and_idling_cools(adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path) -> None:
    load(adb, phone, tmp_path)
    phone.faults.thermal_throttling(degrees_per_run=8.0, cooling_per_second=0.1)
    statuses = []
    for _ in range(2):
        adb.shell(phone.address, RUN)
        statuses.append(phone.thermal.read().status)
    assert statuses[0] == 0 and statuses[1] >= 3
    warm = phone.thermal.read()
    assert f"Thermal Status: {warm.status}\n".encode() in (
        adb.shell(phone.address, "dumpsys thermalservice").stdout
    )
    phone.clock.advance(100)
    cool = phone.thermal.read()
    assert cool.status == 0 and cool.battery < warm.battery
    phone.clock.advance(10_000)
    assert phone.thermal.read().skin == pytest.approx(30.5)
