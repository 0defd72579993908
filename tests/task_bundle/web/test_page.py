"""Tests of task_bundle.web.page in Chromium: what can be done on it, and what it says."""

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from browser import pixels, served, write_camera
from bundle_page import Picture, assert_same, choose, difference, expect, open_page, scaled, upload
from PIL import Image
from source_types import source_type

from task_bundle.bundle import TaskBundle
from task_bundle.media.images import save_png
from task_bundle.media.source_type import SOURCE_TYPE
from task_bundle.runtime.stylizer import FaceStylizer
from task_bundle.web.server import WebFile

_NO_FACE = np.full((300, 400, 3), 128, np.uint8)


_FORMS = {
    "Portrait": ("Download portrait", "face", "grace-dark-face.png"),
    "In the photo": ("Download picture", "composite", "grace-dark.png"),
    "Cut-out": ("Download cut-out", "cutout", "grace-dark-cutout.png"),
}


@pytest.mark.parametrize("form", _FORMS)
def test_downloads_are_what_is_shown(
    form: str, page, grace_hopper: Picture, tmp_path: Path
) -> None:
    upload(page, grace_hopper, tmp_path, "grace.png")
    button, canvas, name = _FORMS[form]
    choose(page, form)
    shown = page.locator(".pair canvas.after:visible")
    expect(shown).to_have_count(1)
    expect(shown).to_have_id(canvas)
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    assert download.value.suggested_filename == name
    with Image.open(download.value.path()) as image:
        found = np.array(image.convert("RGBA"))
    assert source_type(download.value.path()) == SOURCE_TYPE
    np.testing.assert_array_equal(found, pixels(page, canvas))


def test_the_handle_shows_the_original(page, grace_hopper: Picture, tmp_path: Path) -> None:
    upload(page, grace_hopper, tmp_path)
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
        page = open_page(chromium, url)
        page.get_by_role("button", name="Use the sample photo").click()
        expect(page.get_by_role("button", name="Download portrait")).to_be_enabled()
        assert pixels(page, "photo").shape[:2] == grace_hopper.shape[:2]
        photo = np.ascontiguousarray(pixels(page, "photo")[..., :3])
        assert_same(page, photo, stylizer, 1.0)
        page.close()


def test_messages_move_nothing(page, grace_hopper: Picture, tmp_path: Path) -> None:
    upload(page, grace_hopper, tmp_path)
    before = page.locator("#view").bounding_box()
    _transfer(page, "drop", b"", "")
    expect(page.get_by_role("status")).to_contain_text("This is not a file")
    assert page.locator("#view").bounding_box() == before


def test_measuring(page, grace_hopper: Picture, tmp_path: Path) -> None:
    upload(page, grace_hopper, tmp_path)
    page.get_by_text("Latency").click()
    page.get_by_role("button", name="Run 20 times").click()
    expect(page.locator("#latency-note")).to_contain_text("after a first")
    expect(page.get_by_role("status")).to_be_empty()
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
    upload(page, _NO_FACE, tmp_path)
    buffer = io.BytesIO()
    Image.fromarray(grace_hopper).save(buffer, "PNG")
    _transfer(page, event, buffer.getvalue(), "image/png")
    expect(page.get_by_role("button", name="Download portrait")).to_be_enabled()
    assert difference(pixels(page, "photo"), grace_hopper).max() == 0
    _transfer(page, event, b"", "")
    expect(page.get_by_role("status")).to_contain_text("This is not a file")


def test_no_face(page, grace_hopper: Picture, tmp_path: Path) -> None:
    upload(page, grace_hopper, tmp_path)
    upload(page, _NO_FACE, tmp_path)
    expect(page.get_by_role("status")).to_contain_text("No face was found")
    # Nothing of the last photo is left.
    assert difference(pixels(page, "composite"), _NO_FACE).max() == 0
    assert pixels(page, "face").shape[:2] == (1, 1)
    expect(page.get_by_role("button", name="Download portrait")).to_be_disabled()
    for name in ("measure", "handle", "strength", "match"):
        expect(page.locator(f"#{name}")).to_be_disabled()
    # Whatever the form, the photo is seen.
    expect(page.locator("#composite")).to_be_visible()


def test_not_a_picture(page, tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    upload(page, text, tmp_path)
    expect(page.get_by_role("status")).to_have_text(
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
    upload(page, grace_hopper, tmp_path)
    expect(page.locator("body[data-decoded=late]")).to_have_count(1)
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
        expect(page.get_by_role("status")).to_be_empty()
        upload(page, grace_hopper, tmp_path)
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
        expect(status).to_contain_text("The server does not provide a file that the page needs")
        expect(status).to_contain_text(said)
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
        expect(status).to_contain_text("MediaPipe cannot open this bundle")
        # The message stays after a photo is chosen.
        upload(page, grace_hopper, tmp_path)
        expect(status).to_contain_text("MediaPipe cannot open this bundle")
        page.close()


def test_camera(
    bundle: TaskBundle, files: dict[str, WebFile], launch, grace_hopper: Picture, tmp_path: Path
) -> None:
    film = tmp_path / "film.y4m"
    frame = np.full((480, 640, 3), 90, np.uint8)
    frame[:, 100:510] = scaled(grace_hopper, 0.8)[:480]
    write_camera(film, frame)
    chromium = launch(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    )
    with served(files) as url, FaceStylizer(bundle) as stylizer:
        page = open_page(chromium, url)
        camera = page.get_by_role("radio", name="Camera")
        from_file = page.get_by_role("radio", name="Photo", exact=True)
        camera.check(force=True)
        expect(page.locator("#latency-note")).to_contain_text("runs, after a first")
        # Without a photo from before, the last frame stays after the camera is closed.
        from_file.check(force=True)
        expect(page.get_by_role("status")).to_be_empty()
        photo = np.ascontiguousarray(pixels(page, "photo")[..., :3])
        assert photo.shape == frame.shape
        assert np.abs(photo.astype(int) - frame).mean() < 10.0
        assert_same(page, photo, stylizer, 1.0)
        # A photo survives a visit to the camera, and can be worked with.
        upload(page, grace_hopper, tmp_path)
        camera.check(force=True)
        expect(page.locator("#view")).to_have_class("view mirrored")
        from_file.check(force=True)
        expect(page.locator("#view")).to_have_class("view")
        assert_same(page, grace_hopper, stylizer, 1.0)
        for name in ("download", "strength", "measure", "handle"):
            expect(page.locator(f"#{name}")).to_be_enabled()
        # Unless a picture is taken, which then is the photo.
        camera.check(force=True)
        expect(page.locator("#view")).to_have_class("view mirrored")
        page.get_by_role("button", name="Take this picture").click()
        expect(from_file).to_be_checked()
        assert pixels(page, "photo").shape[:2] == frame.shape[:2]
        expect(page.locator("#download")).to_be_enabled()
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
    expect(page.get_by_role("status")).to_contain_text(said)
    expect(page.get_by_role("radio", name="Photo", exact=True)).to_be_checked()


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_it_fits_the_screen(width: int, page, grace_hopper: Picture, tmp_path: Path) -> None:
    upload(page, grace_hopper, tmp_path)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_keyboard(page, grace_hopper: Picture, tmp_path: Path) -> None:
    upload(page, grace_hopper, tmp_path)
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
