"""Measures against pictures and distributions whose answers are known."""

import cv2
import numpy as np
import pytest

from mm_face_stylizer.evaluation.frechet import frechet_distance
from mm_face_stylizer.evaluation.picture_quality import (
    detail_energy,
    laplacian_pyramid,
    ms_ssim,
    psnr,
)
from mm_face_stylizer.evaluation.residue import residue
from mm_face_stylizer.evaluation.skin_tone import tone, typology_angle
from mm_face_stylizer.evaluation.style_distance import StyleMeter
from task_bundle.faces.alignment import Face, FaceCrop


@pytest.fixture
def random():
    return np.random.default_rng(0)


def _noise(random, count=3, side=64):
    return random.integers(0, 256, (count, side, side, 3), np.uint8)


def test_psnr_of_a_known_error():
    photos = np.full((2, 8, 8, 3), 100, np.uint8)
    pictures = photos.copy()
    pictures[1] += 10
    values = psnr(photos, pictures)
    assert values[0] > 100
    assert values[1] == pytest.approx(20 * np.log10(25.5))


@pytest.mark.parametrize("side", [64, 192])
def test_ms_ssim_is_1_for_equal_pictures_and_falls_with_noise(side, random):
    photo = cv2.GaussianBlur(_noise(random, 1, side)[0], (0, 0), 3)[np.newaxis]
    noise = random.integers(-20, 21, photo.shape)
    noisy, noisier = (np.clip(photo + k * noise, 0, 255).astype(np.uint8) for k in (1, 3))
    values = [ms_ssim(photo, picture)[0] for picture in (photo, noisy, noisier)]
    assert values[0] == pytest.approx(1)
    assert values[0] > values[1] > values[2]


