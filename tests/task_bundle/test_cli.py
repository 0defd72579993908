"""Tests of task_bundle.cli."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from task_bundle import cli
from task_bundle.archive import FACE_STYLIZER, write_archive
from task_bundle.bundle import TaskBundle
from task_bundle.cache import CACHE_VARIABLE
from task_bundle.errors import FaceModelsError

_REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def stylizer_file(tmp_path: Path, make_stylizer) -> Path:
    """A stylizer on disk."""
    path = tmp_path / "x.tflite"
    path.write_bytes(make_stylizer(64))
    return path


@pytest.fixture
def bundle_file(tmp_path: Path, make_stylizer, any_face_models) -> Path:
    """A bundle on disk."""
    path = tmp_path / "x.task"
    TaskBundle.build(make_stylizer(64), any_face_models).save(path)
    return path


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("task-bundle: error: ")
    return lines[0]


def test_build_writes_a_bundle(
    wheel_models, stylizer_file: Path, bundle_file: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out.task"
    build = ["build", "--stylizer", str(stylizer_file), "-o", str(out)]
    assert cli.main(build) == 0
    assert out.read_bytes() == bundle_file.read_bytes()
    capsys.readouterr()
    assert cli.main(build) == 1
    assert "out.task already exists" in _error(capsys)
    assert cli.main([*build, "--overwrite", "--face-landmarker", str(bundle_file)]) == 0
    assert out.read_bytes() == bundle_file.read_bytes()


def test_inspect_prints_files_and_tensors(bundle_file: Path, capsys) -> None:
    assert cli.main(["inspect", str(bundle_file), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["size"] == bundle_file.stat().st_size
    stylizer = report["entries"][-1]
    assert stylizer["name"] == FACE_STYLIZER
    assert stylizer["model"]["inputs"][0]["shape"] == [1, 64, 64, 3]
    assert stylizer["model"]["parameters"] == 12
    assert stylizer["metadata"]["name"] == "FaceStylizer"
    assert cli.main(["inspect", str(bundle_file)]) == 0
    shown = capsys.readouterr().out
    assert "CONV_2D 1" in shown and "face_detector.tflite" in shown


def test_inspect_escapes_control_characters(tmp_path: Path, make_stylizer, capsys) -> None:
    model = make_stylizer(16).replace(b"stylized", b"\x1b[31mred")
    (tmp_path / "x.task").write_bytes(write_archive({"a.tflite": model, "b.bin": b"?"}))
    assert cli.main(["inspect", str(tmp_path / "x.task")]) == 0
    shown = capsys.readouterr().out
    assert "?[31mred" in shown and "b.bin: 1 bytes" in shown and "\x1b" not in shown


def test_validate_reports_defects(face_models, tmp_path: Path, make_stylizer, capsys) -> None:
    bundle_file = tmp_path / "x.task"
    TaskBundle.build(make_stylizer(64), face_models).save(bundle_file)
    assert cli.main(["validate", str(bundle_file)]) == 0
    assert capsys.readouterr().out == f"{bundle_file}: a face stylizer bundle, safe to load\n"
    with zipfile.ZipFile(tmp_path / "faces.task", "w") as made:
        made.writestr("face_detector.tflite", face_models.detector)
    assert cli.main(["validate", str(tmp_path / "faces.task")]) == 0
    shown = capsys.readouterr().out
    assert "archive of 1 models, none a stylizer, safe to load" in shown
    assert "note: face_detector.tflite is not aligned to 4 bytes" in shown
    bad = TaskBundle.open(bundle_file).replace(FACE_STYLIZER, make_stylizer(64))
    bad.save(tmp_path / "bad.task")
    assert cli.main(["validate", str(tmp_path / "bad.task")]) == 1
    assert "bad.task has no normalization" in _error(capsys)


def test_a_heavy_model_gets_more_time_when_asked(
    face_models, tmp_path: Path, make_stylizer, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    heavy, stylizer = tmp_path / "heavy.task", tmp_path / "heavy.tflite"
    # Not a model that another test of this process has checked.
    stylizer.write_bytes(make_stylizer(512, gain=0.4375))
    build = ["build", "--stylizer", str(stylizer), "-o", str(heavy)]
    assert cli.main([*build, "--check-seconds", "0.001"]) == 1
    assert "takes more than 0.001 s; a heavy model that you trust gets more time" in _error(capsys)
    assert not heavy.exists()
    assert cli.main([*build, "--check-seconds", "60"]) == 0
    # That it has passed is remembered.
    assert cli.main(["validate", str(heavy), "--check-seconds", "0.001"]) == 0
    with pytest.raises(SystemExit):
        cli.main(["validate", str(heavy), "--check-seconds", "0"])


def test_extract_writes_the_models(bundle_file: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "deep" / "models"
    assert cli.main(["extract", str(bundle_file), str(folder)]) == 0
    entries = TaskBundle.open(bundle_file).entries()
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == entries
    (folder / FACE_STYLIZER).write_bytes(b"mine")
    (folder / "face_detector.tflite").unlink()
    capsys.readouterr()
    assert cli.main(["extract", str(bundle_file), str(folder)]) == 1
    assert FACE_STYLIZER in _error(capsys)
    assert not (folder / "face_detector.tflite").exists()
    assert cli.main(["extract", str(bundle_file), str(folder), "--overwrite"]) == 0
    assert (folder / FACE_STYLIZER).read_bytes() == entries[FACE_STYLIZER]


def test_extract_into_a_file(bundle_file: Path, stylizer_file: Path, capsys) -> None:
    assert cli.main(["extract", str(bundle_file), str(stylizer_file)]) == 1
    assert "x.tflite is not a folder" in _error(capsys)


def test_failures_are_one_line(tmp_path: Path, stylizer_file: Path, capsys) -> None:
    assert cli.main(["inspect", str(tmp_path / "none.task")]) == 1
    assert "none.task" in _error(capsys)
    assert cli.main(["inspect", str(stylizer_file)]) == 1
    assert "x.tflite" in _error(capsys)
    out = str(tmp_path / "out.task")
    assert cli.main(["build", "--stylizer", str(tmp_path / "none.tflite"), "-o", out]) == 1
    assert "none.tflite" in _error(capsys)
    nowhere = str(tmp_path / "nowhere" / "out.task")
    landmarker = str(tmp_path / "none.task")
    build = ["build", "--stylizer", str(stylizer_file), "--face-landmarker", landmarker]
    assert cli.main([*build, "-o", nowhere]) == 1
    assert "none.task" in _error(capsys)


def test_wrong_usage(capsys) -> None:
    for arguments in (["paint"], ["build"], ["inspect"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 2
        assert "task-bundle" in capsys.readouterr().err


def test_download_stores_the_face_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(cli, "download_face_landmarker", lambda: tmp_path / "f.task")
    assert cli.main(["download-face-landmarker"]) == 0
    assert "f.task" in capsys.readouterr().out

    def fail() -> Path:
        raise FaceModelsError("cannot download:\nno network")

    monkeypatch.setattr(cli, "download_face_landmarker", fail)
    assert cli.main(["download-face-landmarker"]) == 1
    assert _error(capsys).endswith("cannot download: no network")


def test_ctrl_c_is_one_line_and_status_130(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def interrupt() -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "download_face_landmarker", interrupt)
    assert cli.main(["download-face-landmarker"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fail() -> Path:
        raise ValueError("not enough values to unpack")

    monkeypatch.setattr(cli, "download_face_landmarker", fail)
    assert cli.main(["download-face-landmarker"]) == 70
    assert capsys.readouterr().err == (
        "task-bundle: internal error: ValueError: not enough values to unpack"
        " (run again with --debug for the traceback)\n"
    )


def test_debug_shows_the_traceback_of_a_mistake(tmp_path: Path, capsys) -> None:
    for command in (["--debug", "inspect"], ["inspect", "--debug"]):
        assert cli.main([*command, str(tmp_path / "none.task")]) == 1
        first, *_, last = capsys.readouterr().err.splitlines()
        assert first.startswith("Traceback") and last.startswith("task-bundle: error: ")


def test_python_m_runs_the_command(bundle_file: Path) -> None:
    command = [sys.executable, "-m", "task_bundle", "inspect", str(bundle_file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=_REPOSITORY, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{bundle_file}: ")


def test_a_warning_of_the_check_is_one_line(bundle_file: Path, tmp_path: Path) -> None:
    program = (
        "import sys; sys.frozen = True; from task_bundle.cli import main;"
        f" sys.exit(main(['validate', {str(bundle_file)!r}]))"
    )
    environment = {**os.environ, CACHE_VARIABLE: str(tmp_path / "cache")}
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=_REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [
        line for line in result.stderr.splitlines() if not line.startswith(("INFO: ", "W0000"))
    ]
    assert [line.partition(" in this process")[0] for line in lines] == [
        "task-bundle: warning: models are checked"
    ]
