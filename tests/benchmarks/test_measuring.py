import dataclasses
import os
import sys

import numpy as np
import pytest

from benchmarks import parity
from benchmarks.case import LITERT, ONE_CORE, PORTABLE, Case
from benchmarks.errors import BenchmarkError
from benchmarks.litert import convolutions
from benchmarks.measuring import Options, Target, measure, stage_cases
from benchmarks.messages import Failure, TimeRequest, Timing, WorkItem
from benchmarks.report import Report, Settings
from benchmarks.subject import LoadedSubject
from benchmarks.worker_client import ask
from task_bundle import TaskBundle

QUICK = Options(rounds=1, calls=3, warm_up=1, memory=False, plain=False, profile=False)


@pytest.fixture(scope="module")
def small() -> LoadedSubject:
    return LoadedSubject.of(convolutions(64, 3, 1), "small.tflite", "small")


@pytest.fixture(scope="module")
def bundle(face_models) -> LoadedSubject:
    made = TaskBundle.build(convolutions(64, 3, 1), face_models)
    return LoadedSubject.of(made.to_bytes(), "tiny.task", "tiny")


def case(subject: LoadedSubject, stage="stylizer", runtime=LITERT, **settings) -> Case:
    return Case(subject.description.name, stage, runtime, Settings(**settings))


def test_a_single_model_is_measured_in_interleaved_rounds(small, grace_hopper):
    threads = [case(small, threads=n, delegate="xnnpack") for n in (1, 2)]
    options = dataclasses.replace(QUICK, rounds=2, memory=True, profile=True)
    plain = case(small, threads=1, delegate="none")
    result = measure([Target(small, (*threads, plain))], [grace_hopper], options, {"photo": "x"})
    assert Report.from_json(result.to_json()) == result
    assert [row.error for row in result.rows] == [None] * 3
    for row in result.rows:
        assert [len(one.samples_ms) for one in row.rounds] == [3, 3]
        assert all(one.control_ms and one.creation_ms and one.first_call_ms for one in row.rounds)
        assert [p.against for p in row.parity] == [parity.PLAIN_KERNELS]
    assert result.rows[0].coverage is not None
    assert [one.operator for one in result.rows[0].profile] == ["CONV_2D"]
    assert result.rows[2].coverage is None
    memory = result.rows[0].memory
    assert memory is not None
    assert 0 < memory.baseline_bytes <= memory.steady_bytes <= memory.peak_bytes
    assert result.devices[0].cores >= 1
    assert result.devices[0].versions["ai-edge-litert"]


def test_a_bundle_is_measured_end_to_end(bundle, grace_hopper):
    cases = (
        case(bundle, "end_to_end", PORTABLE, threads=1, cores=ONE_CORE, photo=(512, 600)),
        case(bundle, "face_finding", PORTABLE),
        case(bundle, "crop", PORTABLE),
        case(bundle, "detector", threads=1, delegate="xnnpack"),
    )
    result = measure([Target(bundle, cases)], [grace_hopper], QUICK, {})
    assert [row.error for row in result.rows] == [None] * 4
    assert [row.parity[0].unit for row in result.rows] == [
        "grey levels",
        "pixels",
        "grey levels",
        "pixels",
    ]


def test_a_wrong_picture_fails_the_row(bundle, grace_hopper):
    end = case(bundle, "end_to_end", PORTABLE, threads=1)
    other = np.full((64, 64, 3), (255, 0, 255), np.uint8)
    target = Target(bundle, (end, case(bundle, threads=1, delegate="xnnpack")), stored=other)
    wrong, right = measure([target], [grace_hopper], QUICK, {}).rows
    assert wrong.error is not None
    assert "from stored picture" in wrong.error
    assert wrong.rounds == ()
    assert {p.against: p.passed for p in wrong.parity} == {
        parity.PLAIN_KERNELS: True,
        parity.STORED: False,
    }
    assert right.error is None


