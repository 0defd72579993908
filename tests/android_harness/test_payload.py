from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conv_model import make_stylizer

from android_harness.payload import Payload, payloads_of
from benchmarks.subject import LoadedSubject
from task_bundle.errors import BundleError


@pytest.fixture
def payload(tmp_path: Path, grace_hopper: npt.NDArray[np.uint8]) -> Payload:
    path = tmp_path / "identity.tflite"
    path.write_bytes(make_stylizer(32))
    (payload,) = payloads_of(LoadedSubject.load(path), grace_hopper)
    return payload


def test_the_right_result_is_computed_here(payload: Payload) -> None:
    values = np.frombuffer(payload.input_values, np.float32)
    assert payload.input_shape == (1, 32, 32, 3)
    assert values.size == 32 * 32 * 3 and 0.5 < values.max() <= 1.0 and values.min() >= 0.0
    # The model is the identity.
    assert payload.compare(payload.input_values).passed


def test_a_little_noise_passes_and_a_wrong_picture_does_not(payload: Payload) -> None:
    values = np.frombuffer(payload.input_values, np.float32)
    noisy = payload.compare((values + 0.002).tobytes())
    assert noisy.passed and noisy.unit == "grey levels" and noisy.mean == pytest.approx(0.51)
    assert not payload.compare((values + 0.01).tobytes()).passed
    assert not payload.compare(np.zeros_like(values).tobytes()).passed


@pytest.mark.parametrize("change", ["short", "long", "empty", "nan"])
def test_bytes_that_are_no_result_do_not_pass(payload: Payload, change: str) -> None:
    values = np.frombuffer(payload.input_values, np.float32).copy()
    output = {
        "short": values.tobytes()[:-4],
        "long": values.tobytes() + b"\0\0\0\0",
        "empty": b"",
        "nan": np.where(values > 0.5, np.nan, values).tobytes(),
    }[change]
    assert not payload.compare(output).passed


def test_models_that_take_no_picture_are_refused(
    tmp_path: Path, grace_hopper: npt.NDArray[np.uint8]
) -> None:
    path = tmp_path / "gray.tflite"
    path.write_bytes(make_stylizer(shape=[1, 8, 8, 1]))
    with pytest.raises(BundleError, match=r"one picture \[1, height, width, 3\]"):
        payloads_of(LoadedSubject.load(path), grace_hopper)
