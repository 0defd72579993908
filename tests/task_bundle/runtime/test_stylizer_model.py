"""Tests of task_bundle.runtime.stylizer_model."""

import numpy as np
import pytest

from task_bundle.errors import BundleError
from task_bundle.runtime.stylizer_model import StylizerModel
from task_bundle.tflite import metadata


@pytest.fixture
def crop() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def test_it_runs_the_network(make_stylizer, crop: np.ndarray) -> None:
    model = StylizerModel(make_stylizer(16, gain=0.5), threads=2)
    assert model.input_size == (16, 16)
    picture = model.run(crop)
    assert picture.dtype == np.uint8 and picture.shape == (16, 16, 3)
    # Rounded to even, as MediaPipe does.
    np.testing.assert_array_equal(picture, np.rint(crop / 2))
    first = picture.copy()
    model.run(255 - crop)
    np.testing.assert_array_equal(picture, first)


def test_values_out_of_range_are_clipped(make_stylizer, crop: np.ndarray) -> None:
    np.testing.assert_array_equal(
        StylizerModel(make_stylizer(16, gain=2.0)).run(crop), np.minimum(2 * crop.astype(int), 255)
    )
    assert StylizerModel(make_stylizer(16, gain=-1.0)).run(crop).max() == 0


def test_pixels_are_normalized_as_the_metadata_say(make_stylizer, crop, monkeypatch) -> None:
    model = metadata.stylizer_metadata(make_stylizer(16))
    np.testing.assert_array_equal(StylizerModel(model).run(crop), crop)
    monkeypatch.setattr(metadata, "NORM_MEAN", 127.5)
    monkeypatch.setattr(metadata, "NORM_STD", 127.5)
    other = StylizerModel(metadata.stylizer_metadata(make_stylizer(16)))
    wanted = np.clip((crop - 127.5) / 127.5, 0, 1) * 255
    np.testing.assert_allclose(other.run(crop), wanted, atol=0.51)


def test_models_that_cannot_run_are_refused(make_stylizer, crop: np.ndarray) -> None:
    with pytest.raises(BundleError, match="uint8"):
        StylizerModel(make_stylizer(16, dtype="UINT8"))
    with pytest.raises(BundleError, match="LiteRT cannot run.*Nonsense"):
        StylizerModel(make_stylizer(16, custom_op="Nonsense"))
    with pytest.raises(BundleError, match="finite"):
        StylizerModel(make_stylizer(16, gain=float("nan"))).run(crop)
