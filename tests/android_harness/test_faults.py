"""Phones that cannot be measured, and phones that fail while they are.

Every fault ends in a clear message and a clean phone.
"""

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from adb_device import AdbDevice, AdbEnvironment, Phone
from android_client import (
    ours_on,
    rows_of,
    runs_on,
    started,
    state_of,
    wait_until,
)

from android_harness.phone_run import PhoneRun

# Whole measurements, each with a fault in it.
pytestmark = pytest.mark.slow

MakePhone = Callable[..., AdbDevice]
Command = Callable[..., int]


# Requirements.


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            {"abis": ("x86_64",)},
            "benchmark_model is available for arm64-v8a, but the phone runs x86",
        ),
        ({"sdk": 23, "android": "6.0"}, r"Android 6.0 \(API 23\) is too old"),
        ({"used_kib": 113_183_000}, "MB are free in /data/local/tmp"),
    ],
)
def test_phones_that_cannot_be_measured_say_why(
    command: Command,
    make_phone: MakePhone,
    capsys: pytest.CaptureFixture[str],
    kind: dict[str, object],
    message: str,
) -> None:
    import re

    phone = make_phone(phone=Phone(**kind))
    assert command() == 1
    assert re.search(message, capsys.readouterr().err)
    assert runs_on(phone) == 0 and ours_on(phone) == []


def test_an_adbd_without_exit_statuses_is_refused(
    command: Command, make_phone: MakePhone, capsys: pytest.CaptureFixture[str]
) -> None:
    make_phone(features=("cmd",))
    assert command() == 1
    assert "Android 7.0 and later do" in capsys.readouterr().err


def test_an_empty_battery_is_refused(
    command: Command, phone: AdbDevice, capsys: pytest.CaptureFixture[str]
) -> None:
    phone.faults.low_battery(4)
    assert command("--cases", "cpu-1") == 1
    assert "the battery has 4 %" in capsys.readouterr().err
    assert command("--cases", "cpu-1", "--min-battery", "3") == 0


def test_a_dark_screen_is_remarked(
    command: Command, phone: AdbDevice, capsys: pytest.CaptureFixture[str], output: Path
) -> None:
    phone.screen_on = False
    assert command("--cases", "cpu-1") == 0
    assert "the screen is off" in capsys.readouterr().err
    assert rows_of(output)[0].rounds[0].before.screen_on is False


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("offline", "is offline: plug the cable in again"),
        ("unauthorized", "is unauthorized: unlock"),
    ],
)
def test_unusable_phones_do_not_keep_others_from_being_measured(
    command: Command,
    make_phone: MakePhone,
    capsys: pytest.CaptureFixture[str],
    output: Path,
    fault: str,
    message: str,
) -> None:
    good, bad = make_phone(), make_phone()
    getattr(bad.faults, fault)()
    assert command("--cases", "cpu-1", "--serial", bad.address) == 1
    assert message in capsys.readouterr().err
    assert command("--cases", "cpu-1", "--all") == 1
    assert message in capsys.readouterr().err
    assert len(rows_of(output)) == 1 and ours_on(good) == []


# Faults.


def test_a_disk_that_fills_up_ends_in_a_message_and_a_clean_phone(
    command: Command, phone: AdbDevice, capsys: pytest.CaptureFixture[str], output: Path
) -> None:
    def fill_up() -> None:
        # At the check of the phone there was enough space.
        wait_until(lambda: any(words[0] == "df" for words in phone.commands))
        phone.faults.disk_full(after_bytes=2_000)

    threading.Thread(target=fill_up, daemon=True).start()
    assert command("--cases", "cpu-1") == 1
    assert "no space is left on the phone" in capsys.readouterr().err
    assert ours_on(phone) == [] and not output.exists()


