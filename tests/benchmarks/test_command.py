import argparse
import os
import subprocess
import sys

import numpy as np
import pytest
from reports import drifting_rounds, report, row

from benchmarks.command import configure_benchmark
from benchmarks.litert import convolutions
from benchmarks.report import Report
from task_bundle import FaceStylizer, TaskBundle, load_image, save_png
from task_bundle.command_line import run
from task_bundle.sample_photo import sample_photo


@pytest.fixture
def main():
    parser = argparse.ArgumentParser(prog="program")
    configure_benchmark(parser.add_subparsers().add_parser("benchmark"))

    def call(*words: object) -> int:
        return run(parser, ["benchmark", *map(str, words)])

    return call


@pytest.fixture
def result(tmp_path):
    path = tmp_path / "result.json"
    report(row(drifting_rounds(np.random.default_rng(0)), photo=(512, 600))).save(path)
    return path


def test_a_result_is_shown_and_written_in_every_form(main, result, tmp_path, capsys):
    assert main("render", result) == 0
    assert "end to end" in capsys.readouterr().out
    files = [tmp_path / "x.md", tmp_path / "x.csv"]
    stem = tmp_path / "plot"
    words = ["render", result, "--markdown", files[0], "--csv", files[1], "--plots", stem]
    assert main(*words) == 0
    assert capsys.readouterr().out.splitlines() == [f"{stem}-stages.png", f"{stem}-rounds.png"]
    assert all(path.stat().st_size for path in files)
    assert main(*words) == 1
    assert "pass --overwrite" in capsys.readouterr().err
    assert main(*words, "--overwrite") == 0


def test_the_exit_status_says_whether_it_became_slower(main, result, tmp_path, capsys):
    slow = tmp_path / "slow.json"
    report(row(drifting_rounds(np.random.default_rng(1), p50=60.0), photo=(512, 600))).save(slow)
    assert main("compare", result, result) == 0
    assert main("compare", result, slow) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("slower")
    assert main("compare", slow, result) == 0
    assert main("compare", result, slow, "--tolerance", "0.9") == 0


def test_a_model_is_measured_from_the_command_line(main, tmp_path, capsys):
    # A name that is not UTF-8.
    model, output = tmp_path / os.fsdecode(b"sm\xe4ll.tflite"), tmp_path / "result.json"
    model.write_bytes(convolutions(32, 3, 1))
    words = ["run", model, "-o", output, "--rounds", 1, "--calls", 2, "--no-memory"]
    assert main(*words) == 0
    assert "right (" in capsys.readouterr().out
    measured = Report.load(output)
    assert (measured.options["rounds"], measured.options["photo"]) == (1, "grace_hopper.jpg")
    assert [subject.file for subject in measured.subjects] == ["sm\ufffdll.tflite"]
    assert main(*words) == 1
    assert "already exists" in capsys.readouterr().err
    assert main(*words, "-o", tmp_path / "nowhere" / "x.json") == 1
    assert "no folder" in capsys.readouterr().err


def test_pictures_are_stored_once_and_compared_from_then_on(main, face_models, tmp_path):
    pictures, output = tmp_path / "pictures", tmp_path / "result.json"
    bundles = [tmp_path / f"{name}.task" for name in ("new", "wrong")]
    for bundle in bundles:
        TaskBundle.build(convolutions(32, 3, 1), face_models).save(bundle)
    with FaceStylizer.create_from_model_path(bundles[0]) as stylizer:
        expected = stylizer.stylize(sample_photo()).image
    pictures.mkdir()
    save_png(pictures / "wrong.png", 255 - expected)
    words = ["run", *bundles, "--pictures", pictures, "--rounds", 1, "--calls", 1, "--warm-up", 0]
    assert main(*words, "--no-memory", "--no-plain", "--no-profile", "-o", output) == 0
    np.testing.assert_allclose(load_image(pictures / "new.png").astype(int), expected, atol=2)
    np.testing.assert_array_equal(load_image(pictures / "wrong.png"), 255 - expected)
    rows = Report.load(output).rows
    for bundle in bundles:
        own = [row for row in rows if row.subject == bundle.stem]
        failed = {row.error is not None for row in own if row.stage == "end_to_end"}
        assert failed == {bundle.stem == "wrong"}
        assert not any(row.error for row in own if row.stage == "stylizer")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["compare", "a.json", "b.json"], "a.json"),
        (["render", "a.json"], "a.json"),
        (["run", "-o", "x.json"], "nothing to measure"),
        (["run", "a.task", "-o", "x.json"], "a.task"),
        (["run", "a.task", "-o", "x.json", "--warm-up", "-1"], "warm_up must be at least 0"),
    ],
)
def test_mistakes_are_one_line(main, words, complaint, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(*words) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_a_result_needs_a_file_but_a_quick_one(main, capsys):
    with pytest.raises(SystemExit):
        main("run", "a.task")
    assert "--output (or --quick)" in capsys.readouterr().err
    assert main("run", "a.task", "--quick") == 1
    assert "a.task" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--rounds", "--calls"])
def test_counts_that_are_not_positive_are_wrong_usage(main, option, capsys):
    with pytest.raises(SystemExit) as caught:
        main("run", "a.task", "-o", "x.json", option, "0")
    assert caught.value.code == 2
    assert "not a whole number of at least 1" in capsys.readouterr().err


def test_adding_the_command_imports_nothing_heavy():
    heavy = ("tensorflow", "mediapipe", "pydantic", "scipy", "matplotlib", "numpy")
    # Every program imports task_bundle.command_line before it adds any command.
    code = (
        "import sys, task_bundle.command_line; known = set(sys.modules); import benchmarks.command;"
        f" print([m for m in {heavy} if m in set(sys.modules) - known])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_extra_is_named(main, result, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "benchmarks.report", None)
    monkeypatch.setitem(sys.modules, "pydantic", None)
    monkeypatch.delitem(sys.modules, "benchmarks.report")
    monkeypatch.delitem(sys.modules, "benchmarks.tables", raising=False)
    assert main("render", result) == 1
    assert "mm-face-stylizer[benchmark]" in capsys.readouterr().err
