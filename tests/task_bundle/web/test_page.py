"""Tests of task_bundle.web.page, in Chromium, against the pictures of the Python runtime."""

import base64
import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from browser import pixels, served, write_camera
from PIL import Image
from source_types import source_type

from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError
from task_bundle.faces.person import find_person_segmenter
from task_bundle.media.images import load_image, save_png
from task_bundle.media.source_type import SOURCE_TYPE
from task_bundle.runtime.compositing import composite, cutout, face_mask, head_mask
from task_bundle.runtime.stylizer import FaceStylizer, FaceStylizerOptions
from task_bundle.web.page import page_files
from task_bundle.web.server import WebFile

Picture = npt.NDArray[np.uint8]

_NO_FACE = np.full((300, 400, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def shared_page(files: dict[str, WebFile], chromium) -> Iterator:
    """A page with an open bundle, for tests that leave it like that."""
    with served(files) as url:
        yield _open(chromium, url)


@pytest.fixture
def page(shared_page):
    """The page with its default settings."""
    _set_strength(shared_page, 100)
    _choose(shared_page, "Portrait")
    return shared_page


def _open(chromium, url: str, **options):
    """Opens a page in a new browser profile and waits until the bundle is open."""
    page = chromium.new_page(**options)
    page.goto(url)
    _expect(page.get_by_role("status")).to_be_empty()
    return page


def _expect(locator):
    from playwright.sync_api import expect

    return expect(locator)


def _upload(page, photo: Picture | Path, tmp_path: Path, name: str = "photo.png") -> None:
    """Chooses a photo and waits for the result, or for a message."""
    file = photo
    if not isinstance(photo, Path):
        file = tmp_path / name
        save_png(file, photo, overwrite=True)
    page.get_by_label("Choose a photo").set_input_files(file)
    _expect(page.locator("#view")).to_have_attribute("aria-busy", "false")


def _set_strength(page, percent: int) -> None:
    page.get_by_label("Strength").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }",
        percent,
    )


def _turned(image: Picture, degrees: float) -> Picture:
    matrix = cv2.getRotationMatrix2D((265, 200), degrees, 1.0)
    matrix[:, 2] += [135, 200]
    return np.asarray(cv2.warpAffine(image, matrix, (800, 800), borderValue=(90, 90, 90)))


def _choose(page, form: str) -> None:
    """Switches between portrait, in the photo and cut-out."""
    page.get_by_role("radio", name=form).check(force=True)


def _scaled(image: Picture, scale: float) -> Picture:
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def _difference(found: Picture, wanted: Picture) -> npt.NDArray[np.int_]:
    assert found.shape[:2] == wanted.shape[:2]
    assert (found[..., 3] == 255).all()
    return np.abs(found[..., :3].astype(int) - wanted)


def _assert_same(page, photo: Picture, stylizer: FaceStylizer, limit: float) -> None:
    """Compares all three pictures with those of the Python runtime, in 255ths on average."""
    result = stylizer.stylize(photo)
    assert result is not None
    assert _difference(pixels(page, "photo"), photo).max() == 0
    assert _difference(pixels(page, "face"), result.image).mean() <= limit
    mask = head_mask(photo, result.face) > 0
    pasted = _difference(pixels(page, "composite"), composite(photo, result))
    # Compared only at the face: a mean over the whole photo would hide differences.
    assert pasted[mask].mean() <= limit
    # In places, interpolation reaches one pixel further.
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert pasted[~near].max(initial=0) == 0


