"""A short run of the fuzzer of bundles; long ones are made on the command line."""

import re
import zlib
from collections.abc import Callable

import fuzzing
import pytest

from benchmarks.studies.fuzz_bundles import fuzz
from benchmarks.studies.fuzz_pictures import make_pictures
from task_bundle.bundle import TaskBundle
from task_bundle.media.images import load_image


@pytest.fixture
def bundle(make_stylizer, any_face_models) -> bytes:
    """A real bundle, with a small stylizer."""
    return TaskBundle.build(make_stylizer(16), any_face_models).to_bytes()


def test_damaged_bundles_cause_no_unexpected_errors(bundle: bytes, grace_hopper_file) -> None:
    report = fuzz([bundle], [*make_pictures(), grace_hopper_file.read_bytes()], range(80))
    assert report["findings"] == []
    assert sum(report["outcomes"].values()) == 80
    # Each stage has refused some cases.
    assert {"archive refused", "models refused", "refused by LiteRT", "loaded"} <= set(
        report["outcomes"]
    )


def test_its_pictures_are_sound(tmp_path) -> None:
    for content in make_pictures():
        (tmp_path / "picture").write_bytes(content)
        assert min(load_image(tmp_path / "picture").shape[:2]) == 32


def test_the_same_seed_does_the_same(bundle: bytes) -> None:
    first, again, other = (
        fuzz([bundle], [], range(10), seed, attempt=zlib.crc32)["outcomes"] for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("attempt", "problem"),
    [
        (fuzzing.crash, "the worker died with status -11"),
        (fuzzing.linger, r"took 2\.\d s"),
        (fuzzing.swell, r"took 1\d\d\d MiB"),
        (int, "ValueError: invalid literal"),
    ],
)
def test_unexpected_errors_are_reported(
    bundle: bytes, attempt: Callable[[bytes], object], problem: str
) -> None:
    findings = fuzz([bundle], [], [5], attempt=attempt)["findings"]
    assert [finding["case"] for finding in findings] == [5]
    assert re.search(problem, findings[0]["problem"])
