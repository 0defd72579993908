import dataclasses

import cv2
import numpy as np
import pytest

from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.practice_faces import practice_pictures
from mm_face_stylizer.training.face_swap.teacher import spectacles, swap_faces

pytestmark = pytest.mark.usefixtures("face_models")


@pytest.fixture(scope="module")
def people(face_models):
    with PortraitFinder(face_models) as finder:
        return [finder.find_aligned(picture) for picture in practice_pictures(256, 3)]


def test_only_the_face_changes_and_it_becomes_the_others(people):
    source, target = people[:2]
    pair = swap_faces(source, target)
    change = np.abs(pair.picture.astype(int) - target.pixels).max(axis=2)
    assert change[pair.mask == 0].max() <= 1
    assert change[pair.mask > 0.9].mean() > 4
    # Hair, clothes and background stay.
    for part in ("hair", "clothes", "background"):
        inside = target.parts[part] > 0.95
        assert not inside.any() or pair.mask[inside].mean() < 0.2, part
    nose_and_chin = target.landmarks[[4, 200]].astype(int)
    assert all(pair.mask[y, x] > 0.9 for x, y in nose_and_chin)
    assert 0.0 <= pair.quality <= 1.0


def test_the_light_is_the_targets(people):
    source, target = people[:2]
    dark = dataclasses.replace(target, picture=target.picture * np.float32(0.4))
    swapped = swap_faces(source, dark)
    inside = swapped.mask > 0.9
    found, wanted = (x[inside].mean() / 255 for x in (swapped.picture, dark.pixels))
    assert found == pytest.approx(wanted, abs=0.03)
    assert source.picture[inside].mean() > 1.5 * wanted


def test_a_person_stays_himself(people):
    person = people[0]
    pair = swap_faces(person, person)
    assert np.abs(pair.picture.astype(int) - person.pixels).mean() < 1.5


def test_closed_eyes_stay_closed(people):
    source, target = people[:2]
    points = source.landmarks.copy()
    points[[159, 386]] = points[[145, 374]]
    eyes = target.parts["eyes"] > 0.95
    blinking = dataclasses.replace(source, landmarks=points)
    masks = [swap_faces(person, target).mask[eyes].mean() for person in (source, blinking)]
    assert masks[0] > 0.6 and masks[1] < 0.2


def test_pairs_that_failed_have_a_low_quality(people):
    source, target = people[:2]
    good = swap_faces(source, target).quality
    hair = source.parts | {"hair": np.ones_like(source.parts["hair"])}
    assert swap_faces(dataclasses.replace(source, parts=hair), target).quality == 0.0
    moved = source.landmarks.copy()
    moved[:, 0] = source.landmarks[:, 0].max() - moved[:, 0]
    folded = dataclasses.replace(source, landmarks=moved)
    assert swap_faces(folded, target).quality < 0.5 * good
    found, nose = [], int(source.landmarks[4, 0])
    for half in (slice(None, nose), slice(nose, None)):
        picture = source.picture.copy()
        picture[:, half] *= 0.05
        found.append(swap_faces(dataclasses.replace(source, picture=picture), target).quality)
    # The target's own light comes from one side.
    assert min(found) < 0.5 * good


def test_spectacles_are_found_and_kept(people):
    source, target = people[0], people[2]
    picture = (target.picture * 255).astype(np.uint8)
    for eye in ((33, 133), (263, 362)):
        middle = target.landmarks[list(eye)].mean(axis=0).round().astype(int)
        cv2.ellipse(picture, tuple(map(int, middle)), (24, 18), 0, 0, 360, (20, 20, 20), 3)
    bridge = target.landmarks[[133, 362]].round().astype(int)
    cv2.line(picture, *(tuple(map(int, point)) for point in bridge), (20, 20, 20), 3)
    wearing = dataclasses.replace(target, picture=picture.astype(np.float32) / 255)
    assert spectacles(target) < 1.0 < spectacles(wearing)
    swapped = swap_faces(source, wearing)
    # Below the eye, away from lashes.
    x, y = target.landmarks[[33, 133]].mean(axis=0).round().astype(int) + (0, 18)
    assert swapped.picture[y - 1 : y + 2, x].mean(axis=1).min() < 60
    # Those who wear them make bad sources.
    assert swap_faces(wearing, source).quality < 0.5 * swap_faces(target, source).quality
