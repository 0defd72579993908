import numpy as np
import pytest

from benchmarks.studies.flicker import flicker, motions, stylized_video, summary
from task_bundle import FaceStylizer, TaskBundle


@pytest.fixture(scope="module")
def portrait(grace_hopper):
    return np.ascontiguousarray(grace_hopper[40:552:4, ::4])


MOTIONS = motions(8, seed=0)


def by_frame(stylize):
    """A video's stylizer that knows nothing of the frames before."""
    return lambda frames: [stylize(frame) for frame in frames]


def test_a_stylizer_that_moves_with_the_face_is_as_steady_as_the_photo(portrait):
    found = flicker(by_frame(lambda frame: frame), portrait, MOTIONS)
    assert found.stylized == pytest.approx(1) and found.moved == pytest.approx(1)
    brighter = flicker(by_frame(lambda frame: frame // 2 + 100), portrait, MOTIONS)
    assert brighter.stylized == pytest.approx(0.5, abs=0.1)
    assert brighter.moved == pytest.approx(0.5, abs=0.1)


def test_strokes_that_stand_still_or_come_and_go_flicker(portrait):
    random = np.random.default_rng(0)
    paper = random.integers(0, 120, portrait.shape, np.uint8)
    still = flicker(by_frame(lambda frame: frame // 2 + paper), portrait, MOTIONS)
    assert still.stylized > 1.5 * still.moved
    new = flicker(
        by_frame(lambda frame: frame // 2 + random.integers(0, 120, frame.shape, np.uint8)),
        portrait,
        MOTIONS,
    )
    assert new.stylized > 1.2 * still.moved


def test_motions_are_smooth_and_within_their_bounds():
    moves = np.stack(motions(60, seed=1))
    turns = np.degrees(np.arctan2(moves[:, 0, 1], moves[:, 0, 0]))
    assert 4 < np.abs(turns).max() <= 8 and 0.02 < np.abs(moves[:, :, 2]).max() <= 0.04
    assert np.abs(np.diff(turns)).max() < 1 and np.abs(np.diff(moves[:, :, 2], axis=0)).max() < 0.01
    assert (motions(60, seed=1)[5] == moves[5]).all() and (motions(60, seed=2)[5] != moves[5]).any()


def test_a_video_of_the_runtime_is_drawn_over_the_face(make_stylizer, face_models, grace_hopper):
    bundle = TaskBundle.build(make_stylizer(64), face_models)
    photo = np.ascontiguousarray(grace_hopper[:512])
    with FaceStylizer.create_from_bundle(bundle) as stylizer:
        drawn = stylized_video(stylizer, [photo, photo])
        face = stylizer.stylize(photo)
    changed = (drawn[0] != photo).any(axis=-1)
    x, y = int(face.crop.center_x), int(face.crop.center_y)
    reach = int(0.3 * face.crop.side)
    assert changed[y - reach : y + reach, x - reach : x + reach].mean() > 0.9
    np.testing.assert_array_equal(drawn[0], drawn[1])


def test_the_summary_has_median_quartiles_and_extremes():
    assert summary([1.0, 2.0, 3.0, 4.0, 10.0]) == {
        "median": 3.0, "lower_quartile": 2.0, "upper_quartile": 4.0, "least": 1.0, "largest": 10.0,
    }  # fmt: skip
