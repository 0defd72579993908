import json
from pathlib import Path

import pytest

from android_harness.errors import AndroidError
from android_harness.state import CaseRecord, PhoneRecord, StateFile
from benchmarks.report import Aggregate, Device, Round, Settings

BEGAN = "2026-11-21T12:00:00Z"
PHONE = Device("Pixel", "phone", "GS101", "arm64-v8a", 8, "Android 14 (API 34)")


def test_what_was_measured_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "x.state"
    file = StateFile.open(path, "f", BEGAN, restart=False)
    record = CaseRecord("s", "stylizer", "benchmark_model", Settings(threads=1))
    record.rounds = (Round(aggregate=Aggregate(3, 1.5)),)
    with file.change() as state:
        state.phones["k"] = PhoneRecord(PHONE, {"s/stylizer/cpu-1": record})
    with StateFile.open(path, "f", "2026-11-22T12:00:00Z", restart=False).read() as state:
        assert state.began == BEGAN
        assert state.phones["k"].cases["s/stylizer/cpu-1"] == record


def test_states_of_other_runs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.state"
    with StateFile.open(path, "f", BEGAN, restart=False).change():
        pass
    with pytest.raises(AndroidError, match="other bundles or options; --restart replaces it"):
        StateFile.open(path, "g", BEGAN, restart=False)
    with StateFile.open(path, "g", BEGAN, restart=True).read() as state:
        assert not state.phones


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\x00", b'{"fingerprint": 3}'])
def test_damaged_states_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.state"
    path.write_bytes(content)
    with pytest.raises(AndroidError, match="not the state of an interrupted run"):
        StateFile.open(path, "f", BEGAN, restart=False)


def test_a_dry_run_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.state"
    path.write_bytes(
        json.dumps({"fingerprint": "f", "began": BEGAN, "seconds": 1.0, "phones": {}}).encode()
    )
    file = StateFile.open(path, "f", BEGAN, restart=False, keep=False)
    before = path.read_bytes()
    with file.change() as state:
        state.seconds = 99.0
    file.remove()
    assert path.read_bytes() == before