def test_detail_energy_is_of_the_finest_level_alone(random):
    noise = _noise(random, 1)
    blurred = cv2.GaussianBlur(noise[0], (0, 0), 4)[np.newaxis]
    flat = np.full_like(noise, 90)
    energies = [detail_energy(picture)[0] for picture in (noise, blurred, flat)]
    assert energies[0] > 50 * energies[1] > 0
    assert energies[2] == 0
    # Energy goes with the square of contrast.
    halved = (noise.astype(int) // 2 + 64).astype(np.uint8)
    assert detail_energy(halved)[0] == pytest.approx(energies[0] / 4, rel=0.02)


def _detailed(random, count=2, side=256):
    """Noise of all scales from one pixel up, in color."""
    noise = random.normal(128, 60, (count, side, side, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def test_a_filter_over_the_photo_leaves_its_detail(random):
    photos = _detailed(random)
    halved, inverted = photos // 2 + 20, 255 - photos
    sepia = (photos.mean(axis=3, keepdims=True) * (1.0, 0.9, 0.7)).astype(np.uint8)
    assert residue(photos, photos) == pytest.approx([1, 1], abs=1e-3)
    for filtered in (halved, inverted):
        assert residue(photos, filtered).min() > 0.98
    # The weights of the colors are not those of the mean.
    assert residue(photos, sepia).min() > 0.85


def test_independent_strokes_leave_none_of_the_photos_detail(random):
    photos, others = _detailed(random), _detailed(random)
    values = residue(photos, others)
    assert values.min() > 0.05 and values.max() < 0.25
    flat = np.full_like(photos, 90)
    assert residue(photos, flat).max() < 0.01
    # Half of the detail is the photo's: correlations of a half, up to those by chance.
    mixed = (photos.astype(int) + 2 * others.astype(int)) // 3
    assert values.max() < residue(photos, mixed.astype(np.uint8)).min() < 0.65


def test_residue_is_of_the_places_with_detail_and_of_the_band(random):
    photos = _detailed(random)
    photos[:, :, 128:] = 100
    pictures = photos.copy()
    pictures[:, :, 140:] = _detailed(random)[:, :, 140:]
    # What is drawn where the photo is flat does not count.
    assert residue(photos, pictures).min() > 0.98
    assert np.isnan(residue(np.full_like(photos, 100), pictures)).all()
    # Nor do coarser shapes: only the band of 1 to 2 px is compared.
    shape = cv2.GaussianBlur(random.normal(0, 400, (256, 256)).astype(np.float32), (0, 0), 6)
    shaded = np.clip(photos // 4 + 96 + shape[..., np.newaxis], 0, 255).astype(np.uint8)
    assert residue(photos, shaded).min() > 0.8


def test_residue_is_measured_at_256_px(random):
    photos = _detailed(random, 1)
    pictures = (photos.astype(int) + _detailed(random, 1)) // 2
    doubled = [some.repeat(2, axis=1).repeat(2, axis=2) for some in (photos, pictures)]
    wanted = residue(photos, pictures.astype(np.uint8))
    assert residue(*(some.astype(np.uint8) for some in doubled)) == pytest.approx(wanted)


def test_the_levels_add_up_to_the_picture(random):
    picture = _noise(random, 1)[0]
    *bands, smallest = laplacian_pyramid(picture, 3)
    for band in reversed(bands):
        smallest = cv2.pyrUp(smallest, dstsize=band.shape[:2][::-1]) + band
    np.testing.assert_allclose(smallest, picture, atol=1e-3)


def _gaussian(random, mean, covariance, count=200_000):
    """Samples whose mean and covariance are exactly these."""
    samples = random.standard_normal((count, len(mean)))
    samples -= samples.mean(axis=0)
    samples = samples @ np.linalg.inv(np.linalg.cholesky(np.cov(samples, rowvar=False))).T
    return samples @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_independent_axes(random):
    a = _gaussian(random, [0.0, 0.0, 0.0], np.diag([1.0, 4.0, 9.0]), 5000)
    b = _gaussian(random, [1.0, 2.0, 0.0], np.diag([4.0, 4.0, 1.0]), 4000)
    # |m|^2 plus the squared differences of the standard deviations.
    assert frechet_distance(a, b) == pytest.approx(5 + 1 + 0 + 4, rel=1e-9)


def test_frechet_distance_where_covariances_do_not_commute(random):
    one = np.array([[2.0, 1.0], [1.0, 1.0]])
    two = np.array([[1.0, -0.5], [-0.5, 3.0]])
    a, b = (_gaussian(random, [0.0, 0.0], c, 5000) for c in (one, two))
    # In two dimensions tr(sqrt(M)) = sqrt(tr(M) + 2 sqrt(det(M))).
    product = one @ two
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    wanted = np.trace(one) + np.trace(two) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(wanted, rel=1e-9)


def test_frechet_distance_of_few_samples_and_large_offsets(random):
    """Fewer samples than dimensions, and a mean that float32 would drown in."""
    a = random.standard_normal((10, 64))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a + 1e4, a + 1e4 + 0.5) == pytest.approx(16, rel=1e-6)
    assert frechet_distance(a.astype(np.float32), a.astype(np.float32)[::-1]) < 1e-6


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.zeros((5, 3)), np.zeros((5, 2)), "shapes"),
        (np.zeros((1, 3)), np.zeros((5, 3)), "two samples"),
        (np.full((5, 3), np.nan), np.zeros((5, 3)), "must be finite"),
    ],
)
def test_frechet_distance_refuses_unusable_samples(a, b, words):
    with pytest.raises(ValueError, match=words):
        frechet_distance(a, b)


def _face():
    points = np.full((478, 3), 64.0)
    points[[33, 133], 0], points[[263, 362], 0] = 44, 84
    points[[50, 205], :2], points[[280, 425], :2] = (40, 80), (90, 80)
    return Face(points, FaceCrop(64, 64, 128, 0))


def _portrait(color):
    photo = np.zeros((128, 128, 3), np.uint8)
    photo[70:90, 30:50], photo[70:90, 80:100] = color, color
    return photo