_PHOTOS = {
    "as it is": lambda image: image,
    "a third": lambda image: _scaled(image, 1 / 3),
    "threefold": lambda image: _scaled(image, 3.0),
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
    _upload(page, photo, tmp_path)
    with FaceStylizer(bundle) as stylizer:
        _assert_same(page, photo, stylizer, 1.0)


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_strength_is_the_python_runtimes(
    strength: float, page, bundle: TaskBundle, grace_hopper: Picture, tmp_path: Path
) -> None:
    _upload(page, grace_hopper, tmp_path)
    _set_strength(page, round(100 * strength))
    with FaceStylizer(bundle, FaceStylizerOptions(strength=strength)) as stylizer:
        _assert_same(page, grace_hopper, stylizer, 1.0)


@pytest.fixture(scope="module")
def networks():
    pytest.importorskip("tensorflow", reason="the preset needs TensorFlow")
    from mm_face_stylizer.preset import Preset

    return Preset.find().networks()


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

    bundle = TaskBundle.build(export_stylizer(networks, precision), face_models)
    faces = np.rint((networks.generated_faces(3, seed=3) + 1) * 127.5).astype(np.uint8)
    with (
        served(page_files(bundle, "preset.task", tasks_vision)) as url,
        FaceStylizer(bundle) as stylizer,
    ):
        page = _open(chromium, url)
        for photo in (grace_hopper, *faces):
            _upload(page, photo, tmp_path)
            _assert_same(page, photo, stylizer, limit)
        page.close()


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
        page = _open(chromium, url)
        _upload(page, grace_hopper, tmp_path)
        _assert_same(page, grace_hopper, stylizer, limit)
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
        page = _open(chromium, url)
        _upload(page, grace_hopper, tmp_path)
        _assert_same(page, grace_hopper, stylizer, 1.0)
        page.close()


def test_photos_are_read_as_python_reads_them(page, grace_hopper: Picture, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # The photo was taken with the camera rotated.
    turned = tmp_path / "turned.jpg"
    Image.fromarray(np.rot90(grace_hopper)).save(turned, quality=95, exif=exif)
    _upload(page, turned, tmp_path)
    # JPEG decoders may round differently.
    assert _difference(pixels(page, "photo"), load_image(turned)).mean() < 1.0
    alpha = np.linspace(0, 255, 512).astype(np.uint8)
    clear = tmp_path / "clear.png"
    save_png(clear, np.dstack([grace_hopper, np.broadcast_to(alpha, (600, 512))]))
    _upload(page, clear, tmp_path)
    assert _difference(pixels(page, "photo"), load_image(clear)).max() <= 1


_FORMS = {
    "Portrait": ("Download portrait", "face", "grace-dark-face.png"),
    "In the photo": ("Download picture", "composite", "grace-dark.png"),
    "Cut-out": ("Download cut-out", "cutout", "grace-dark-cutout.png"),
}


@pytest.mark.parametrize("form", _FORMS)
def test_downloads_are_what_is_shown(
    form: str, page, grace_hopper: Picture, tmp_path: Path
) -> None:
    _upload(page, grace_hopper, tmp_path, "grace.png")
    button, canvas, name = _FORMS[form]
    _choose(page, form)
    shown = page.locator(".pair canvas.after:visible")
    _expect(shown).to_have_count(1)
    _expect(shown).to_have_id(canvas)
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    assert download.value.suggested_filename == name
    with Image.open(download.value.path()) as image:
        found = np.array(image.convert("RGBA"))
    assert source_type(download.value.path()) == SOURCE_TYPE
    np.testing.assert_array_equal(found, pixels(page, canvas))


def test_the_cutout_is_the_python_runtimes(
    page, bundle: TaskBundle, grace_hopper: Picture, tmp_path: Path
) -> None:
    _upload(page, grace_hopper, tmp_path)
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
    _upload(page, grace_hopper, tmp_path)
    with FaceStylizer(bundle) as stylizer:
        result = stylizer.stylize(grace_hopper)
    assert result is not None
    changed = _difference(pixels(page, "composite"), grace_hopper).max(axis=2) > 1
    face = face_mask(result.face, *grace_hopper.shape[:2]) > 0
    # Her cap and hair add a third to her face; the flag and the sky stay.
    assert (changed & ~face).sum() > 0.2 * face.sum()
    assert not changed[:, :100].any() and not changed[:, 420:].any()


def test_matched_colors_are_the_python_runtimes(
    page, bundle: TaskBundle, grace_hopper: Picture, tmp_path: Path
) -> None:
    _upload(page, grace_hopper, tmp_path)
    switch = page.get_by_label("Match the photo’s colors")
    _expect(switch).to_be_disabled()
    _choose(page, "In the photo")
    switch.check()
    with FaceStylizer(bundle) as stylizer:
        result = stylizer.stylize(grace_hopper)
    assert result is not None
    mask = head_mask(grace_hopper, result.face) > 0
    wanted = composite(grace_hopper, result, color_match=True)
    assert _difference(pixels(page, "composite"), wanted)[mask].mean() < 1.5
    plain = composite(grace_hopper, result)
    assert _difference(pixels(page, "composite"), plain)[mask].mean() > 5.0
    switch.uncheck()


def test_several_faces(page, bundle: TaskBundle, grace_hopper: Picture, tmp_path: Path) -> None:
    small = _scaled(grace_hopper, 0.7)
    photo = np.full((600, 512 + small.shape[1], 3), 90, np.uint8)
    photo[:, :512] = grace_hopper
    photo[100 : 100 + len(small), 512:] = small
    _upload(page, photo, tmp_path)
    with FaceStylizer(bundle, FaceStylizerOptions(num_faces=2)) as stylizer:
        faces = stylizer.stylize_all(photo)
    assert len(faces) == 2
    wanted = composite(photo, faces)
    for face in faces:
        mask = head_mask(photo, face.face) > 0
        # The landmarks move a little when the other face is covered.
        assert _difference(pixels(page, "composite"), wanted)[mask].mean() < 6.0
    # The larger one is shown first; the other can be chosen.
    buttons = page.get_by_role("group", name="Faces").get_by_role("button")
    _expect(buttons).to_have_count(2)
    first = pixels(page, "face")
    assert _difference(first, faces[0].image).mean() < 6.0
    buttons.nth(1).click()
    _expect(buttons.nth(1)).to_have_attribute("aria-pressed", "true")
    assert _difference(pixels(page, "face"), faces[1].image).mean() < 9.0
    _upload(page, grace_hopper, tmp_path)
    _expect(page.locator("#faces")).to_be_hidden()


def test_the_handle_shows_the_original(page, grace_hopper: Picture, tmp_path: Path) -> None:
    _upload(page, grace_hopper, tmp_path)
    handle = page.get_by_label("How much of the original to show")
    handle.focus()
    page.keyboard.press("End")
    portrait = page.locator("#face").bounding_box()
    shown = _screenshot(page, portrait)
    aligned = Image.fromarray(pixels(page, "aligned")[..., :3]).resize(shown.shape[1::-1])
    middle = np.s_[shown.shape[0] // 5 : shown.shape[0] // 3, 50:-50]
    assert np.abs(shown.astype(int) - np.array(aligned))[middle].mean() < 12
    page.keyboard.press("Home")
    stylized = Image.fromarray(pixels(page, "face")[..., :3]).resize(shown.shape[1::-1])
    shown = _screenshot(page, portrait)
    assert np.abs(shown.astype(int) - np.array(stylized))[middle].mean() < 12
    for _ in range(50):
        page.keyboard.press("ArrowRight")
    halves = _screenshot(page, portrait)
    half = halves.shape[1] // 2
    np.testing.assert_array_equal(halves[middle][:, half:], shown[middle][:, half:])
    assert np.abs(halves.astype(int) - shown)[middle][:, : half - 60].mean() > 10
    page.keyboard.press("Home")


def _screenshot(page, box) -> Picture:
    with Image.open(io.BytesIO(page.screenshot(clip=box))) as image:
        return np.array(image.convert("RGB"))


def test_a_sample_photo(files, chromium, bundle: TaskBundle, grace_hopper: Picture) -> None:
    with served(files) as url, FaceStylizer(bundle) as stylizer:
        page = _open(chromium, url)
        page.get_by_role("button", name="Use the sample photo").click()
        _expect(page.get_by_role("button", name="Download portrait")).to_be_enabled()
        assert pixels(page, "photo").shape[:2] == grace_hopper.shape[:2]
        photo = np.ascontiguousarray(pixels(page, "photo")[..., :3])
        _assert_same(page, photo, stylizer, 1.0)
        page.close()


def test_messages_move_nothing(page, grace_hopper: Picture, tmp_path: Path) -> None:
    _upload(page, grace_hopper, tmp_path)
    before = page.locator("#view").bounding_box()
    _transfer(page, "drop", b"", "")
    _expect(page.get_by_role("status")).to_contain_text("This is not a file")
    assert page.locator("#view").bounding_box() == before


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
        page = _open(chromium, url)
        _upload(page, grace_hopper, tmp_path)
        result = stylizer.stylize(grace_hopper)
        assert result is not None
        wanted = composite(grace_hopper, result, region="face")
        assert _difference(pixels(page, "composite"), wanted).mean() < 0.3
        page.close()


def test_measuring(page, grace_hopper: Picture, tmp_path: Path) -> None:
    _upload(page, grace_hopper, tmp_path)
    page.get_by_text("Latency").click()
    page.get_by_role("button", name="Run 20 times").click()
    _expect(page.locator("#latency-note")).to_contain_text("after a first")
    _expect(page.get_by_role("status")).to_be_empty()
    row = page.get_by_role("row", name="Stylizer").inner_text()
    assert row.count(" ms") == 2
    page.get_by_text("Latency").click()


def _transfer(page, event: str, data: bytes, kind: str) -> None:
    """Drops or pastes a file."""
    page.evaluate(
        """([event, data, type]) => {
          const transfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
          if (type) transfer.items.add(new File([bytes], "x.png", { type }));
          else transfer.items.add("https://a.example", "text/plain");
          const init = { bubbles: true, cancelable: true };
          document.body.dispatchEvent(event === "paste"
            ? new ClipboardEvent(event, { ...init, clipboardData: transfer })
            : new DragEvent(event, { ...init, dataTransfer: transfer }));
        }""",
        [event, base64.b64encode(data).decode(), kind],
    )


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_dropped_and_pasted(event: str, page, grace_hopper: Picture, tmp_path: Path) -> None:
    _upload(page, _NO_FACE, tmp_path)
    buffer = io.BytesIO()
    Image.fromarray(grace_hopper).save(buffer, "PNG")
    _transfer(page, event, buffer.getvalue(), "image/png")
    _expect(page.get_by_role("button", name="Download portrait")).to_be_enabled()
    assert _difference(pixels(page, "photo"), grace_hopper).max() == 0
    _transfer(page, event, b"", "")
    _expect(page.get_by_role("status")).to_contain_text("This is not a file")


def test_no_face(page, grace_hopper: Picture, tmp_path: Path) -> None:
    _upload(page, grace_hopper, tmp_path)
    _upload(page, _NO_FACE, tmp_path)
    _expect(page.get_by_role("status")).to_contain_text("No face was found")
    # Nothing of the last photo is left.
    assert _difference(pixels(page, "composite"), _NO_FACE).max() == 0
    assert pixels(page, "face").shape[:2] == (1, 1)
    _expect(page.get_by_role("button", name="Download portrait")).to_be_disabled()
    for name in ("measure", "handle", "strength", "match"):
        _expect(page.locator(f"#{name}")).to_be_disabled()
    # Whatever the form, the photo is seen.
    _expect(page.locator("#composite")).to_be_visible()


def test_not_a_picture(page, tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    _upload(page, text, tmp_path)
    _expect(page.get_by_role("status")).to_have_text(
        "text.png is not a picture that this browser can read."
    )


def test_the_last_photo_wins(page, grace_hopper: Picture, tmp_path: Path) -> None:
    # The first photo takes long to decode.
    page.evaluate(
        """() => {
          const decode = window.createImageBitmap;
          window.createImageBitmap = async (...given) => {
            window.createImageBitmap = decode;
            await new Promise((resolve) => setTimeout(resolve, 500));
            document.body.dataset.decoded = "late";
            return decode(...given);
          };
        }"""
    )
    save_png(tmp_path / "slow.png", grace_hopper[:500])
    page.get_by_label("Choose a photo").set_input_files(tmp_path / "slow.png")
    _upload(page, grace_hopper, tmp_path)
    _expect(page.locator("body[data-decoded=late]")).to_have_count(1)
    page.wait_for_timeout(500)
    assert pixels(page, "composite").shape[:2] == (600, 512)
    assert pixels(page, "face").shape[:2] == (256, 256)


def test_it_asks_nobody_else_and_breaks_no_rule(
    files: dict[str, WebFile], chromium, grace_hopper: Picture, tmp_path: Path
) -> None:
    asked, complaints = [], []
    with served(files) as url:
        context = chromium.new_context()
        context.on("request", lambda request: asked.append(request.url))
        context.on("console", lambda message: complaints.append(message.text))
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        page = context.new_page()
        page.goto(url)
        _expect(page.get_by_role("status")).to_be_empty()
        _upload(page, grace_hopper, tmp_path)
        context.close()
    assert f"{url}tasks-vision/wasm/vision_wasm_internal.wasm" in asked
    assert [address for address in asked if not address.startswith((url, "blob:"))] == []
    assert [text for text in complaints if "Security Policy" in text or "Uncaught" in text] == []


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("/tasks-vision/wasm/vision_wasm_internal.wasm", "vision_wasm_internal.wasm: 404"),
        ("/tasks-vision/vision_bundle.mjs", "vision_bundle.mjs"),
        ("/bundle/face_landmarker.task", "face_landmarker.task: 404"),
        ("/stylizer_worker.js", "the worker's script does not load"),
    ],
)
def test_what_the_server_does_not_give(
    missing: str, said: str, files: dict[str, WebFile], chromium
) -> None:
    with served({path: file for path, file in files.items() if path != missing}) as url:
        page = chromium.new_page()
        page.goto(url)
        status = page.get_by_role("status")
        _expect(status).to_contain_text("The server does not provide a file that the page needs")
        _expect(status).to_contain_text(said)
        page.close()


def test_a_bundle_that_the_browser_cannot_open(
    files: dict[str, WebFile], chromium, grace_hopper: Picture, tmp_path: Path
) -> None:
    path = "/bundle/face_stylizer.task"
    broken = dataclasses.replace(files[path], content=files[path].content[:5000])
    with served({**files, path: broken}) as url:
        page = chromium.new_page()
        page.goto(url)
        status = page.get_by_role("status")
        _expect(status).to_contain_text("MediaPipe cannot open this bundle")
        # The message stays after a photo is chosen.
        _upload(page, grace_hopper, tmp_path)
        _expect(status).to_contain_text("MediaPipe cannot open this bundle")
        page.close()


def test_camera(
    bundle: TaskBundle, files: dict[str, WebFile], launch, grace_hopper: Picture, tmp_path: Path
) -> None:
    film = tmp_path / "film.y4m"
    frame = np.full((480, 640, 3), 90, np.uint8)
    frame[:, 100:510] = _scaled(grace_hopper, 0.8)[:480]
    write_camera(film, frame)
    chromium = launch(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    )
    with served(files) as url, FaceStylizer(bundle) as stylizer:
        page = _open(chromium, url)
        camera = page.get_by_role("radio", name="Camera")
        from_file = page.get_by_role("radio", name="Photo", exact=True)
        camera.check(force=True)
        _expect(page.locator("#latency-note")).to_contain_text("runs, after a first")
        # Without a photo from before, the last frame stays after the camera is closed.
        from_file.check(force=True)
        _expect(page.get_by_role("status")).to_be_empty()
        photo = np.ascontiguousarray(pixels(page, "photo")[..., :3])
        assert photo.shape == frame.shape
        assert np.abs(photo.astype(int) - frame).mean() < 10.0
        _assert_same(page, photo, stylizer, 1.0)
        # A photo survives a visit to the camera, and can be worked with.
        _upload(page, grace_hopper, tmp_path)
        camera.check(force=True)
        _expect(page.locator("#view")).to_have_class("view mirrored")
        from_file.check(force=True)
        _expect(page.locator("#view")).to_have_class("view")
        _assert_same(page, grace_hopper, stylizer, 1.0)
        for name in ("download", "strength", "measure", "handle"):
            _expect(page.locator(f"#{name}")).to_be_enabled()
        # Unless a picture is taken, which then is the photo.
        camera.check(force=True)
        _expect(page.locator("#view")).to_have_class("view mirrored")
        page.get_by_role("button", name="Take this picture").click()
        _expect(from_file).to_be_checked()
        assert pixels(page, "photo").shape[:2] == frame.shape[:2]
        _expect(page.locator("#download")).to_be_enabled()
        page.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("NotAllowedError", "The camera is blocked"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "Another program is using the camera"),
        ("AbortError", "The camera does not start: because"),
    ],
)
def test_no_camera(error: str, said: str, page) -> None:
    page.evaluate(
        "name => { navigator.mediaDevices.getUserMedia ="
        " () => Promise.reject(new DOMException('because', name)); }",
        error,
    )
    page.get_by_role("radio", name="Camera").click(force=True)
    _expect(page.get_by_role("status")).to_contain_text(said)
    _expect(page.get_by_role("radio", name="Photo", exact=True)).to_be_checked()


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_it_fits_the_screen(width: int, page, grace_hopper: Picture, tmp_path: Path) -> None:
    _upload(page, grace_hopper, tmp_path)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_keyboard(page, grace_hopper: Picture, tmp_path: Path) -> None:
    _upload(page, grace_hopper, tmp_path)
    # Starts at the top of the page, by taking the focus from the current element.
    page.locator("body").click(position={"x": 1, "y": 1})
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert reached == [
        *("photo-source", "file", "portrait-form", "handle"),
        *("strength", "download", "SUMMARY", "SUMMARY"),
    ]


