"""The web page in a real browser: the system's Chromium, driven by Playwright."""

import base64
import contextlib
import io
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from task_bundle.web.server import WebFile, WebServer

Picture = npt.NDArray[np.uint8]

# In a container Chromium cannot make its own sandbox; and it is to talk to nobody but the tests.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)
# Loading a bundle takes a second or two; a busy build server may take ten times as long.
_PATIENCE_MS = 60_000


def _chromium_or_skip() -> str:
    """Returns the path of the system's browser, of which Playwright is to download none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("there is no Chromium on the PATH (Debian's package chromium)")


@contextlib.contextmanager
def launcher() -> Iterator[Callable[..., Any]]:
    """Lends a function that starts Chromium, with further arguments for its command line."""
    executable = _chromium_or_skip()
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    sync_api.expect.set_options(timeout=_PATIENCE_MS)
    # One for all: a second one in the same thread is refused. Leaving it ends the browsers.
    with sync_api.sync_playwright() as playwright:
        yield lambda *arguments: playwright.chromium.launch(
            executable_path=executable, args=[*_ARGUMENTS, *arguments]
        )


@contextlib.contextmanager
def served(files: Mapping[str, WebFile]) -> Iterator[str]:
    """Serves files while the block runs; lends the start page's URL."""
    with contextlib.closing(WebServer(files)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


def pixels(page, canvas: str) -> Picture:
    """Returns what is on a canvas of the page: [height, width, 4]."""
    address = page.locator(f"#{canvas}").evaluate("canvas => canvas.toDataURL('image/png')")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return np.array(image.convert("RGBA"))


def write_camera(path: Path, frame: Picture) -> None:
    """Writes a film of one frame for Chromium's fake camera, as YUV4MPEG2."""
    import cv2

    height, width = frame.shape[:2]
    planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes()
    header = f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\n".encode()
    path.write_bytes(header + (b"FRAME\n" + planes) * 3)
