"""Tests of mm_face_stylizer.studio.page, in Chromium."""

import asyncio
import contextlib
import io
import os
import socket
from collections.abc import Iterator

import numpy as np
import pytest
from browser import launcher, write_camera
from PIL import Image

from mm_face_stylizer.studio.command import keep_gradio_at_home
from mm_face_stylizer.studio.tuning import Tuning
from task_bundle.bundle import TaskBundle
from task_bundle.media.images import save_png

pytest.importorskip("gradio", reason="the studio's page needs the extra 'studio'")

pytestmark = pytest.mark.slow

# Chromium's first picture may take a busy build server a minute.
_START_MS = 120_000
_PATIENCE_MS = 30_000
_FINE_SIDE = 264


@pytest.fixture(scope="module")
def launch() -> Iterator:
    with launcher() as made:
        yield made


class _SlowNetwork:
    """Between server and page; messages that end a stream of events are late if it is told so."""

    def __init__(self) -> None:
        self.delay = 0.0

    def put_before(self, app) -> None:
        behind = app.middleware_stack

        async def respond(scope, receive, send) -> None:
            async def send_late(message) -> None:
                if self.delay and b"close_stream" in message.get("body", b""):
                    await asyncio.sleep(self.delay)
                await send(message)

            await behind(scope, receive, send_late)

        app.middleware_stack = respond


@pytest.fixture(scope="module")
def network() -> _SlowNetwork:
    return _SlowNetwork()


@pytest.fixture(scope="module")
def address(workshop, network, tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("studio")
    before = dict(os.environ)
    keep_gradio_at_home(str(folder))
    from mm_face_stylizer.studio import page as module

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    # Fine paintings of the usual size take seconds each.
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        contextlib.closing(module.StudioPage(workshop, folder, steps=5)) as page,
    ):
        monkeypatch.setattr(module, "FINE_SIDE", _FINE_SIDE)
        local, public = page.launch(port)
        assert local == f"http://127.0.0.1:{port}/" and not public
        network.put_before(page.blocks.app)
        yield local
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def chromium(launch):
    return launch()


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """The addresses that pages asked for."""
    return []


@pytest.fixture(scope="module")
def shared_page(chromium, address, asked):
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address, timeout=_START_MS)
    _expect(page.locator("#caption b")).to_have_text("Oil", timeout=_START_MS)
    return page


@pytest.fixture
def page(shared_page):
    """The page with the sample photo."""
    shared_page.get_by_role("button", name="Use the sample photo").click()
    _expect(_message(shared_page)).to_be_empty()
    return shared_page


def _expect(locator):
    from playwright.sync_api import expect

    expect.set_options(timeout=_PATIENCE_MS)
    return expect(locator)


def _message(page):
    return page.locator("#message p")


def _after(page) -> np.ndarray:
    """The large picture, as it was sent: uint8 [side, side, 3]."""
    source = page.locator("#result img").last.get_attribute("src")
    with Image.open(io.BytesIO(page.request.get(source).body())) as image:
        return np.array(image.convert("RGB"))


def _choose_styles(page, files) -> None:
    page.get_by_role("tab", name="My pictures").click()
    clear = page.locator("#styles").get_by_role("button", name="Clear")
    if clear.count():
        clear.click()
        # What is shown of the pictures from before is not to be taken for these pictures' own.
        _expect(page.locator("#caption b")).to_have_text("Oil")
    page.locator("#styles input[type=file]").first.set_input_files(files)


def _choose_photo(page, file) -> None:
    remove = page.locator("#photo").get_by_role("button", name="Remove Image")
    if remove.count():
        remove.click()
    page.locator("#photo input[type=file]").first.set_input_files(file)


def test_it_begins_with_ready_styles_on_the_sample(page, asked, address) -> None:
    page.get_by_role("tab", name="Ready styles").click()
    _expect(page.locator("#ready img")).to_have_count(12)
    page.locator("#ready .thumbnail-item").nth(2).click()
    _expect(page.locator("#caption b")).to_have_text("Ink")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download .task").click()
    assert download.value.suggested_filename == "ink.task"
    TaskBundle.open(download.value.path()).validate("ink.task")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download picture").click()
    with Image.open(download.value.path()) as picture:
        assert picture.size == (256, 256)
    # Nobody else is asked for anything: no statistics, no fonts.
    assert asked and not [url for url in asked if not url.startswith((address, "data:", "blob:"))]


def test_the_sample_drawings_are_painted_after(page) -> None:
    page.get_by_role("tab", name="My pictures").click()
    page.get_by_role("button", name="Use sample drawings").click()
    _expect(page.locator("#caption")).to_contain_text("Painted in your style")