def _by_the_formulas(color):
    """L* and b* of an sRGB color under D65, from IEC 61966-2-1 and CIE 15."""
    encoded = np.array(color) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126729, 0.7151522, 0.0721750]
    z = linear @ [0.0193339, 0.1191920, 0.9503041] / 1.08883
    return 116 * np.cbrt(y) - 16, 200 * (np.cbrt(y) - np.cbrt(z))


@pytest.mark.parametrize(
    ("color", "name"),
    [
        ((245, 205, 183), "very light"),
        ((235, 185, 150), "light"),
        ((222, 165, 122), "intermediate"),
        ((190, 130, 90), "tan"),
        ((150, 100, 70), "brown"),
        ((90, 56, 38), "dark"),
    ],
)
def test_typology_angle_of_known_skin(color, name):
    lightness, b = _by_the_formulas(color)
    angle = typology_angle(_portrait(color), _face())
    assert angle == pytest.approx(np.degrees(np.arctan((lightness - 50) / b)), abs=0.3)
    assert tone(angle) == name


def test_no_skin_tone_in_grey_or_outside():
    assert np.isnan(typology_angle(_portrait((120, 120, 120)), _face()))
    assert tone(float("nan")) == ""
    outside = Face(_face().landmarks + 500, _face().crop)
    assert np.isnan(typology_angle(_portrait((200, 150, 120)), outside))


def _checks(random, count, colors, cell):
    """Pictures of square cells of these colors, thrown at random."""
    cells = random.integers(0, len(colors), (count, 64 // cell, 64 // cell))
    return np.array(colors, np.uint8)[cells].repeat(cell, 1).repeat(cell, 2)


WARM, COLD = [(220, 60, 30), (250, 220, 90)], [(20, 60, 120), (90, 160, 240)]


def test_style_distance_tells_strokes_from_colors(random):
    styles, photos = _checks(random, 2, WARM, 2), _checks(random, 4, COLD, 16)
    meter = StyleMeter(styles, np.ones(styles.shape[:3], bool), photos)
    before = meter.measure(photos)
    right = meter.measure(_checks(random, 4, WARM, 2))
    colors = meter.measure(_checks(random, 4, WARM, 16))
    assert (right.both < 0.15 * before.both).all()
    np.testing.assert_allclose(before.both, (before.patches + before.color) / 2)
    assert right.both.mean() < 2 * meter.between()
    assert (colors.color < 0.5 * before.color).all()
    assert (colors.patches > 3 * right.patches).all()


def test_style_distance_leaves_out_the_empty_border(random):
    styles, photos = _checks(random, 1, WARM, 2), _checks(random, 4, COLD, 16)
    whole = StyleMeter(styles, np.ones(styles.shape[:3], bool), photos)
    styles = styles.copy()
    styles[:, :, 40:] = 0
    mask = np.ones(styles.shape[:3], bool)
    mask[:, :, 30:] = False
    masked = StyleMeter(styles, mask, photos)
    unmasked = StyleMeter(styles, np.ones_like(mask), photos)
    right = _checks(random, 4, WARM, 2)
    distances = [meter.measure(right).both.mean() for meter in (whole, masked, unmasked)]
    assert distances[1] < 2 * distances[0] < distances[2]
    assert masked.between() is None


def test_style_distance_is_the_same_again(random):
    styles, photos = _checks(random, 2, WARM, 2), _checks(random, 2, COLD, 16)
    mask = np.ones(styles.shape[:3], bool)
    first, again, other = (
        StyleMeter(styles, mask, photos, seed).measure(photos).both for seed in (0, 0, 1)
    )
    assert (first == again).all() and (first != other).any()


def test_style_distance_needs_pictures(random):
    with pytest.raises(ValueError, match="no style picture"):
        StyleMeter(_noise(random, 0), np.ones((0, 64, 64), bool), _noise(random))
    with pytest.raises(ValueError, match="too small"):
        StyleMeter(_noise(random, 1, 32), np.ones((1, 32, 32), bool), _noise(random, 1, 32))
