"""The phone app is compiled against stubs of Android and MediaPipe, and runs on Java with them."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from android_harness.errors import ToolError
from android_harness.instrumentation import App, parse_instrumentation, thumbnail

_ROOT = Path(__file__).parents[2]
_APP = _ROOT / "android_harness" / "app"
_SOURCE = _APP / "src" / "main" / "kotlin"
_STUBS = _ROOT / "tests" / "support" / "android_stubs"
_MISSING = [name for name in ("kotlinc", "javac", "java") if shutil.which(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(_MISSING),
        reason=f"{' and '.join(_MISSING)} not installed (Debian: apt install kotlin"
        " default-jdk-headless)",
    ),
]

Run = Callable[..., str]


def _libraries() -> list[str]:
    home = Path(shutil.which("kotlinc") or "").resolve().parents[1]
    # `use` of what is only AutoCloseable is in a library of its own before Kotlin 1.8.
    names = ("kotlin-stdlib.jar", "kotlin-stdlib-jdk7.jar")
    return [str(home / "lib" / name) for name in names]


def _compile(source: Path, target: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            *("kotlinc", "-Werror", "-jvm-target", "1.8", "-cp", ":".join(_libraries())),
            *("-d", str(target), str(source), str(_STUBS)),
        ],
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A function that runs the app with arguments, and returns what `am instrument` prints."""
    classes = tmp_path_factory.mktemp("classes")
    compiled = _compile(_SOURCE, classes)
    assert compiled.returncode == 0, compiled.stderr
    stubs = [str(path) for path in sorted(_STUBS.rglob("*.java"))]
    subprocess.run(["javac", "-cp", str(classes), "-d", str(classes), *stubs], check=True)
    path = ":".join([str(classes), *_libraries()])

    def run(**arguments: str | Path) -> str:
        words = [str(word) for pair in arguments.items() for word in pair]
        done = subprocess.run(
            ["java", "-cp", path, "Run", *words], capture_output=True, text=True, check=True
        )
        return done.stdout

    return run


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    (_, *options, _) = App(file, b"", {}).command(str(file), str(file), "gpu", 3)[3:]
    return dict(zip(options[1::3], options[2::3], strict=True))


def test_the_result_of_the_app_is_what_this_side_reads(run: Run, arguments: dict[str, str]) -> None:
    result = parse_instrumentation(run(**arguments), 0)
    assert len(result.samples_ms) == 3
    assert min(result.creation_ms, result.first_call_ms, *result.samples_ms) > 0
    gradle = (_APP / "build.gradle.kts").read_text()
    assert f'val tasksVision = "{result.library}"' in gradle
    # The picture of the stub of ByteBufferExtractor.
    rows, columns = np.mgrid[:64, :64]
    picture = np.stack([columns, rows, np.full((64, 64), 255)], -1).astype(np.uint8)
    assert np.array_equal(result.thumbnail, thumbnail(picture))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"photo": "nowhere.jpg"}, "nowhere.jpg is not a picture"),
        ({"delegate": "npu"}, "delegate is 'npu'; it must be 'cpu' or 'gpu'"),
        ({"runs": "0"}, "runs must be at least 1"),
        ({"bundle": "nowhere.task"}, "nowhere.task"),
        ({"photo": None}, "the argument -e photo VALUE is missing"),
    ],
)
def test_the_errors_of_the_app_are_told(
    run: Run, arguments: dict[str, str], change: dict[str, str | None], told: str
) -> None:
    given = {name: value for name, value in (arguments | change).items() if value is not None}
    with pytest.raises(ToolError, match=re.escape(told)):
        parse_instrumentation(run(**given), 0)


def test_typos_do_not_compile(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(_SOURCE, source)
    (file,) = source.rglob("*.kt")
    text = file.read_text()
    for right, wrong in (
        (".stylizedImage()", ".stylizedImages()"),
        ('argument("runs").toInt()', 'argument("runs")'),
        ("setDelegate(delegate)", "setDelegate(base)"),
    ):
        assert right in text
        text = text.replace(right, wrong)
    file.write_text(text)
    compiled = _compile(source, tmp_path / "classes")
    assert compiled.returncode != 0
    assert "unresolved reference: stylizedImages" in compiled.stderr
    assert "type mismatch: inferred type is String but Int was expected" in compiled.stderr
    assert "setDelegate(base)" in compiled.stderr


def test_the_manifest_names_the_class() -> None:
    manifest = (_APP / "src" / "main" / "AndroidManifest.xml").read_text()
    (file,) = _SOURCE.rglob("*.kt")
    assert f'android:name=".{file.stem}"' in manifest
    assert f"class {file.stem} " in file.read_text()
    assert f'android:targetPackage="{App.PACKAGE}"' in manifest
    assert file.relative_to(_SOURCE).parent == Path(*App.PACKAGE.split("."))