def test_a_painting_and_its_sliders(page, style_files) -> None:
    _choose_styles(page, style_files)
    caption = page.locator("#caption")
    _expect(caption).to_contain_text("Painted in your style")
    _expect(caption).to_contain_text("chosen for this style")
    _expect(caption).not_to_contain_text("finer in a moment")
    first = _after(page)
    assert first.shape == (3 * _FINE_SIDE, 3 * _FINE_SIDE, 3)
    likeness = page.locator("#likeness input[type=range]")
    likeness.focus()
    page.keyboard.press("Home")
    _expect(caption).to_contain_text("likeness 0")
    _expect(caption).not_to_contain_text("chosen for this style")
    _expect(caption).not_to_contain_text("finer in a moment")
    second = _after(page)
    assert np.abs(second.astype(int) - first).mean() > 1
    page.get_by_label("The person's own").check()
    _expect(caption).to_contain_text("finer in a moment")
    _expect(caption).not_to_contain_text("finer in a moment")
    assert np.abs(_after(page).astype(int) - second).mean() > 1
    page.get_by_label("The style's").check()
    # A painting is no stylizer yet.
    _expect(page.locator("#bundle-file")).to_be_disabled()


def test_what_cannot_be_used_is_said(page, no_face_file, style_files, tmp_path) -> None:
    text, huge = tmp_path / "letter.png", tmp_path / "huge.png"
    text.write_text("Dear reader")
    Image.new("1", (12_000, 9_000)).save(huge)
    for file, reason in (
        (no_face_file, "no face was found in wall.png"),
        (text, "letter.png"),
        (huge, "megapixels"),
    ):
        _choose_photo(page, file)
        _expect(_message(page)).to_contain_text(reason)
        _expect(_message(page)).to_have_attribute("data-kind", "error")
        assert str(tmp_path) not in _message(page).inner_text()
    page.get_by_role("button", name="Use the sample photo").click()
    _expect(_message(page)).to_be_empty()
    (tmp_path / "white.png").write_bytes(no_face_file.read_bytes())
    _choose_styles(page, [no_face_file, tmp_path / "white.png"])
    _expect(_message(page)).to_contain_text("no face was found in wall.png, white.png; each")
    _choose_styles(page, style_files)
    _expect(_message(page)).to_be_empty()


@pytest.fixture
def can_tune(monkeypatch: pytest.MonkeyPatch) -> None:
    if not __import__("importlib.util").util.find_spec("tensorflow"):
        pytest.skip("the button needs the extra 'train'")


def test_lines_of_code_to_copy(page) -> None:
    page.get_by_role("button", name="Use the .task in an app").click()
    for platform, line in (
        ("Android", "FaceStylizer.createFromOptions(context, options)"),
        ("iOS", "import MediaPipeTasksVision"),
        ("Web", "FaceStylizer.createFromModelPath(files"),
        ("Python", "create_from_model_path"),
    ):
        page.get_by_role("tab", name=platform).click()
        _expect(page.locator("#code .cm-content:visible")).to_contain_text(line)
    page.get_by_role("button", name="Use the .task in an app").click()


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_screen(width: int, chromium, address) -> None:
    # Opened anew: Gradio lays a page out otherwise that has been wider.
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.goto(address, timeout=_START_MS)
    _expect(page.locator("#ready img")).to_have_count(12)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # No style is cut off.
    gallery = page.locator("#ready").bounding_box()
    for thumbnail in page.locator("#ready .thumbnail-item").all():
        box = thumbnail.bounding_box()
        assert box["x"] + box["width"] < gallery["x"] + gallery["width"]
    page.close()


def test_the_camera(launch, address, grace_hopper, tmp_path) -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    frame[:, 114:526] = np.asarray(Image.fromarray(grace_hopper).resize((412, 483)))[:480]
    write_camera(tmp_path / "film.y4m", frame)
    chromium = launch(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={tmp_path / 'film.y4m'}",
    )
    page = chromium.new_page()
    page.goto(address, timeout=_START_MS)
    _expect(page.locator("#caption b")).to_have_text("Oil", timeout=_START_MS)
    before = _after(page)
    page.locator("#photo").get_by_role("button", name="Remove Image").click()
    page.locator("#photo").get_by_role("button", name="Capture from camera").click()
    page.locator("#photo").get_by_text("Click to Access Webcam").click()
    page.locator("#photo").get_by_role("button", name="capture photo").click()
    _expect(page.locator("#caption b")).to_have_text("Oil")
    _expect(page.locator("#result img").last).to_be_visible()
    assert np.abs(_after(page).astype(int) - before).mean() > 1
    page.close()