def test_a_bundle_that_is_not_sound_is_not_served(make_stylizer, face_models) -> None:
    bundle = TaskBundle.build(make_stylizer(64), face_models)
    bad = dataclasses.replace(bundle, stylizer=make_stylizer(64))
    with pytest.raises(BundleError, match="bad.task has no normalization"):
        page_files(bad, "bad.task", {})


def test_files_have_types_that_browsers_accept(make_stylizer, face_models) -> None:
    model = make_stylizer(shape=[1, 32, 48, 3])
    bundle = TaskBundle.build(model, face_models)
    package = {"vision_bundle.mjs": b"export {};", "wasm/vision_wasm_internal.wasm": b"\0asm"}
    files = page_files(bundle, "x.task", package)
    assert files["/"].content_type == "text/html; charset=utf-8"
    assert files["/page.js"].content_type == "text/javascript; charset=utf-8"
    module = files["/tasks-vision/vision_bundle.mjs"]
    assert module == WebFile(b"export {};", "text/javascript; charset=utf-8")
    wasm = files["/tasks-vision/wasm/vision_wasm_internal.wasm"]
    assert wasm.content_type == "application/wasm"
    assert TaskBundle.open(files["/bundle/face_stylizer.task"].content) == bundle
    about = json.loads(files["/bundle/about.json"].content)
    assert about["outputSize"] == [48, 32]
    assert not [path for path in files if path.endswith((".py", "__"))]