def test_a_binary_killed_by_a_signal_fails_its_row_only(
    command: Command, phone: AdbDevice, capsys: pytest.CaptureFixture[str], output: Path
) -> None:
    phone.faults.kill_binary(signal.SIGSEGV)
    assert command("--cases", "cpu-1", "gpu") == 1
    assert all("killed by signal 11 (SIGSEGV)" in row.error for row in rows_of(output))
    assert "nothing could be measured" in capsys.readouterr().err
    assert ours_on(phone) == [] and runs_on(phone) == 2


def test_garbage_fails_its_row_and_does_not_reach_the_terminal(
    command: Command, phone: AdbDevice, capsys: pytest.CaptureFixture[str], output: Path
) -> None:
    phone.faults.garbage_output()
    assert command("--cases", "cpu-1") == 1
    assert "printed no 'Inference timings'" in rows_of(output)[0].error
    assert "\x1b" not in capsys.readouterr().err
    assert ours_on(phone) == []


def test_a_phone_without_a_gpu_has_no_times_of_one(
    command: Command, make_phone: MakePhone, output: Path
) -> None:
    make_phone(phone=Phone(has_gpu=False))
    assert command("--cases", "cpu-1", "gpu") == 0
    cpu, gpu = rows_of(output)
    assert cpu.error is None and "GPU delegate was not used" in gpu.error


def test_a_cable_pulled_while_files_go_there_is_no_end(
    command: Command,
    adb: AdbEnvironment,
    phone: AdbDevice,
    capsys: pytest.CaptureFixture[str],
    output: Path,
) -> None:
    phone.faults.pull_cable_during_push(after_bytes=4_000)

    def plug_in_again() -> None:
        wait_until(lambda: adb.state(phone.address) != "device")
        phone.plug_in()

    threading.Thread(target=plug_in_again, daemon=True).start()
    assert command("--cases", "cpu-1") == 0
    assert "the phone is back" in capsys.readouterr().err
    assert rows_of(output)[0].error is None and ours_on(phone) == []


def test_a_phone_that_does_not_come_back_is_gone_on_with_later(
    command: Command,
    adb: AdbEnvironment,
    phone: AdbDevice,
    capsys: pytest.CaptureFixture[str],
    output: Path,
) -> None:
    def pull_in_second_run() -> None:
        state = state_of(output)
        wait_until(lambda: state.exists() and b'"rounds":[{' in state.read_bytes())
        phone.faults.pull_cable_during_run()

    threading.Thread(target=pull_in_second_run, daemon=True).start()
    assert command("--cases", "cpu-1", "builtin-1", "--wait", "1") == 1
    said = capsys.readouterr().err
    assert "Run the same command again to continue" in said and "cleaning up failed" in said
    assert state_of(output).exists() and not output.exists()
    assert any(name.startswith("mm-face-stylizer-") for name in ours_on(phone))

    phone.plug_in()
    before = runs_on(phone)
    # adb lists a broken network connection as 'offline'; only the user can know that it is back.
    adb.run("disconnect", phone.address)
    adb.connect(phone.address)
    assert command("--cases", "cpu-1", "builtin-1") == 0
    assert "resumes; 1 of 2 cases" in capsys.readouterr().err
    assert runs_on(phone) - before == 1
    assert len(rows_of(output)) == 2 and ours_on(phone) == []
    assert not state_of(output).exists()


def test_a_lost_phone_does_not_disturb_the_others_and_joins_them_later(
    command: Command,
    adb: AdbEnvironment,
    make_phone: MakePhone,
    capsys: pytest.CaptureFixture[str],
    output: Path,
) -> None:
    good, bad = make_phone(), make_phone(phone=Phone(model="Pixel 7"))
    bad.faults.pull_cable_during_run()
    assert command("--cases", "cpu-1", "--all", "--wait", "0.5") == 1
    assert f"error: {bad.address}" in capsys.readouterr().err
    assert [row.device for row in rows_of(output)] == ["Google Pixel 6"]
    bad.plug_in()
    adb.run("disconnect", bad.address)
    adb.connect(bad.address)
    assert command("--cases", "cpu-1", "--all") == 0
    assert {row.device for row in rows_of(output)} == {"Google Pixel 6", "Google Pixel 7"}
    assert runs_on(good) == 1 and ours_on(good) == ours_on(bad) == []


