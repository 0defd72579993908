"""The portrait that tests of all packages share, and an environment that is everybody's."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import conv_model
import numpy as np
import numpy.typing as npt
import pytest
from native import HAS_WHEEL_MODELS

from task_bundle.cache import CACHE_VARIABLE, cache_folder
from task_bundle.errors import FaceModelsError
from task_bundle.faces.face_models import FACE_LANDMARKER_FILE, FaceModels, find_face_models
from task_bundle.media.images import load_image

MakeModel = Callable[..., bytes]


def pytest_collection_finish() -> None:
    """Switches TensorFlow's graph optimizer off in the processes that run tests.

    To optimize a training step takes as long as dozens of these tests' small steps. The converter
    to TFLite has an optimizer of its own, and what tests run in other processes has them all.
    """
    # Tests that need TensorFlow have imported it by now; the others must not wait for it.
    if tensorflow := sys.modules.get("tensorflow"):
        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


# The files that take longest. A file goes to one worker, and one of these that came last would keep
# the other workers waiting.
_LONG_FILES = (
    "android_harness/test_command.py",
    "android_harness/test_faults.py",
    "benchmarks/test_measuring.py",
    "blaze_stylegan/test_drawing_training.py",
    "blaze_stylegan/test_growth.py",
    "blaze_stylegan/test_inversion.py",
    "blaze_stylegan/test_pretraining.py",
    "blaze_stylegan/test_prior_training.py",
    "blaze_stylegan/test_teacher.py",
    "face_swap/test_swap_training.py",
    "mm_face_stylizer/test_cli.py",
    "mm_face_stylizer/test_demo.py",
    "mm_face_stylizer/test_face_stylizer.py",
    "model_maker/test_assets.py",
    "model_maker/test_upstream.py",
    "notebooks/test_face_stylizer.py",
    "studio/test_page.py",
    "training/test_distribution.py",
    "translator/test_translator_search.py",
    "translator/test_translator_training.py",
    "web/test_page.py",
    "web/test_page_pictures.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the long files first, for `make test` and others that keep this order."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(_LONG_FILES))


# The developer's own, which no test writes to.
_DOWNLOADED, _NPM = cache_folder() / FACE_LANDMARKER_FILE, cache_folder() / "npm"


@pytest.fixture(scope="session", autouse=True)
def _shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The cache of what several tests share, which is made before the first test has its own.

    The npm package that tests of the web page need is lent to it.
    """
    cache = _lent(tmp_path_factory.mktemp("cache"))
    if _NPM.is_dir():
        (cache / "npm").symlink_to(_NPM)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv(CACHE_VARIABLE, str(cache))
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests out of each other's cache."""
    # Beside the test's own folder, whose content some tests count.
    monkeypatch.setenv(CACHE_VARIABLE, str(_lent(tmp_path.with_name(f"{tmp_path.name}-cache"))))


def _lent(cache: Path) -> Path:
    """Makes a cache, which a developer's own has no part in.

    MediaPipe 1.x has no face models: with it the developer's copy of Google's is lent to the tests.
    """
    if not HAS_WHEEL_MODELS and _DOWNLOADED.is_file():
        cache.mkdir(exist_ok=True)
        (cache / FACE_LANDMARKER_FILE).symlink_to(_DOWNLOADED)
    return cache


@pytest.fixture(scope="session")
def grace_hopper_file() -> Path:
    """Rear Admiral Grace Hopper, from matplotlib: 512 x 600 pixels, one face, public domain."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture(scope="session")
def grace_hopper(grace_hopper_file: Path) -> npt.NDArray[np.uint8]:
    """The portrait's pixels, not writeable: [600, 512, 3] uint8."""
    image = load_image(grace_hopper_file)
    image.setflags(write=False)
    return image


@pytest.fixture(scope="session")
def face_models() -> FaceModels:
    """Models that find faces: those of mediapipe's wheel, or the developer's download."""
    try:
        return find_face_models()
    except FaceModelsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def make_stylizer() -> MakeModel:
    """Returns a function that makes a 1x1 convolution; its arguments are defects to be found."""
    return conv_model.make_stylizer


@pytest.fixture
def any_face_models(make_stylizer: MakeModel) -> FaceModels:
    """Face models for tests that only pack them: real ones, or where there are none any model."""
    try:
        return find_face_models()
    except FaceModelsError:
        return FaceModels(make_stylizer(32), make_stylizer(16), "stand-ins")
