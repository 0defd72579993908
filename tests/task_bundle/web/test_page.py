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
from browser import launcher, pixels, served, write_camera
from PIL import Image
from source_types import source_type

from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError, TasksVisionError
from task_bundle.media.images import load_image, save_png
from task_bundle.media.source_type import SOURCE_TYPE
from task_bundle.runtime.compositing import composite, face_mask
from task_bundle.runtime.stylizer import FaceStylizer, FaceStylizerOptions
from task_bundle.web.page import page_files
from task_bundle.web.server import WebFile
from task_bundle.web.tasks_vision import find_tasks_vision

Picture = npt.NDArray[np.uint8]

_NO_FACE = np.full((300, 400, 3), 128, np.uint8)


@pytest.fixture(scope="session")
def tasks_vision() -> dict[str, bytes]:
    """The npm package in the working directory or in the developer's own cache."""
    try:
        return dict(find_tasks_vision())
    except TasksVisionError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def bundle(make_stylizer, face_models) -> TaskBundle:
    """A bundle that makes faces darker and keeps their lines, which show misplacement."""
    return TaskBundle.build(make_stylizer(256, gain=0.6), face_models)


@pytest.fixture(scope="module")
def files(bundle: TaskBundle, tasks_vision) -> dict[str, WebFile]:
    return page_files(bundle, "somewhere/dark.task", tasks_vision)


@pytest.fixture(scope="module")
def launch() -> Iterator:
    with launcher() as made:
        yield made


@pytest.fixture(scope="module")
def chromium(launch):
    return launch()


@pytest.fixture(scope="module")
def shared_page(files: dict[str, WebFile], chromium) -> Iterator:
    """A page with an open bundle, for tests that leave it like that."""
    with served(files) as url:
        yield _open(chromium, url)


@pytest.fixture
def page(shared_page):
    """The page with its default settings."""
    _set_strength(shared_page, 100)
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
    mask = face_mask(result.face, *photo.shape[:2]) > 0
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


def test_downloads_are_what_is_shown(page, grace_hopper: Picture, tmp_path: Path) -> None:
    _upload(page, grace_hopper, tmp_path, "grace.png")
    for button, canvas, name in (
        ("Download picture", "composite", "grace-dark.png"),
        ("Face only", "face", "grace-dark-face.png"),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=button).click()
        assert download.value.suggested_filename == name
        path = download.value.path()
        np.testing.assert_array_equal(load_image(path), pixels(page, canvas)[..., :3])
        assert source_type(path) == SOURCE_TYPE


def test_showing_the_original_does_not_change_what_is_downloaded(
    page, grace_hopper: Picture, tmp_path: Path
) -> None:
    _upload(page, grace_hopper, tmp_path)
    stylized = pixels(page, "composite")
    button = page.get_by_role("button", name="Show original")
    button.click()
    _expect(button).to_have_attribute("aria-pressed", "true")
    np.testing.assert_array_equal(pixels(page, "composite")[..., :3], grace_hopper)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download picture").click()
    np.testing.assert_array_equal(load_image(download.value.path()), stylized[..., :3])
    button.click()
    np.testing.assert_array_equal(pixels(page, "composite"), stylized)


def test_measuring(page, grace_hopper: Picture, tmp_path: Path) -> None:
    _upload(page, grace_hopper, tmp_path)
    page.get_by_role("button", name="Run 20 times").click()
    _expect(page.locator("#latency-note")).to_contain_text("after a first")
    _expect(page.get_by_role("status")).to_be_empty()
    row = page.get_by_role("row", name="Stylizer").inner_text()
    assert row.count(" ms") == 2


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
    _expect(page.get_by_role("button", name="Download picture")).to_be_enabled()
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
    for name in ("Download picture", "Face only", "Run 20 times", "Show original"):
        _expect(page.get_by_role("button", name=name)).to_be_disabled()


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


def test_what_is_said_of_the_bundle(files: dict[str, WebFile], chromium) -> None:
    about = json.loads(files["/bundle/about.json"].content)
    assert about["name"] == "dark.task"
    assert about["inputSize"] == [256, 256]
    # Names may contain HTML.
    about["name"] = "<img src=x onerror=alert(1)>.task"
    about["entries"][-1]["metadata"]["description"] = about["remarks"] = ["<img src=x>"]
    changed = dataclasses.replace(files["/bundle/about.json"], content=json.dumps(about).encode())
    with served({**files, "/bundle/about.json": changed}) as url:
        page = chromium.new_page()
        page.goto(url)
        _expect(page.locator("#bundle-name")).to_have_text(about["name"])
        for text in (about["sha256"], "256 × 256 px", "<img src=x>"):
            _expect(page.locator("#facts")).to_contain_text(text)
        _expect(page.locator("#remarks")).to_have_text("<img src=x>")
        _expect(page.locator("img")).to_have_count(1)
        page.close()


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


def test_a_gpu_that_cannot(
    make_stylizer, wheel_models, tasks_vision, chromium, grace_hopper: Picture, tmp_path: Path
) -> None:
    # MediaPipe's WebGL delegate does not support GATHER, with which the wheel's model is adapted.
    bundle = TaskBundle.build(make_stylizer(64, gain=0.6), wheel_models)
    with (
        served(page_files(bundle, "x.task", tasks_vision)) as url,
        FaceStylizer(bundle) as stylizer,
    ):
        page = _open(chromium, url)
        page.get_by_role("radio", name="GPU").check()
        status = page.get_by_role("status")
        _expect(status).to_contain_text("The GPU cannot run this bundle")
        _expect(page.get_by_role("radio", name="CPU")).to_be_checked()
        _upload(page, grace_hopper, tmp_path)
        _expect(page.get_by_role("button", name="Download picture")).to_be_enabled()
        _assert_same(page, grace_hopper, stylizer, 1.0)
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
        page.get_by_role("radio", name="Camera").click()
        _expect(page.locator("#latency-note")).to_contain_text("runs, after a first")
        # The last frame stays after the camera is closed.
        page.get_by_role("radio", name="Photo").check()
        _expect(page.get_by_role("status")).to_be_empty()
        photo = np.ascontiguousarray(pixels(page, "photo")[..., :3])
        assert photo.shape == frame.shape
        assert np.abs(photo.astype(int) - frame).mean() < 10.0
        _assert_same(page, photo, stylizer, 1.0)
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
    page.get_by_role("radio", name="Camera").click()
    _expect(page.get_by_role("status")).to_contain_text(said)
    _expect(page.get_by_role("radio", name="Photo")).to_be_checked()


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
        reached.append(page.evaluate("document.activeElement.id"))
    assert reached == [
        *("cpu", "photo-source", "file", "compare"),
        *("strength", "download", "download-face", "measure"),
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
