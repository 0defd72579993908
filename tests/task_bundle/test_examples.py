"""Runs the examples in the docstrings of the package."""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import task_bundle
from task_bundle import FaceStylizer, TaskBundle, load_image, save_png

_DOCUMENTED: dict[str, object] = {
    "TaskBundle": TaskBundle,
    "TaskBundle.open": TaskBundle.open,
    "TaskBundle.build": TaskBundle.build,
    "TaskBundle.validate": TaskBundle.validate,
    "FaceStylizer": FaceStylizer,
    "FaceStylizer.create_from_model_path": FaceStylizer.create_from_model_path,
    "FaceStylizer.stylize_all": FaceStylizer.stylize_all,
    "composite": task_bundle.composite,
    "cutout": task_bundle.cutout,
}


@pytest.fixture
def folder(
    tmp_path: Path, make_stylizer: Callable[..., bytes], face_models, grace_hopper, monkeypatch
) -> Path:
    """The working directory, with the files that the examples read."""
    model = make_stylizer(64, gain=0.5)
    (tmp_path / "stylizer.tflite").write_bytes(model)
    TaskBundle.build(model, face_models).save(tmp_path / "ink.task")
    save_png(tmp_path / "photo.png", grace_hopper)
    (tmp_path / "photo.png").rename(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", _DOCUMENTED)
def test_the_example_runs(name: str, folder: Path, grace_hopper) -> None:
    before = set(folder.iterdir())
    examples = re.findall(r" *```python\n(.*?)```", _DOCUMENTED[name].__doc__ or "", re.DOTALL)
    assert len(examples) == 1
    if name == "TaskBundle.build":
        (folder / "ink.task").unlink()
    exec(textwrap.dedent(examples[0]), {})
    for picture in set(folder.iterdir()) - before:
        assert picture.suffix == ".png"
        assert not np.array_equal(load_image(picture), grace_hopper)
    assert TaskBundle.open("ink.task").stylizer
