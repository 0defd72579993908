"""What the studio's tests share."""

import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mm_face_stylizer.ready_styles import ready_bundle
from mm_face_stylizer.studio import tuning
from mm_face_stylizer.studio.tuner import TuningJob
from mm_face_stylizer.studio.workshop import Workshop
from mm_face_stylizer.style_pictures import draw_style
from task_bundle.media.images import save_png

_SUPPORT = pathlib.Path(__file__).parents[2] / "support"


@pytest.fixture(scope="session")
def workshop(face_models) -> Iterator[Workshop]:
    with Workshop(face_models) as made:
        yield made


@pytest.fixture(scope="session")
def style_files(tmp_path_factory) -> list[pathlib.Path]:
    """Two drawings of one style."""
    folder = tmp_path_factory.mktemp("styles")
    files = [folder / f"comic_{seed}.png" for seed in range(2)]
    for seed, file in enumerate(files):
        save_png(file, draw_style("comic", seed=seed))
    return files


@pytest.fixture(scope="session")
def no_face_file(tmp_path_factory) -> pathlib.Path:
    file = tmp_path_factory.mktemp("photos") / "wall.png"
    save_png(file, np.full((200, 300, 3), 128, np.uint8))
    return file


@pytest.fixture(scope="session")
def ready_file(tmp_path_factory, face_models) -> pathlib.Path:
    """The bundle of a ready style."""
    file = tmp_path_factory.mktemp("ready") / "ready.task"
    ready_bundle("ink", face_models).save(file)
    return file


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, ready_file) -> Callable[[str], None]:
    """Lets a program take the tuner's place; the argument says what it does."""

    def use(mode: str) -> None:
        monkeypatch.setattr(tuning, "_MODULE", "stand_in_tuner")
        monkeypatch.setenv("PYTHONPATH", str(_SUPPORT))
        monkeypatch.setenv("STAND_IN", mode)
        monkeypatch.setenv("STAND_IN_BUNDLE", str(ready_file))

    return use


@pytest.fixture
def job(tmp_path: pathlib.Path, style_files, grace_hopper_file) -> TuningJob:
    photo = tmp_path / "aligned.png"
    save_png(photo, np.full((256, 256, 3), 128, np.uint8))
    return TuningJob(
        styles=tuple(map(str, style_files)),
        photo=str(photo),
        likeness=None,
        colors="style",
        steps=5,
        seed=0,
        face_models="unused.task",
    )
