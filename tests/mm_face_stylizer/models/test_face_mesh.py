import numpy as np
import pytest
from litert import run_litert

from mm_face_stylizer._keras import tf
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from task_bundle.faces.alignment import FaceFinder
from task_bundle.faces.face_models import find_face_models

pytestmark = pytest.mark.usefixtures("face_models")


@pytest.fixture(scope="module")
def mesh():
    return FaceMeshFeatures(find_face_models().landmarks)


@pytest.fixture(scope="module")
def aligned(grace_hopper):
    with FaceFinder() as finder:
        crop = finder.find(grace_hopper)[0].crop.crop(grace_hopper, 256)
    return crop[np.newaxis].astype(np.float32) / 127.5 - 1.0


def test_landmarks_agree_with_litert(mesh, aligned):
    side = mesh.input_size
    resized = tf.image.resize((aligned + 1) / 2, (side, side)).numpy()
    outputs = run_litert(find_face_models().landmarks, resized)
    wanted = max(outputs, key=np.size).reshape(-1, 3)[:468] / side
    np.testing.assert_allclose(mesh(2 * resized - 1).landmarks[0], wanted, atol=2e-5)


def test_features_are_a_pyramid(mesh, aligned):
    features = mesh(aligned).features
    assert len(features) == 6
    assert [feature.shape[1] for feature in features] == list(mesh.feature_sides)
    assert all(np.std(feature) > 0 for feature in features)


def test_gradient_reaches_the_picture_and_no_weight_is_trainable(mesh, aligned):
    picture = tf.constant(aligned)
    with tf.GradientTape() as tape:
        tape.watch(picture)
        seen = mesh(picture)
        total = tf.reduce_sum(seen.landmarks) + tf.add_n(
            [tf.reduce_mean(feature) for feature in seen.features]
        )
    gradient = tape.gradient(total, picture).numpy()
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    assert not mesh.trainable_variables


def test_moving_the_face_moves_the_landmarks(mesh, aligned):
    moved = np.roll(aligned, 16, axis=2)
    shift = mesh(moved).landmarks[0, :, 0] - mesh(aligned).landmarks[0, :, 0]
    assert np.median(shift) == pytest.approx(16 / 256, abs=0.02)


def test_of_larger_pictures_it_sees_the_mean_of_pixels(mesh, aligned):
    larger = aligned.repeat(2, axis=1).repeat(2, axis=2)
    noise = np.tile([[0.3, -0.3], [-0.3, 0.3]], (256, 256))[..., np.newaxis]
    np.testing.assert_allclose(
        mesh(larger + noise.astype(np.float32)).landmarks, mesh(aligned).landmarks, atol=1e-5
    )


def test_a_model_that_is_no_face_mesh():
    with pytest.raises(ValueError, match="468"):
        FaceMeshFeatures(find_face_models().detector)
