import numpy as np
import pytest
from litert import assert_same_as_litert

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.export import convert
from mm_face_stylizer.models.blaze_stylegan.encoder import EncoderConfig, build_encoder
from task_bundle.tflite.model import describe

_TINY = EncoderConfig(input_size=64, image_size=32, width=0.25, synthesis_width=0.25)


def _batch_of_one(encoder):
    """A model of the encoder's outputs beside each other, in multiples of the greatest value."""
    image = keras.Input(encoder.input_shape[1:], batch_size=1)
    outputs = encoder(image, training=False)
    scales = [np.abs(value).max() for value in encoder(_photo()).values()]
    parts = [tf.reshape(o / s, (1, -1)) for o, s in zip(outputs.values(), scales, strict=True)]
    return keras.Model(image, tf.concat(parts, axis=1))


def _photo(side=64):
    return np.random.default_rng(0).uniform(-1, 1, (1, side, side, 3)).astype(np.float32)


def test_budget_at_256():
    info = describe(convert(build_encoder(), [(1, 256, 256, 3)], "float32"))
    assert info.parameters <= 1.44e6
    assert info.macs <= 0.60e9


def test_outputs_by_configuration():
    outputs = build_encoder(_TINY).output
    assert outputs["inputs"].shape == (None, 6, 512)
    assert outputs["spatial_8"].shape[1:3] == (8, 8)
    assert outputs["spatial_16"].shape[1:3] == (16, 16)
    pure = build_encoder(EncoderConfig(64, 32, (), width=0.25)).output
    assert list(pure) == ["inputs"]
    finer = build_encoder(EncoderConfig(64, 32, (8, 16, 32, 64), width=0.25)).output
    for side in (8, 16, 32, 64):
        assert finer[f"spatial_{side}"].shape[1:3] == (side, side)
    with pytest.raises(ValueError, match="8, 16, 32, 64, but 4"):
        build_encoder(EncoderConfig(64, 32, (4, 8), width=0.25))


def test_encoder_exports_to_litert():
    encoder = build_encoder(_TINY)
    # Away from the zero initialization and from trivial statistics.
    random = np.random.default_rng(0)
    encoder.set_weights(
        [
            value + 0.1 * np.abs(random.standard_normal(value.shape))
            for value in encoder.get_weights()
        ]
    )
    outputs = encoder(_photo())
    assert list(outputs) == ["inputs", "spatial_8", "spatial_16"]
    for name, value in outputs.items():
        assert np.ptp(value) > 0.01 * np.abs(value).max(), f"{name} is all but constant"
    assert_same_as_litert(_batch_of_one(encoder), [_photo()], atol=1e-3)


def test_spatial_latents_start_at_zero():
    outputs = build_encoder(_TINY)(_photo())
    assert not np.any(outputs["spatial_8"]) and not np.any(outputs["spatial_16"])
    assert np.any(outputs["inputs"])


@pytest.mark.parametrize("size", [0, 32, 100])
def test_input_size_must_be_a_multiple_of_64(size):
    with pytest.raises(ValueError, match=f"multiple of 64.*{size}"):
        build_encoder(EncoderConfig(input_size=size))