def test_a_restart_in_a_run_is_no_end(
    command: Command, phone: AdbDevice, capsys: pytest.CaptureFixture[str], output: Path
) -> None:
    phone.faults.reboot_during_run(seconds=1.0)
    assert command("--cases", "cpu-1") == 0
    assert "the phone is back, restarted" in capsys.readouterr().err
    assert rows_of(output)[0].error is None and ours_on(phone) == []


def test_throttled_rounds_are_marked_and_the_next_waits(
    command: Command,
    phone: AdbDevice,
    capsys: pytest.CaptureFixture[str],
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A minute passes on the phone at each check, so that it cools during the wait and, however slow
    # the machine, not before.
    pause = PhoneRun._pause

    def long_pause(run: PhoneRun) -> None:
        phone.clock.advance(60.0)
        pause(run)

    monkeypatch.setattr(PhoneRun, "_pause", long_pause)
    phone.faults.thermal_throttling(degrees_per_run=12.0, cooling_per_second=0.05)
    assert command("--cases", "cpu-1", "--rounds", "2") == 0
    (row,) = rows_of(output)
    for one in row.rounds:
        assert one.before.thermal_status == 0 and one.after.thermal_status >= 1
        assert one.throttled is True
        assert one.after.celsius > one.before.celsius
    assert "waiting for the phone to cool down (thermal status" in capsys.readouterr().err


def test_a_phone_that_stays_hot_is_not_measured(
    command: Command, phone: AdbDevice, capsys: pytest.CaptureFixture[str]
) -> None:
    phone.thermal.cooling_per_second = 0.0
    phone.thermal.set_skin(45.0)
    assert command("--cases", "cpu-1", "--cool-down", "0.2") == 1
    assert "does not cool down in 0 s (thermal status 3" in capsys.readouterr().err
    assert runs_on(phone) == 0 and ours_on(phone) == []
    allowed = ("--max-thermal-status", "3", "--max-battery-celsius", "60")
    assert command("--cases", "cpu-1", *allowed) == 0


def test_ctrl_c_leaves_a_clean_phone_and_a_state(
    command: Command, adb: AdbEnvironment, phone: AdbDevice, arguments: list[str], output: Path
) -> None:
    slow = [*arguments, "--cases", "cpu-1", "--min-seconds", "30"]
    with started(slow, adb.variables) as process:
        wait_until(lambda: runs_on(phone) == 1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in said
    assert ours_on(phone) == [] and state_of(output).exists() and not output.exists()


def test_what_a_killed_run_left_behind_is_removed_at_the_next_contact(
    command: Command, adb: AdbEnvironment, phone: AdbDevice, arguments: list[str], output: Path
) -> None:
    slow = [*arguments, "--cases", "cpu-1", "--min-seconds", "30"]
    with started(slow, adb.variables) as process:
        wait_until(lambda: runs_on(phone) == 1)
        process.kill()
    left = ours_on(phone)
    assert any(name.startswith("mm-face-stylizer-") for name in left)
    assert command("--cases", "cpu-1", "--restart") == 0
    assert ours_on(phone) == []


def test_two_runs_do_not_share_a_phone(
    command: Command,
    adb: AdbEnvironment,
    phone: AdbDevice,
    arguments: list[str],
    output: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slow = [*arguments, "--cases", "cpu-1", "--min-seconds", "30"]
    with started(slow, adb.variables) as process:
        wait_until(lambda: runs_on(phone) == 1)
        assert command("--cases", "gpu", "-o", str(output.with_name("other.json"))) == 1
        assert "is being measured by another run" in capsys.readouterr().err
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_other_people_s_files_stay(command: Command, phone: AdbDevice) -> None:
    other = phone.disk.host_path("/data/local/tmp/mine")
    other.write_text("x")
    assert command("--cases", "cpu-1") == 0
    assert ours_on(phone) == ["mine"]