def test_a_page_without_tensorflow(workshop, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mm_face_stylizer.studio import page as module

    monkeypatch.setattr(module, "can_tune", lambda: False)
    page = module.StudioPage(workshop, tmp_path)
    texts = [str(block.value) for block in page.blocks.blocks.values() if hasattr(block, "value")]
    assert any("pip install 'mm-face-stylizer[train]'" in text for text in texts)
    made = [b for b in page.blocks.blocks.values() if getattr(b, "elem_id", "") == "make"]
    assert not made[0].interactive


@pytest.mark.slow
def test_a_whole_tuning(chromium, address, style_files, tmp_path, grace_hopper) -> None:
    pytest.importorskip("tensorflow", reason="the tuning needs the extra 'train'")
    page = chromium.new_page()
    page.goto(address, timeout=_START_MS)
    photo = tmp_path / "grace.png"
    save_png(photo, grace_hopper)
    _choose_photo(page, photo)
    _choose_styles(page, style_files)
    _expect(page.locator("#caption")).to_contain_text("Painted in your style")
    page.locator("#make").click()
    _expect(page.locator("#progress")).to_contain_text("Done", timeout=600_000)
    _expect(page.locator("#caption b")).to_have_text("Your stylizer")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download .task").click()
    TaskBundle.open(download.value.path()).validate("mine.task")
    page.close()


def test_a_stylizer_is_made_while_one_watches(page, can_tune, stand_in, style_files) -> None:
    stand_in("wait")
    _choose_styles(page, style_files)
    # A finer painting is on its way now, which is not to cover what the tuning shows.
    _expect(page.locator("#caption")).to_contain_text("Painted in your style")
    page.locator("#make").click()
    _expect(page.locator("#caption")).to_contain_text("after 1 step")
    _expect(page.get_by_role("progressbar")).to_be_visible()
    _expect(page.locator("#progress")).to_contain_text("step 4 of 5")
    _expect(page.locator("#progress")).to_contain_text("left")
    page.get_by_role("button", name="Stop and keep it").click()
    _expect(page.locator("#progress")).to_contain_text("Done after 4 of 5 steps")
    _expect(page.locator("#caption b")).to_have_text("Your stylizer")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download .task").click()
    assert download.value.suggested_filename == "face_stylizer.task"
    TaskBundle.open(download.value.path())


def test_a_tuning_that_fails_says_why(
    shared_page, can_tune, stand_in, network, monkeypatch
) -> None:
    page = shared_page
    stand_in("refuse")
    # Every event of the page now begins while the stream of the one before is being closed, which
    # Gradio's page takes for open: it never hears of an event that is its last.
    monkeypatch.setattr(network, "delay", 1.5)
    page.wait_for_timeout(2000)
    page.locator("#make").click()
    _expect(_message(page)).to_have_text("ink.png is no use")
    _expect(page.locator("#make")).to_be_visible()


def test_a_page_that_is_loaded_again_shows_its_tuning(
    chromium, address, can_tune, stand_in, style_files, grace_hopper_file, monkeypatch
) -> None:
    from mm_face_stylizer.studio import makings

    stand_in("wait")
    begun = []
    monkeypatch.setattr(makings, "Tuning", lambda *given: begun.append(Tuning(*given)) or begun[-1])
    context = chromium.new_context()
    page = context.new_page()
    page.goto(address, timeout=_START_MS)
    _choose_photo(page, grace_hopper_file)
    _choose_styles(page, style_files)
    _expect(page.locator("#caption")).to_contain_text("Painted in your style")
    page.get_by_label("The person's own").check()
    page.locator("#make").click()
    _expect(page.locator("#caption")).to_contain_text("after 1 step")
    face = _after(page)
    page.close()
    page = context.new_page()
    page.goto(address, timeout=_START_MS)
    _expect(page.locator("#progress")).to_contain_text("step 4 of 5", timeout=_START_MS)
    _expect(page.locator("#caption")).to_contain_text("after 1 step")
    assert (_after(page) == face).all()
    # What it is made from is there, too, and the page does not say that it was exchanged.
    _expect(page.locator("#styles .thumbnail-item")).to_have_count(len(style_files))
    _expect(_message(page)).to_be_empty()
    page.get_by_role("button", name="Stop and keep it").click()
    _expect(page.locator("#progress")).to_contain_text("Done after 4 of 5 steps")
    # Whoever comes back later finds what was made.
    page.reload()
    _expect(page.locator("#caption b")).to_have_text("Your stylizer", timeout=_START_MS)
    _expect(page.locator("#progress")).to_contain_text("Done after 4 of 5 steps")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download .task").click()
    TaskBundle.open(download.value.path())
    assert len(begun) == 1
    # From the stylizer back to the painting, whose colors are as they were, and the other way.
    page.get_by_label("Painting").check()
    _expect(page.locator("#caption")).to_contain_text("Painted in your style")
    _expect(page.get_by_label("The person's own")).to_be_checked()
    page.get_by_label("Your stylizer").check()
    _expect(page.locator("#caption b")).to_have_text("Your stylizer")
    context.close()


def test_another_browser_sees_nothing_of_it(launch, address) -> None:
    page = launch().new_page()
    page.goto(address, timeout=_START_MS)
    _expect(page.locator("#caption b")).to_have_text("Oil", timeout=_START_MS)
    _expect(page.locator("#progress")).to_be_empty()
    page.close()


def test_a_page_that_nobody_uses_is_silent(chromium, address, monkeypatch) -> None:
    page = chromium.new_page()
    page.clock.install()
    page.goto(address, timeout=_START_MS)
    _expect(page.locator("#caption b")).to_have_text("Oil", timeout=_START_MS)
    page.clock.fast_forward(301_000)
    # What the page asked for when it was opened may still come in, pictures for example.
    page.wait_for_timeout(3_000)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(60_000)
    assert not [url for url in asked if "/queue/join" in url]
    page.keyboard.press("Shift")
    with page.expect_request("**/queue/join*"):
        page.clock.run_for(1_000)
    page.close()
