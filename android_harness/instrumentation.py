"""The instrumentation app, which runs Google's FaceStylizer for Android end to end.

Its source is in `app/`, where README.md describes what it prints.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from android_harness.errors import AndroidError, ToolError
from benchmarks.report import Parity

RESULT_VERSION = 1
# Pictures are compared by the means of 32 x 32 blocks, because on a phone the face detector and the
# landmark model may shift the crop by a pixel, which changes every pixel a little.
THUMBNAIL_SIDE = 32
# Greatest mean difference of block means that passes, in gray levels of 255.
_MAX_DIFFERENCE = 8.0

_RESULT = re.compile(r"^INSTRUMENTATION_RESULT: (?P<key>\w+)=(?P<value>.*)$", re.MULTILINE)
_CODE = re.compile(r"^INSTRUMENTATION_CODE: (?P<code>-?\d+)\s*$", re.MULTILINE)
_OK = -1  # android.app.Activity.RESULT_OK


@dataclass(frozen=True)
class AppResult:
    """Result of a run of the app.

    Attributes:
      creation_ms: Time to create the FaceStylizer, in milliseconds; so are the following times.
      first_call_ms: Time of the first call.
      samples_ms: Times of the counted calls.
      thumbnail: [32, 32, 3] uint8 RGB, block means of the stylized picture.
      library: Version of MediaPipe Tasks in the app.
    """

    creation_ms: float
    first_call_ms: float
    samples_ms: tuple[float, ...]
    thumbnail: npt.NDArray[np.uint8]
    library: str


@dataclass(frozen=True)
class App:
    """The app that the user built.

    Attributes:
      apk: The Android package.
      photo: The photo to stylize, as the content of a PNG file.
      expected: Thumbnails of the expected pictures, by subject.
    """

    PACKAGE: ClassVar[str] = "org.mmfacestylizer.benchmark"

    apk: Path
    photo: bytes
    expected: Mapping[str, npt.NDArray[np.uint8]]

    def command(self, bundle: str, photo: str, delegate: str, runs: int) -> tuple[str, ...]:
        """Returns the command that runs the app on the phone.

        Args:
          bundle: Path of the `.task` bundle on the phone.
          photo: Path of the photo on the phone.
          delegate: 'cpu' or 'gpu'.
          runs: Number of counted calls.

        Returns:
          The program and its arguments.
        """
        extras = {"bundle": bundle, "photo": photo, "delegate": delegate, "runs": str(runs)}
        options = [word for name, value in extras.items() for word in ("-e", name, value)]
        runner = f"{self.PACKAGE}/.BenchmarkInstrumentation"
        return ("am", "instrument", "-w", "-r", *options, runner)

    def compare(self, subject: str, result: AppResult) -> Parity:
        """Compares the picture of a run with the expected one of a subject."""
        difference = np.abs(
            result.thumbnail.astype(np.float64) - self.expected[subject].astype(np.float64)
        )
        mean = float(difference.mean())
        return Parity(
            against="the portable runtime on the host",
            unit="grey levels",
            mean=mean,
            maximum=float(difference.max()),
            limit=_MAX_DIFFERENCE,
            passed=mean <= _MAX_DIFFERENCE,
        )


def find_apk(path: Path) -> Path:
    """Finds the app that the user built.

    Args:
      path: The `.apk`, or the folder in which Gradle built it, such as `android_harness/app`.

    Returns:
      The Android package; the newest one if there are several.

    Raises:
      AndroidError: there is no package, or the file is not an Android package.
    """
    if path.is_dir():
        built = sorted(path.glob("**/outputs/apk/**/*.apk"), key=lambda f: f.stat().st_mtime)
        if not built:
            raise AndroidError(
                f"{path} has no build/outputs/apk/*.apk: build the app first (gradle"
                " assembleRelease, see its README.md), or give the .apk itself"
            )
        path = built[-1]
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise AndroidError(f"{path} is not an Android package: {error}") from error
    if "AndroidManifest.xml" not in names:
        raise AndroidError(f"{path} is not an Android package: it has no AndroidManifest.xml")
    return path


def thumbnail(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Returns block means of a square picture, as the app computes them.

    Args:
      picture: [side, side, 3] uint8 RGB, where the side is a multiple of 32.

    Returns:
      [32, 32, 3] uint8, the means rounded down.

    Raises:
      AndroidError: the picture has another shape.
    """
    side = picture.shape[0]
    if picture.shape != (side, side, 3) or side % THUMBNAIL_SIDE:
        raise AndroidError(
            f"the stylizer returns pictures of {picture.shape[1]} x {side} pixels; the app needs"
            f" square ones whose side is a multiple of {THUMBNAIL_SIDE}"
        )
    block = side // THUMBNAIL_SIDE
    sums = picture.reshape(THUMBNAIL_SIDE, block, THUMBNAIL_SIDE, block, 3).sum((1, 3), np.int64)
    return np.asarray(sums // block**2, np.uint8)


def png(photo: npt.NDArray[np.uint8]) -> bytes:
    """Returns a picture, [height, width, 3] uint8 RGB, as the content of a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    return buffer.getvalue()


def parse_instrumentation(text: str, status: int) -> AppResult:
    """Parses the output of `am instrument -w -r`.

    Args:
      text: Standard output and standard error.
      status: Exit status, which is 0 even if the app crashed.

    Returns:
      The result.

    Raises:
      ToolError: the app failed or crashed, or its result line does not have the documented form.
    """
    results = {m["key"]: m["value"].strip() for m in _RESULT.finditer(text)}
    code = _CODE.search(text)
    if status != 0 or code is None or int(code["code"]) != _OK or "result" not in results:
        reason = results.get("error") or results.get("longMsg") or results.get("shortMsg")
        said = reason or " ".join(text.split())[-200:] or "it printed nothing"
        raise ToolError(f"the app failed: {said}")
    try:
        return _result(json.loads(results["result"]))
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise ToolError(f"the app's result line cannot be read: {error!r}"[:300]) from error


def _result(values: Any) -> AppResult:
    if values["version"] != RESULT_VERSION:
        raise ToolError(
            f"the app writes results of version {values['version']!r}, this program reads version"
            f" {RESULT_VERSION}: build the app again"
        )
    content = base64.b64decode(values["thumbnail"], validate=True)
    picture = np.frombuffer(content, np.uint8).reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)
    samples = tuple(float(ms) for ms in values["samples_ms"])
    if not samples or min(samples) < 0:
        raise ValueError("samples_ms is empty or has negative times")
    return AppResult(
        creation_ms=float(values["creation_ms"]),
        first_call_ms=float(values["first_call_ms"]),
        samples_ms=samples,
        thumbnail=picture,
        library=str(values["library"]),
    )
