"""Pictures of the page in Chromium are those of the Python runtime."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import pixels, served
from bundle_page import (
    Picture,
    assert_same,
    choose,
    difference,
    expect,
    open_page,
    scaled,
    set_strength,
    upload,
)
from PIL import Image

from mm_face_stylizer.practice_faces import practice_pictures
from task_bundle.bundle import TaskBundle
from task_bundle.faces.person import find_person_segmenter
from task_bundle.media.images import load_image, save_png
from task_bundle.runtime.compositing import composite, cutout, face_mask, head_mask
from task_bundle.runtime.stylizer import FaceStylizer, FaceStylizerOptions
from task_bundle.web.page import page_files


def _turned(image: Picture, degrees: float) -> Picture:
    matrix = cv2.getRotationMatrix2D((265, 200), degrees, 1.0)
    matrix[:, 2] += [135, 200]
    return np.asarray(cv2.warpAffine(image, matrix, (800, 800), borderValue=(90, 90, 90)))


_PHOTOS = {
    "as it is": lambda image: image,
    "a third": lambda image: scaled(image, 1 / 3),
    "threefold": lambda image: scaled(image, 3.0),
    "turned by 30": lambda image: _turned(image, 30),
    "turned by -75": lambda image: _turned(image, -75),
    "cut on the left": lambda image: image[:, 240:],
    "cut at the chin": lambda image: image[:260],
}


@pytest.mark.parametrize("name", _PHOTOS)
def test_pictures_are_the_python_runtimes(
    name: str, page, bundle: TaskBundle, grace_hopper: Picture, tmp_path: Path
) -> None:
    photo = np.ascontiguousarray(_PHOTOS[name](grace_hopper))
    upload(page, photo, tmp_path)
    with FaceStylizer(bundle) as stylizer:
        assert_same(page, photo, stylizer, 1.0)


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_strength_is_the_python_runtimes(
    strength: float, page, bundle: TaskBundle, grace_hopper: Picture, tmp_path: Path
) -> None:
    upload(page, grace_hopper, tmp_path)
    set_strength(page, round(100 * strength))
    with FaceStylizer(bundle, FaceStylizerOptions(strength=strength)) as stylizer:
        assert_same(page, grace_hopper, stylizer, 1.0)


@pytest.fixture(scope="module")
def networks():
    pytest.importorskip("tensorflow", reason="the preset needs TensorFlow")
    from mm_face_stylizer.preset import Preset

    return Preset.find().networks()


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "limit"), [("float16", 1.0), ("int8", 3.0)])
def test_the_presets_pictures_are_the_python_runtimes(
    precision: str,
    limit: float,
    face_models,
    tasks_vision,
    chromium,
    networks,
    grace_hopper: Picture,
    tmp_path: Path,
) -> None:
    from mm_face_stylizer.export import export_stylizer

    faces = practice_pictures(256, 3)
    stylizer = export_stylizer(networks, precision, faces.astype(np.float32) / 255)
    bundle = TaskBundle.build(stylizer, face_models)
    with (
        served(page_files(bundle, "preset.task", tasks_vision)) as url,
        FaceStylizer(bundle) as stylizer,
    ):
        page = open_page(chromium, url)
        for photo in (grace_hopper, *faces):
            upload(page, photo, tmp_path)
            assert_same(page, photo, stylizer, limit)
        page.close()


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "limit"), [("float16", 1.0), ("int8", 3.0)])
def test_an_upscaled_bundles_pictures_are_the_python_runtimes(
    precision: str,
    limit: float,
    tasks_vision,
    chromium,
    grace_hopper: Picture,
    tmp_path: Path,
) -> None:
    from mm_face_stylizer.ready_styles import ready_bundle
    from mm_face_stylizer.upscaling.upscaler import Upscaler

    bundle = Upscaler.find().behind(ready_bundle("comic"), precision)
    with (
        served(page_files(bundle, "large.task", tasks_vision)) as url,
        FaceStylizer(bundle) as stylizer,
    ):
        page = open_page(chromium, url)
        upload(page, grace_hopper, tmp_path)
        assert_same(page, grace_hopper, stylizer, limit)
        page.close()


def test_pictures_that_are_not_square(
    make_stylizer, face_models, tasks_vision, chromium, grace_hopper: Picture, tmp_path: Path
) -> None:
    model = make_stylizer(shape=[1, 128, 192, 3], gain=0.6)
    bundle = TaskBundle.build(model, face_models)
    with (
        served(page_files(bundle, "wide.task", tasks_vision)) as url,
        FaceStylizer(bundle) as stylizer,
    ):
        page = open_page(chromium, url)
        upload(page, grace_hopper, tmp_path)
        assert_same(page, grace_hopper, stylizer, 1.0)
        page.close()


def test_photos_are_read_as_python_reads_them(page, grace_hopper: Picture, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # The photo was taken with the camera rotated.
    turned = tmp_path / "turned.jpg"
    Image.fromarray(np.rot90(grace_hopper)).save(turned, quality=95, exif=exif)
    upload(page, turned, tmp_path)
    # JPEG decoders may round differently.
    assert difference(pixels(page, "photo"), load_image(turned)).mean() < 1.0
    alpha = np.linspace(0, 255, 512).astype(np.uint8)
    clear = tmp_path / "clear.png"
    save_png(clear, np.dstack([grace_hopper, np.broadcast_to(alpha, (600, 512))]))
    upload(page, clear, tmp_path)
    assert difference(pixels(page, "photo"), load_image(clear)).max() <= 1


def test_the_cutout_is_the_python_runtimes(
    page, bundle: TaskBundle, grace_hopper: Picture, tmp_path: Path
) -> None:
    upload(page, grace_hopper, tmp_path)
    with FaceStylizer(bundle) as stylizer:
        result = stylizer.stylize(grace_hopper)
    assert result is not None
    wanted = cutout(grace_hopper, result).astype(int)
    found = pixels(page, "cutout").astype(int)
    assert np.abs(found[..., 3] - wanted[..., 3]).mean() < 1.0
    solid = wanted[..., 3] > 250
    assert solid.mean() > 0.05 and np.abs(found - wanted)[solid].mean() < 1.0


def test_heads_and_hair_are_pasted_not_the_face_alone(
    page, bundle: TaskBundle, grace_hopper: Picture, tmp_path: Path
) -> None:
    if find_person_segmenter() is None:
        pytest.skip("this mediapipe has no selfie segmentation")
    upload(page, grace_hopper, tmp_path)
    with FaceStylizer(bundle) as stylizer:
        result = stylizer.stylize(grace_hopper)
    assert result is not None
    changed = difference(pixels(page, "composite"), grace_hopper).max(axis=2) > 1
    face = face_mask(result.face, *grace_hopper.shape[:2]) > 0
    # Her cap and hair add a third to her face; the flag and the sky stay.
    assert (changed & ~face).sum() > 0.2 * face.sum()
    assert not changed[:, :100].any() and not changed[:, 420:].any()


def test_matched_colors_are_the_python_runtimes(
    page, bundle: TaskBundle, grace_hopper: Picture, tmp_path: Path
) -> None:
    upload(page, grace_hopper, tmp_path)
    switch = page.get_by_label("Match the photo’s colors")
    expect(switch).to_be_disabled()
    choose(page, "In the photo")
    switch.check()
    with FaceStylizer(bundle) as stylizer:
        result = stylizer.stylize(grace_hopper)
    assert result is not None
    mask = head_mask(grace_hopper, result.face) > 0
    wanted = composite(grace_hopper, result, color_match=True)
    assert difference(pixels(page, "composite"), wanted)[mask].mean() < 1.5
    plain = composite(grace_hopper, result)
    assert difference(pixels(page, "composite"), plain)[mask].mean() > 5.0
    switch.uncheck()


def test_several_faces(page, bundle: TaskBundle, grace_hopper: Picture, tmp_path: Path) -> None:
    small = scaled(grace_hopper, 0.7)
    photo = np.full((600, 512 + small.shape[1], 3), 90, np.uint8)
    photo[:, :512] = grace_hopper
    photo[100 : 100 + len(small), 512:] = small
    upload(page, photo, tmp_path)
    with FaceStylizer(bundle, FaceStylizerOptions(num_faces=2)) as stylizer:
        faces = stylizer.stylize_all(photo)
    assert len(faces) == 2
    wanted = composite(photo, faces)
    for face in faces:
        mask = head_mask(photo, face.face) > 0
        # The landmarks move a little when the other face is covered.
        assert difference(pixels(page, "composite"), wanted)[mask].mean() < 6.0
    # The larger one is shown first; the other can be chosen.
    buttons = page.get_by_role("group", name="Faces").get_by_role("button")
    expect(buttons).to_have_count(2)
    first = pixels(page, "face")
    assert difference(first, faces[0].image).mean() < 6.0
    buttons.nth(1).click()
    expect(buttons.nth(1)).to_have_attribute("aria-pressed", "true")
    assert difference(pixels(page, "face"), faces[1].image).mean() < 9.0
    upload(page, grace_hopper, tmp_path)
    expect(page.locator("#faces")).to_be_hidden()


def test_without_a_person_network_the_face_alone_is_pasted(
    bundle: TaskBundle,
    tasks_vision,
    chromium,
    grace_hopper: Picture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("task_bundle.web.page.find_person_segmenter", lambda: None)
    files = page_files(bundle, "x.task", tasks_vision)
    assert not [path for path in files if "person" in path]
    with served(files) as url, FaceStylizer(bundle) as stylizer:
        page = open_page(chromium, url)
        upload(page, grace_hopper, tmp_path)
        result = stylizer.stylize(grace_hopper)
        assert result is not None
        wanted = composite(grace_hopper, result, region="face")
        assert difference(pixels(page, "composite"), wanted).mean() < 0.3
        page.close()
