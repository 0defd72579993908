import json
import os
import threading

import pytest

from benchmarks.studies.model_maker import (
    Run,
    Turns,
    alternate,
    report,
)


class _Worker:
    """Answers like a worker process, from a thread, and logs its turns."""

    def __init__(self, log, name, turns):
        to_worker, from_worker = os.pipe(), os.pipe()
        self.pipes = os.fdopen(to_worker[1], "w"), os.fdopen(from_worker[0])
        self._in, self._out = os.fdopen(to_worker[0]), os.fdopen(from_worker[1], "w")
        self._arguments = log, name, turns
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        log, name, turns = self._arguments
        with self._in, self._out:
            for _ in range(turns):
                print(file=self._out, flush=True)
                if not self._in.readline():
                    return
                log.append(name)
            if turns:
                result = {"turns": [1.0], "losses": [2.0], "imported_gib": 1, "peak_gib": len(name)}
                print(json.dumps(result), file=self._out, flush=True)


def test_trainers_work_in_turns_until_both_are_done():
    log = []
    workers = [_Worker(log, "ours", 3), _Worker(log, "theirs", 5)]
    runs = alternate([worker.pipes for worker in workers])
    assert log == ["ours", "theirs"] * 3 + ["theirs"] * 2
    assert [run.peak_gib for run in runs] == [4, 6]


def test_a_trainer_that_fails_ends_the_benchmark():
    log = []
    workers = [_Worker(log, "ours", 2), _Worker(log, "theirs", 0)]
    with pytest.raises(RuntimeError, match="the google trainer failed"):
        alternate([worker.pipes for worker in workers])


def test_waiting_is_not_measured(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def hand_over():
        clock[0] += 1000.0

    turns = Turns(2, hand_over)
    turns.start()
    for _ in range(5):
        clock[0] += 1.0
        turns.step_done()
    turns.stop()
    assert turns.seconds == [2.0, 2.0, 1.0]


def test_report_compares_the_trainers():
    ours = Run([9.0, 4.0, 6.0, 5.0, 0.5], [3.0, 1.0], 0.5, 1.0)
    theirs = Run([20.0, 40.0, 60.0, 50.0, 3.0], [8.0, 6.0], 0.5, 4.0)
    figures = report([ours, theirs], steps_a_turn=10)
    assert figures["ours"]["create_seconds"] == 24.5
    assert figures["ours"]["step_seconds_median"] == 0.5
    assert figures["google_over_ours"] == {
        "create_seconds": round(173.0 / 24.5, 2),
        "step_seconds_median": 10.0,
        "peak_gib": 4.0,
    }