def test_pictures_are_compared_with_those_of_the_float32_export(small, grace_hopper):
    twin = LoadedSubject.of(small.content, "twin.tflite", "twin")
    two = LoadedSubject.of(convolutions(64, 3, 2), "two.tflite", "two")
    targets = [
        Target(small, (case(small, threads=1),)),
        Target(twin, (case(twin, threads=1),), float32="small"),
        Target(two, (case(two, threads=1),), float32="small"),
    ]
    rows = measure(targets, [grace_hopper], QUICK, {}).rows
    assert [len(row.parity) for row in rows] == [1, 2, 2]
    assert [row.error is None for row in rows] == [True, True, False]
    assert "float32" in str(rows[2].error)


def test_a_photo_without_a_face_fails_what_needs_one(bundle):
    gray = np.full((200, 200, 3), 128, np.uint8)
    cases = (
        case(bundle, "end_to_end", PORTABLE, threads=1),
        case(bundle, "detector", threads=1, delegate="xnnpack"),
    )
    failed, fine = measure([Target(bundle, cases)], [gray], QUICK, {}).rows
    assert "found 0 faces" in str(failed.error)
    assert fine.error is None


def test_the_death_of_a_process_is_one_case_s(small, tmp_path):
    np.save(tmp_path / "input.npy", np.zeros((1, 64, 64, 3), np.float32))
    (tmp_path / "small").write_bytes(small.content)
    good = WorkItem(case(small, threads=1), str(tmp_path / "small"), str(tmp_path / "input.npy"))
    # A missing file is an error of the benchmark and not of the case, so the process ends.
    bad = dataclasses.replace(good, file=str(tmp_path / "gone"))
    first, second, third = ask(TimeRequest((good, bad, good), 0, calls=2, warm_up=0, slow_down=1.0))
    for answer in (first, third):
        assert isinstance(answer, Timing)
        assert len(answer.samples_ms) == 2
    assert isinstance(second, Failure)
    assert "ends the process with status 1" in second.error


def test_every_stage_of_a_bundle_is_a_case(bundle, small, grace_hopper):
    cases = stage_cases(bundle, grace_hopper, Options())
    assert {"end_to_end", "face_finding", "crop", "detector", "landmarks", "stylizer"} == {
        c.stage for c in cases
    }
    assert {c.settings.photo for c in cases if c.stage == "end_to_end"} == {(512, 600)}
    assert {c.settings.delegate for c in cases if c.stage == "stylizer"} == {"xnnpack", "none"}
    assert {c.stage for c in stage_cases(small, grace_hopper, Options())} == {"stylizer"}


def test_names_that_tell_nothing_apart_are_refused(small, grace_hopper):
    with pytest.raises(BenchmarkError, match="two subjects are called 'small'"):
        measure([Target(small, ()), Target(small, ())], [grace_hopper], QUICK, {})


@pytest.mark.parametrize("options", [{"rounds": 0}, {"calls": 0}, {"warm_up": -1}])
def test_options_out_of_range_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))) as caught:
        Options(**options)
    assert isinstance(caught.value, BenchmarkError)


def test_workers_are_interpreters_whatever_they_print_first(
    small, grace_hopper, tmp_path, monkeypatch
):
    (tmp_path / "sitecustomize.py").write_text("print('hello\\nready', flush=True)\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    # As in an application that Python is embedded in.
    monkeypatch.setattr(sys, "executable", "")
    target = Target(small, (case(small, threads=1, delegate="xnnpack"),))
    result = measure([target], [grace_hopper], QUICK, {})
    assert [row.error for row in result.rows] == [None]


def test_without_an_interpreter_nothing_is_started(small, grace_hopper, monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    target = Target(small, (case(small, threads=1),))
    with pytest.raises(BenchmarkError, match="no Python interpreter .* .MM_FACE_STYLIZER_PYTHON"):
        measure([target], [grace_hopper], QUICK, {})
