"""The command from end to end, with the real adb client and simulated phones."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from adb_device import AdbDevice, AdbEnvironment, Instrumentation, Phone, make_apk
from android_client import (
    FAST,
    WebFolder,
    ours_on,
    rows_of,
    runs_on,
    started,
    state_of,
    wait_until,
)
from conv_model import make_stylizer
from waiting import wait_for

from android_harness import harness
from android_harness.adb import Adb
from android_harness.instrumentation import App
from android_harness.protocol import CASE_NAMES
from benchmarks.report import Report
from mm_face_stylizer.cli import main
from task_bundle import FaceModels, TaskBundle

MakePhone = Callable[..., AdbDevice]
Command = Callable[..., int]


# Successful runs.


def test_all_cases_of_a_phone_are_measured(
    command: Command, phone: AdbDevice, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command() == 0
    report = Report.load(output)
    assert len(report.rows) == len(CASE_NAMES) and not any(row.error for row in report.rows)
    for row in report.rows:
        (one,) = row.rounds
        assert one.aggregate and one.aggregate.count == 3
        assert one.before and one.before.thermal_status == 0 and one.after and one.after.celsius
        assert row.parity[0].passed
        assert (row.coverage is None) == (row.settings.delegate == "none")
    (device,) = report.devices
    assert (device.name, device.processor, device.cores) == ("Google Pixel 6", "GS101", 8)
    assert device.serial_sha256 and phone.address not in output.read_text()
    assert device.after is not None
    masks = [words[1] for words in phone.commands if words[0] == "taskset"]
    assert masks == ["f0", "f0"]
    assert ours_on(phone) == [] and not state_of(output).exists()
    raw = sorted(path.name for path in output.with_suffix(".raw").glob("*/*"))
    assert "identity_stylizer_gpu.round-1.pb" in raw
    assert "Google Pixel 6" in capsys.readouterr().out


def test_rounds_go_round_and_extras_come_last(
    command: Command, arguments: list[str], phone: AdbDevice, output: Path
) -> None:
    arguments[arguments.index("--no-memory") :] = []
    assert command("--rounds", "2", "--cases", "cpu-1", "builtin-1") == 0
    for row in rows_of(output):
        assert len(row.rounds) == 2 and row.profile and row.memory
        assert row.memory.baseline_bytes < row.memory.steady_bytes <= row.memory.peak_bytes
    runs = [" ".join(words) for words in phone.commands if words[0] == "benchmark_model"]
    assert ["use_xnnpack=true" in words for words in runs[:4]] == [True, False, True, False]
    # Memory and profile, which disturb times, are measured in runs whose times do not count.
    assert ["=true" in words.replace("use_xnnpack=true", "") for words in runs] == [
        *[False] * 4,
        *[True] * 4,
    ]


def test_a_bundle_s_models_are_measured_one_by_one(
    command: Command,
    arguments: list[str],
    phone: AdbDevice,
    output: Path,
    face_models: FaceModels,
) -> None:
    bundle = output.with_name("tiny.task")
    TaskBundle.build(make_stylizer(32), face_models).save(bundle)
    arguments[0] = str(bundle)
    assert command("--cases", "cpu-1") == 0
    rows = {row.stage: row for row in rows_of(output)}
    assert list(rows) == ["detector", "landmarks", "stylizer"]
    assert rows["landmarks"].parity[0].unit == "pixels"


def test_several_phones_are_measured_at_once(
    command: Command, make_phone: MakePhone, output: Path
) -> None:
    phones = [make_phone(), make_phone(), make_phone(phone=Phone(model="Pixel 7", soc="GS201"))]
    assert command("--all", "--cases", "cpu-1") == 0
    report = Report.load(output)
    assert len({device.name for device in report.devices}) == 3
    assert sum(device.name.startswith("Google Pixel 6 (") for device in report.devices) == 2
    assert all(runs_on(phone) == 1 and ours_on(phone) == [] for phone in phones)


def test_one_of_several_phones_is_chosen(
    command: Command, make_phone: MakePhone, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = make_phone(), make_phone()
    assert command("--cases", "cpu-1") == 1
    assert "choose with --serial, or use --all" in capsys.readouterr().err
    assert command("--cases", "cpu-1", "--serial", second.address) == 0
    assert (runs_on(first), runs_on(second)) == (0, 1)
    assert command("--serial", "none", "--overwrite") == 1
    assert "adb lists no such device" in capsys.readouterr().err


def test_a_phone_that_cannot_be_used_is_named_beside_the_one_that_is_measured(
    command: Command, make_phone: MakePhone, adb: AdbEnvironment, capsys: pytest.CaptureFixture[str]
) -> None:
    make_phone()
    refusing = make_phone(authorize=False, connect=False)
    adb.run("connect", refusing.address)
    wait_for(lambda: adb.state(refusing.address) == "unauthorized")
    assert command("--dry-run") == 0
    note = f"note: not measured: {refusing.address} is unauthorized: unlock the phone"
    assert note in capsys.readouterr().err


@pytest.fixture
def second_name(adb: AdbEnvironment, phone: AdbDevice) -> Iterator[str]:
    """Another name by which adb lists the phone, as one on USB and Wi-Fi has two."""
    name = phone.address.replace("127.0.0.1", "localhost")
    adb.connect(name)
    yield name
    adb.run("disconnect", name)


def test_a_phone_with_two_names_is_measured_once(
    command: Command,
    phone: AdbDevice,
    second_name: str,
    output: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def said_of_names(*words: str) -> bool:
        assert command("--cases", "cpu-1", *words) == 0
        shown = capsys.readouterr().err
        if "one phone" not in shown:
            return False
        assert shown.count("are one phone, which is measured once, as") == 1
        assert phone.address in shown and second_name in shown
        return True

    assert said_of_names("--all")
    assert runs_on(phone) == 1 and len(rows_of(output)) == 1 and ours_on(phone) == []
    # Which phones are chosen, a dry run decides in the same way.
    assert said_of_names("--dry-run")
    assert said_of_names("--dry-run", "--serial", phone.address, "--serial", second_name)
    # A name that was asked for is used.
    assert not said_of_names("--dry-run", "--serial", second_name)


def test_phones_with_the_same_serial_number_are_two_phones(
    command: Command, make_phone: MakePhone, capsys: pytest.CaptureFixture[str]
) -> None:
    phones = [make_phone(serial="0123456789ABCDEF") for _ in range(2)]
    assert command("--cases", "cpu-1", "--all") == 0
    assert [runs_on(phone) for phone in phones] == [1, 1]
    assert "one phone" not in capsys.readouterr().err


def test_a_phone_on_usb_is_preferred(adb: AdbEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "read_identity", lambda device: "R58M boot")
    lines: list[str] = []
    names = ["192.168.1.5:5555", "adb-R58M-x (2)._adb-tls-connect._tcp", "R58M"]
    client = Adb(adb.adb, int(adb.variables["ANDROID_ADB_SERVER_PORT"]))
    assert harness.distinct_phones(client, names, lines.append) == ("R58M",)
    assert len(lines) == 1 and all(name in lines[0] for name in names)
    # An interrupted run of the phone by another name is resumed.
    known = {hashlib.sha256(names[0].encode()).hexdigest()}
    assert harness.distinct_phones(client, names, lines.append, known) == (names[0],)


def test_another_run_by_the_phone_s_other_name_is_refused(
    command: Command,
    adb: AdbEnvironment,
    phone: AdbDevice,
    second_name: str,
    arguments: list[str],
    output: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slow = [*arguments, "--cases", "cpu-1", "--min-seconds", "30", "--serial", phone.address]
    with started(slow, adb.variables) as process:
        wait_until(lambda: runs_on(phone) == 1)
        other = ["-o", str(output.with_name("other.json")), "--serial", second_name]
        assert command("--cases", "gpu", *other) == 1
        assert "is being measured by another run" in capsys.readouterr().err
        assert process.poll() is None and any("mm-face" in name for name in ours_on(phone))


@pytest.mark.parametrize("words", [["--dry-run"], []])
def test_without_adb_that_is_what_is_said(
    model: Path,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    for name in ("ADB", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    # Neither the missing benchmark_model nor the missing bundle matters yet.
    for bundle in (model, model.with_name("none.task")):
        assert main(["android-benchmark", str(bundle), "-o", str(output), *words]) == 1
        shown = capsys.readouterr().err
        assert "adb, which talks to phones, was not found" in shown
        assert "benchmark_model" not in shown


def test_a_dry_run_needs_no_free_name_for_a_result(
    command: Command, phone: AdbDevice, output: Path
) -> None:
    output.write_text("mine")
    assert command("--dry-run", "--cases", "cpu-1") == 0
    assert output.read_text() == "mine"


def test_a_dry_run_changes_nothing(
    command: Command, phone: AdbDevice, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--dry-run", "--cases", "big-4", "gpu") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(" push " in line and line.endswith("/benchmark_model") for line in lines)
    assert any("taskset f0 /data/local/tmp/mm-face-stylizer-" in line for line in lines)
    assert "rm -rf" in lines[-1] and all(f"-s {phone.address}" in line for line in lines)
    assert runs_on(phone) == 0 and ours_on(phone) == []
    assert not output.exists() and not state_of(output).exists()


# The app.


def install_runner(phone: AdbDevice, run: Callable[[Instrumentation], None]) -> None:
    phone.packages.runners[f"{App.PACKAGE}/{App.PACKAGE}.BenchmarkInstrumentation"] = run


@pytest.fixture
def app(
    command: Command, model: Path, face_models: FaceModels, grace_hopper_file: Path
) -> list[str]:
    """Arguments that measure with the app only."""
    bundle = model.with_name("tiny.task")
    TaskBundle.build(make_stylizer(32), face_models).save(bundle)
    apk = make_apk(model.with_name("x.apk"), App.PACKAGE, f"{App.PACKAGE}.BenchmarkInstrumentation")
    output = str(model.with_name("result.json"))
    return [str(bundle), "-o", output, *FAST, "--apk", str(apk), "--cases"]


def stand_in(run: Instrumentation) -> None:
    """Behaves as the README.md of the app describes, with the portable runtime."""
    import base64

    from android_harness.instrumentation import thumbnail
    from task_bundle import FaceStylizer, FaceStylizerOptions, load_image

    # Runners run inside the simulator, where paths are the host's.
    files = {name: Path(run.extras[name]) for name in ("bundle", "photo")}
    # The app runs as another user of the phone.
    assert all(path.stat().st_mode & 0o004 for path in files.values())
    assert files["photo"].parent.stat().st_mode & 0o005 == 0o005
    with FaceStylizer.create_from_model_path(
        files["bundle"], FaceStylizerOptions(backend="portable")
    ) as stylizer:
        face = stylizer.stylize(load_image(files["photo"]))
    assert face is not None
    run.results["result"] = json.dumps(
        {
            "version": 1,
            "library": "0.10.26",
            "creation_ms": 80.0,
            "first_call_ms": 30.0,
            "samples_ms": [20.0 + 0.1 * i for i in range(int(run.extras["runs"]))],
            "thumbnail": base64.b64encode(thumbnail(face.image).tobytes()).decode(),
        }
    )


def test_the_app_is_installed_run_and_removed(
    app: list[str], phone: AdbDevice, output: Path
) -> None:
    delegates = []

    def run(instrumentation: Instrumentation) -> None:
        delegates.append(instrumentation.extras["delegate"])
        assert App.PACKAGE in phone.packages.installed
        stand_in(instrumentation)

    install_runner(phone, run)
    assert main(["android-benchmark", *app]) == 0
    assert delegates == ["cpu", "gpu"]
    rows = rows_of(output)
    assert [(r.stage, r.runtime, r.settings.delegate) for r in rows] == [
        ("end_to_end", "tasks-vision", "xnnpack"),
        ("end_to_end", "tasks-vision", "gpu"),
    ]
    assert len(rows[0].rounds[0].samples_ms) == 50 and rows[0].parity[0].passed
    assert not phone.packages.installed and ours_on(phone) == []


def test_an_app_that_gives_another_picture_has_no_times(
    app: list[str], phone: AdbDevice, output: Path
) -> None:
    def run(instrumentation: Instrumentation) -> None:
        stand_in(instrumentation)
        values = json.loads(instrumentation.results["result"])
        values["thumbnail"] = "A" * 4096
        instrumentation.results["result"] = json.dumps(values)

    install_runner(phone, run)
    assert main(["android-benchmark", *app]) == 1
    assert all("wrong result" in row.error and not row.rounds for row in rows_of(output))


def test_an_app_that_crashes_is_told_and_removed(
    app: list[str], phone: AdbDevice, output: Path
) -> None:
    def run(_: Instrumentation) -> None:
        raise RuntimeError("UnsatisfiedLinkError: libmediapipe_tasks_vision_jni.so")

    install_runner(phone, run)
    assert main(["android-benchmark", *app]) == 1
    assert all("UnsatisfiedLinkError" in row.error for row in rows_of(output))
    assert not phone.packages.installed and ours_on(phone) == []


def test_an_app_that_the_phone_refuses_is_told(
    app: list[str], phone: AdbDevice, capsys: pytest.CaptureFixture[str]
) -> None:
    phone.packages.install_failure = "INSTALL_FAILED_USER_RESTRICTED: Install canceled by user"
    assert main(["android-benchmark", *app]) == 1
    assert "INSTALL_FAILED_USER_RESTRICTED" in capsys.readouterr().err
    assert ours_on(phone) == []


# Options.


def test_a_state_of_another_run_is_not_mixed_in(
    command: Command, phone: AdbDevice, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phone.thermal.cooling_per_second = 0.0
    phone.thermal.set_skin(45.0)
    assert command("--cases", "cpu-1", "--cool-down", "0") == 1
    assert command("--cases", "cpu-1", "--runs", "4") == 1
    assert "other bundles or options; --restart replaces it" in capsys.readouterr().err


def test_an_existing_result_is_not_replaced(
    command: Command, phone: AdbDevice, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output.write_text("{}")
    assert command("--cases", "cpu-1") == 1
    assert "pass --overwrite" in capsys.readouterr().err
    assert command("--cases", "cpu-1", "--overwrite") == 0


def test_a_binary_is_asked_for(
    command: Command, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["android-benchmark", str(model)]) == 1
    assert "--benchmark-model PATH" in capsys.readouterr().err


def test_no_phone_is_told(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 1
    assert "plug a phone in and switch on USB debugging" in capsys.readouterr().err


def test_the_published_binary_is_downloaded_once(
    command: Command,
    arguments: list[str],
    served: WebFolder,
    phone: AdbDevice,
    output: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = arguments.index("--benchmark-model")
    program = Path(arguments[at + 1])
    program.rename(served.path / "android_aarch64_benchmark_model")
    arguments[at : at + 2] = ["--download", "--download-url", served.url]
    assert command("--cases", "cpu-1", "--dry-run") == 1
    assert "a dry run downloads nothing" in capsys.readouterr().err
    assert command("--cases", "cpu-1") == 0
    (device,) = Report.load(output).devices
    assert len(device.versions["benchmark_model sha256"]) == 64
    (served.path / "android_aarch64_benchmark_model").unlink()
    assert command("--cases", "cpu-1", "--overwrite") == 0
