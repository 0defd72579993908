"""What tests of a bundle's web page do with it in Chromium."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from browser import pixels

from task_bundle.media.images import save_png
from task_bundle.runtime.compositing import composite, head_mask
from task_bundle.runtime.stylizer import FaceStylizer

Picture = npt.NDArray[np.uint8]


def open_page(chromium, url: str, **options):
    """Opens a page in a new browser profile and waits until the bundle is open."""
    page = chromium.new_page(**options)
    page.goto(url)
    expect(page.get_by_role("status")).to_be_empty()
    return page


def expect(locator):
    from playwright.sync_api import expect

    return expect(locator)


def upload(page, photo: Picture | Path, tmp_path: Path, name: str = "photo.png") -> None:
    """Chooses a photo and waits for the result, or for a message."""
    file = photo
    if not isinstance(photo, Path):
        file = tmp_path / name
        save_png(file, photo, overwrite=True)
    page.get_by_label("Choose a photo").set_input_files(file)
    expect(page.locator("#view")).to_have_attribute("aria-busy", "false")


def set_strength(page, percent: int) -> None:
    page.get_by_label("Strength").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }",
        percent,
    )


def choose(page, form: str) -> None:
    """Switches between portrait, in the photo and cut-out."""
    page.get_by_role("radio", name=form).check(force=True)


def scaled(image: Picture, scale: float) -> Picture:
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def difference(found: Picture, wanted: Picture) -> npt.NDArray[np.int_]:
    assert found.shape[:2] == wanted.shape[:2]
    assert (found[..., 3] == 255).all()
    return np.abs(found[..., :3].astype(int) - wanted)


def assert_same(page, photo: Picture, stylizer: FaceStylizer, limit: float) -> None:
    """Compares all three pictures with those of the Python runtime, in 255ths on average."""
    result = stylizer.stylize(photo)
    assert result is not None
    assert difference(pixels(page, "photo"), photo).max() == 0
    assert difference(pixels(page, "face"), result.image).mean() <= limit
    mask = head_mask(photo, result.face) > 0
    pasted = difference(pixels(page, "composite"), composite(photo, result))
    # Compared only at the face: a mean over the whole photo would hide differences.
    assert pasted[mask].mean() <= limit
    # In places, interpolation reaches one pixel further.
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert pasted[~near].max(initial=0) == 0
