import numpy as np
from litert import assert_same_as_litert

from mm_face_stylizer._keras import keras
from mm_face_stylizer.models.patch_discriminator import Discriminator


def _discriminator():
    discriminator = Discriminator(width=0.25)
    discriminator.build()
    return discriminator


def test_logits_and_features_follow_the_pictures_side():
    discriminator = _discriminator()
    image = np.zeros((2, 128, 64, 3), np.float32)
    assert discriminator(image).shape == (2, 4, 2, 1)
    sides = [feature.shape[1] for feature in discriminator.features(image)]
    assert sides == [64, 32, 16, 8, 4, 4]


def test_discriminator_exports_to_litert():
    image = keras.Input((64, 64, 3), batch_size=1)
    photo = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    assert_same_as_litert(keras.Model(image, _discriminator()(image)), [photo], atol=1e-4)
