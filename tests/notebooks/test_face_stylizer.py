import re
import shutil
import sys
import types
from pathlib import Path

import nbformat
import numpy as np
import pytest
from native import HAS_NATIVE
from nbclient import NotebookClient

from task_bundle import TaskBundle, load_image
from task_bundle.web.tasks_vision import VERSION

_ROOT = Path(__file__).parents[2]
_NOTEBOOK = _ROOT / "notebooks" / "face_stylizer.ipynb"
# Of one cell: nothing waits for ever.
_TIMEOUT_SECONDS = 1800


@pytest.fixture
def notebook():
    return nbformat.read(_NOTEBOOK, as_version=4)


@pytest.fixture
def jupyter(tmp_path, monkeypatch, face_models):
    """Keeps what Jupyter writes in one folder, and skips where there are no face models."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))


def _set(notebook, **values):
    """Inserts a cell after the settings, as papermill does."""
    (at,) = [
        index
        for index, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", [])
    ]
    lines = [f"{name} = {value!r}" for name, value in values.items()]
    for name in values:
        assert re.search(rf"^{name} = ", notebook.cells[at].source, re.MULTILINE), name
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell("\n".join(lines)))


def _output(notebook, cell_id, kind):
    """The pictures or the text that a cell shows."""
    (cell,) = [cell for cell in notebook.cells if cell.id == cell_id]
    return [output.data[kind] for output in cell.outputs if kind in output.get("data", {})]


def test_it_is_stored_without_outputs_and_in_its_canonical_form(notebook):
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.source and set(cell.metadata) <= {"tags"}, cell.id
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None, cell.id
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert _NOTEBOOK.read_text() == nbformat.writes(notebook) + "\n"
    assert _NOTEBOOK.stat().st_size < 20_000


def test_versions_of_other_platforms_are_those_of_the_project(notebook):
    text = {cell.id: cell.source for cell in notebook.cells}
    assert f"@mediapipe/tasks-vision@{VERSION}" in text["web"]
    gradle = (_ROOT / "android_harness" / "app" / "build.gradle.kts").read_text()
    android = re.search(r'tasksVision = "([\d.]+)"', gradle)[1]
    assert f"com.google.mediapipe:tasks-vision:{android}" in text["android"]


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(notebook, jupyter, tmp_path):
    _set(notebook, steps=2, output_folder="out")
    # An error in a cell is raised here.
    NotebookClient(
        notebook, timeout=_TIMEOUT_SECONDS, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    out = tmp_path / "out"
    assert TaskBundle.open(out / "face_stylizer.task").provenance.steps == 2
    assert {f"style_{number}.png" for number in (1, 2, 3)} <= {file.name for file in out.iterdir()}
    photo, composite = load_image(out / "photo.png"), load_image(out / "composite.png")
    assert composite.shape == photo.shape
    changed = np.any(composite != photo, axis=2).mean()
    assert 0.05 < changed < 0.6, "the face is another, and the rest is the photo"
    sheet = load_image(out / "before_after.png")
    assert sheet.shape[1] > 6 * 256 and sheet.std() > 20
    if HAS_NATIVE:
        stylized = load_image(out / "stylized.png")
        assert stylized.shape == (256, 256, 3) and stylized.std() > 20

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "execute_result", f"{cell.id} echoes a value"
            text = output.get("text", "")
            assert "EGL" not in text and "cuda" not in text, f"{cell.id} shows native messages"
    for cell_id in ("style", "photo", "paint", "train", "compare", "composite"):
        assert len(_output(notebook, cell_id, "image/png")) == 1, cell_id
    assert len(_output(notebook, "native", "image/png")) == HAS_NATIVE
    assert "out/face_stylizer.task" in _output(notebook, "download", "text/html")[0]


def test_a_failed_installation_is_one_line(notebook, monkeypatch):
    (install,) = [cell.source for cell in notebook.cells if cell.id == "install"]
    failed = types.SimpleNamespace(returncode=1, stderr="noise\nERROR: no such wheel\n")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: failed)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Exception, match="no such wheel") as caught:
        exec(install, {"package_source": "/nowhere/x.whl"})
    (line,) = caught.value._render_traceback_()
    assert line.startswith("Not installed: /nowhere/x.whl[train]. ERROR: no such wheel. Set ")


@pytest.mark.parametrize("preloaded", ["numpy", "google.protobuf"])
def test_it_restarts_where_another_version_is_loaded(notebook, monkeypatch, capsys, preloaded):
    (install,) = [cell.source for cell in notebook.cells if cell.id == "install"]
    done = types.SimpleNamespace(returncode=0, stderr="")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: done)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    ended = []
    monkeypatch.setattr("os._exit", ended.append)
    modules = dict.fromkeys(("numpy", "google.protobuf"))
    modules[preloaded] = types.SimpleNamespace(__version__="99.0")
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    exec(install, {"package_source": ""})
    monkeypatch.undo()
    assert ended == [0]
    assert "restarts now, this once" in capsys.readouterr().out


@pytest.mark.slow
def test_it_takes_pictures_and_a_photo_of_the_user(notebook, jupyter, tmp_path, grace_hopper_file):
    (tmp_path / "mine").mkdir()
    own = tmp_path / "mine" / "own.jpg"
    shutil.copy(grace_hopper_file, own)
    _set(notebook, style_pictures=["mine/own.jpg"], photo="mine/own.jpg", output_folder="out")
    ids = [cell.id for cell in notebook.cells]
    notebook.cells = notebook.cells[: ids.index("train")]
    NotebookClient(
        notebook, timeout=_TIMEOUT_SECONDS, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"painting.png", "photo.png", "native.log"}
    for cell_id in ("style", "photo", "paint"):
        assert len(_output(notebook, cell_id, "image/png")) == 1
