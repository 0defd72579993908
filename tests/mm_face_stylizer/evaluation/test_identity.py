"""The identity space tells people apart, and rank-1 shares are what they say."""

import math

import cv2
import numpy as np
import pytest

from mm_face_stylizer.evaluation.identity import (
    IdentitySpace,
    describe_face,
    own_distance,
    own_similarity,
    rank_one,
    rank_one_by_distance,
)
from mm_face_stylizer.evaluation.identity_fit import fit, main, vary
from mm_face_stylizer.practice_faces import practice_pictures
from task_bundle.media.images import save_png


@pytest.fixture(scope="module")
def people():
    """Faces that the preset made up, uint8 [16, 256, 256, 3]."""
    return practice_pictures(256, 16)


@pytest.fixture(scope="module")
def space():
    return IdentitySpace.load()


def _darker(picture):
    return (picture * 0.6).astype(np.uint8)


def _mirrored(picture):
    return np.ascontiguousarray(picture[:, ::-1])


def _blurred(picture):
    return cv2.GaussianBlur(picture, (0, 0), 2)


def _posterised(picture):
    return picture // 64 * 80


@pytest.mark.parametrize("change", [_darker, _mirrored, _blurred, _posterised])
def test_people_are_found_again(change, people, space):
    changed = np.stack([change(person) for person in people])
    found = rank_one(space.embed(people), space.embed(changed), len(people))
    assert found.mean() >= 0.9


def test_strangers_are_not(people, space):
    embedded = space.embed(people)
    strangers = np.roll(embedded, 1, axis=0)
    assert rank_one(embedded, strangers, len(people)).mean() <= 0.1
    assert abs(own_similarity(embedded, strangers).mean()) < 0.3


def test_an_embedding_does_not_depend_on_the_resolution(people, space):
    small = np.stack([cv2.resize(p, (128, 128), interpolation=cv2.INTER_AREA) for p in people])
    assert rank_one(space.embed(people), space.embed(small), len(people)).mean() == 1
    assert describe_face(small[0]).shape == describe_face(people[0]).shape


def test_similarity_falls_as_a_face_is_lost(people, space):
    pictures = [np.stack([cv2.GaussianBlur(p, (0, 0), s) for p in people]) for s in (2, 4, 8)]
    embedded = space.embed(people)
    similar = [own_similarity(embedded, space.embed(some)).mean() for some in (people, *pictures)]
    assert similar[0] == pytest.approx(1)
    assert similar[0] > similar[1] > similar[2] > similar[3]


def test_rank_one_is_the_expectation_over_galleries():
    """Against galleries that are really drawn."""
    random = np.random.default_rng(0)
    gallery = random.standard_normal((12, 3))
    queries = gallery + random.standard_normal((12, 3))
    exact = rank_one(gallery, queries, 4)
    gallery, queries = (
        centred / np.linalg.norm(centred, axis=1, keepdims=True)
        for centred in (gallery - gallery.mean(axis=0), queries - queries.mean(axis=0))
    )
    similarity = queries @ gallery.T
    for person in range(12):
        others = [other for other in range(12) if other != person]
        won = [
            similarity[person, person]
            > similarity[person, random.choice(others, 3, replace=False)].max()
            for _ in range(4000)
        ]
        assert exact[person] == pytest.approx(np.mean(won), abs=0.04)


def test_more_people_are_harder():
    random = np.random.default_rng(0)
    gallery = random.standard_normal((40, 4))
    queries = gallery + random.standard_normal((40, 4))
    shares = [rank_one(gallery, queries, people).mean() for people in (2, 10, 40, 99)]
    assert shares[0] > shares[1] > shares[2] == shares[3]
    assert set(rank_one(gallery, queries, 40)) <= {0.0, 1.0}


def test_equal_embeddings_tell_nobody_apart():
    same = np.ones((5, 3))
    assert rank_one(same, same, 5).max() == 0


def test_a_style_may_move_all_faces():
    random = np.random.default_rng(0)
    gallery = random.standard_normal((20, 8))
    assert rank_one(gallery, gallery + 100.0, 20).mean() == 1


def test_fitting_learns_what_does_not_tell_people_apart():
    """Half of the variations are mirrored, and so the symmetric part of a face must come to count.

    These faces are about as asymmetric as they are symmetric.
    """
    shades = np.random.default_rng(0).uniform(0, 255, (40, 8, 8, 3))
    opposite = shades[:, :, ::-1]
    mixed = (shades + opposite) / 2 + 0.7 * (shades - opposite) / 2
    coarse = np.clip(mixed, 0, 255).astype(np.uint8)
    faces = np.stack([cv2.resize(f, (64, 64), interpolation=cv2.INTER_CUBIC) for f in coarse])
    weights = fit(faces, 4)
    assert weights["projection"].shape == (6900, 39)
    space = IdentitySpace(
        *(weights[name].astype(np.float32) for name in ("centre", "projection")), "", ""
    )
    mirrored = np.stack([_mirrored(face) for face in faces])
    plain, changed = (
        np.stack([describe_face(face) for face in some]).astype(float) for some in (faces, mirrored)
    )
    assert rank_one(plain, changed, 40).mean() < 0.2
    assert rank_one(space.embed(faces), space.embed(mirrored), 40).mean() > 0.5


def test_variations_are_drawn_from_the_seed():
    face = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    varied = [vary(face, np.random.default_rng(seed)) for seed in (*range(12), 0)]
    assert all(one.shape == face.shape and one.dtype == np.uint8 for one in varied)
    assert (varied[0] == varied[-1]).all()
    assert all((one != varied[0]).any() for one in varied[1:-1])


def test_fitting_leaves_held_out_files_and_sources_alone(tmp_path):
    """They are damaged: reading them would fail."""
    random = np.random.default_rng(0)
    for number in (1, 2, 3, 4):
        save_png(tmp_path / f"{number}.png", random.integers(0, 256, (32, 32, 3), np.uint8))
    for name in ("10.png", "5.png"):
        (tmp_path / name).write_bytes(b"damaged")
    listing = tmp_path / "faces.csv"
    rows = [f"{n}.png,{'secret_a' if n == 5 else 'open'}" for n in (1, 2, 3, 4, 5, 10)]
    listing.write_text("\n".join(["file,source", *rows]))
    output = tmp_path / "x.npz"
    arguments = ["--data", str(tmp_path), "--data-list", str(listing), "--leave-out", "secret"]
    assert main([*arguments, "--variations", "1", "-o", str(output)]) == 0
    with np.load(output) as weights:
        assert weights["projection"].shape == (6900, 3)
        assert math.isfinite(weights["projection"].astype(float).sum())


def test_nearest_by_distance_is_not_nearest_by_angle():
    gallery = np.array([[0.0, 1.0], [0.0, 5.0], [9.0, 0.0]])
    queries = np.array([[0.0, 1.5], [0.0, 2.0], [6.0, 0.0]])
    assert own_distance(gallery, queries).tolist() == [0.5, 3.0, 3.0]
    # The second query is nearer to the first person, who is in one of its two galleries of two.
    assert rank_one_by_distance(gallery, queries, 3).tolist() == [1, 0, 1]
    assert rank_one_by_distance(gallery, queries, 2).tolist() == [1, 0.5, 1]
    assert rank_one_by_distance(gallery, queries[[1, 0, 2]], 3).tolist() == [1, 0, 1]
