import base64
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from android_harness.errors import AndroidError, ToolError
from android_harness.instrumentation import (
    App,
    find_apk,
    parse_instrumentation,
    png,
    thumbnail,
)

PICTURE = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)
VALUES = {
    "version": 1,
    "library": "0.10.26",
    "creation_ms": 80.5,
    "first_call_ms": 31.0,
    "samples_ms": [20.5, 21],
    "thumbnail": base64.b64encode(thumbnail(PICTURE).tobytes()).decode(),
}


def printed(result: str, code: int = -1) -> str:
    return (
        "INSTRUMENTATION_STATUS: progress=1\nINSTRUMENTATION_STATUS_CODE: 0\n"
        f"INSTRUMENTATION_RESULT: {result}\nINSTRUMENTATION_CODE: {code}\n"
    )


def test_a_result_line_is_read() -> None:
    result = parse_instrumentation(printed(f"result={json.dumps(VALUES)}"), 0)
    assert (result.creation_ms, result.first_call_ms, result.samples_ms) == (80.5, 31.0, (20.5, 21))
    assert np.array_equal(result.thumbnail, thumbnail(PICTURE))


def test_errors_and_crashes_are_told() -> None:
    # am's own exit status is 0 in both cases.
    with pytest.raises(ToolError, match="the app failed: java.lang.IllegalStateException: no face"):
        parse_instrumentation(printed("error=java.lang.IllegalStateException: no face", 0), 0)
    with pytest.raises(ToolError, match="Process crashed"):
        parse_instrumentation(printed("shortMsg=Process crashed.", 0), 0)
    with pytest.raises(ToolError, match="INSTRUMENTATION_FAILED"):
        parse_instrumentation("android.util.AndroidException: INSTRUMENTATION_FAILED: x\n", 1)
    with pytest.raises(ToolError, match="printed nothing"):
        parse_instrumentation("", 0)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"samples_ms": []},
        {"samples_ms": [-1.0]},
        {"samples_ms": "x"},
        {"thumbnail": "AAAA"},
        {"thumbnail": "?"},
        {"creation_ms": None},
    ],
)
def test_results_of_another_form_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ToolError):
        parse_instrumentation(printed(f"result={json.dumps(VALUES | change)}"), 0)


def test_thumbnails_are_block_means_rounded_down() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[0, 0] = (255, 4, 3)
    assert thumbnail(picture)[0, 0].tolist() == [63, 1, 0]
    assert thumbnail(picture)[0, 1].tolist() == [0, 0, 0]
    with pytest.raises(AndroidError, match="48 x 33"):
        thumbnail(np.zeros((33, 48, 3), np.uint8))


def test_another_picture_is_not_the_right_one() -> None:
    result = parse_instrumentation(printed(f"result={json.dumps(VALUES)}"), 0)
    right = App(Path("x.apk"), b"", {"s": thumbnail(PICTURE)})
    assert right.compare("s", result).passed
    black = App(Path("x.apk"), b"", {"s": np.zeros((32, 32, 3), np.uint8)})
    assert not black.compare("s", result).passed


def test_the_newest_package_in_a_build_folder_is_found(tmp_path: Path) -> None:
    with pytest.raises(AndroidError, match="build the app first"):
        find_apk(tmp_path)
    folder = tmp_path / "build" / "outputs" / "apk"
    for age, name in ((50, "debug"), (10, "release")):
        (folder / name).mkdir(parents=True)
        path = folder / name / f"app-{name}.apk"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("AndroidManifest.xml", b"")
        os.utime(path, (1e9 - age, 1e9 - age))
    assert find_apk(tmp_path).name == "app-release.apk"


def test_other_files_are_no_packages(tmp_path: Path) -> None:
    path = tmp_path / "x.apk"
    path.write_bytes(b"hello")
    with pytest.raises(AndroidError, match="not an Android package"):
        find_apk(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", b"")
    with pytest.raises(AndroidError, match=r"has no AndroidManifest\.xml"):
        find_apk(path)


def test_photos_go_as_png() -> None:
    assert png(PICTURE).startswith(b"\x89PNG")
