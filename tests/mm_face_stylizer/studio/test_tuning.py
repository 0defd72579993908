"""Tests of mm_face_stylizer.studio.tuning, with a program that says what the tuner says."""

import time

import pytest

from mm_face_stylizer.studio.tuner import TuningJob
from mm_face_stylizer.studio.tuning import Tuning, TuningState
from task_bundle.bundle import TaskBundle

_PATIENCE = 60.0


def _wait(tuning: Tuning, until) -> TuningState:
    deadline = time.monotonic() + _PATIENCE
    while not until(state := tuning.state):
        assert time.monotonic() < deadline, state
        time.sleep(0.01)
    return state


def test_a_job_is_read_as_it_was_written(job: TuningJob, tmp_path) -> None:
    job.save(tmp_path / "job.json")
    assert TuningJob.load(tmp_path / "job.json") == job


def test_it_tells_how_far_it_is(stand_in, job, tmp_path) -> None:
    stand_in("finish")
    with Tuning(job, tmp_path) as tuning:
        begun = _wait(tuning, lambda state: state.step >= 4 or not state.running)
        state = _wait(tuning, lambda state: not state.running)
    assert begun.seconds_left is not None and 0 <= begun.seconds_left < _PATIENCE
    assert (state.step, state.steps, state.error) == (5, 5, None)
    assert state.preview is not None and state.preview.is_file() and state.preview_step == 1
    assert state.bundle is not None
    TaskBundle.open(state.bundle)


def test_stopping_keeps_what_is_there(stand_in, job, tmp_path) -> None:
    stand_in("wait")
    with Tuning(job, tmp_path) as tuning:
        _wait(tuning, lambda state: state.step >= 2)
        tuning.stop()
        tuning.stop()
        state = _wait(tuning, lambda state: not state.running)
    assert state.bundle is not None and state.bundle.is_file() and state.error is None
    assert state.step < state.steps


def test_stopping_before_the_first_step_leaves_nothing(stand_in, job, tmp_path) -> None:
    stand_in("hang")
    with Tuning(job, tmp_path) as tuning:
        tuning.stop()
        state = _wait(tuning, lambda state: not state.running)
    assert (state.bundle, state.error, state.step) == (None, None, 0)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("refuse", "ink.png is no use"),
        ("crash", "the process ended with status 3: MemoryError: too big"),
    ],
)
def test_why_it_failed(mode: str, reason: str, stand_in, job, tmp_path) -> None:
    stand_in(mode)
    with Tuning(job, tmp_path) as tuning:
        state = _wait(tuning, lambda state: not state.running)
    assert (state.bundle, state.error) == (None, reason)


def test_closing_ends_the_process(stand_in, job, tmp_path) -> None:
    stand_in("wait")
    tuning = Tuning(job, tmp_path)
    _wait(tuning, lambda state: state.step >= 1)
    tuning.close()
    tuning.close()
    assert not tuning.state.running and tuning.state.bundle is None
