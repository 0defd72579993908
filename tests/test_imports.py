"""The contracts of tool.importlinter in pyproject.toml hold, and each of them can fail."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("importlinter", reason="import-linter comes with the extra 'test'")

_ROOT = pathlib.Path(__file__).parent.parent
_PACKAGES = ("task_bundle", "mm_face_stylizer", "benchmarks", "android_harness")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the packages' code, to which tests add imports."""
    folder = tmp_path_factory.mktemp("copy")
    for package in _PACKAGES:
        for source in (_ROOT / package).rglob("*.py"):
            target = folder / source.relative_to(_ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    shutil.copyfile(_ROOT / "pyproject.toml", folder / "pyproject.toml")
    return folder


def _broken_contracts(folder):
    code = (
        "import sys; sys.path.insert(0, ''); from importlinter.cli import lint_imports;"
        "sys.exit(lint_imports(cache_dir='.cache'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        # Each contract's name has to fit into a line.
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert any(line.startswith("Contracts: ") for line in lines), done.stdout + done.stderr
    broken = [line.partition(" BROKEN")[0] for line in lines if " BROKEN" in line]
    assert done.returncode == bool(broken)
    return broken


def test_no_contract_is_broken(copy):
    assert _broken_contracts(copy) == []


@pytest.mark.parametrize(
    ("module", "imported", "contract"),
    [
        ("task_bundle/files.py", "mm_face_stylizer.held_out", "task_bundle is below"),
        ("mm_face_stylizer/cli.py", "benchmarks.case", "task_bundle is below"),
        ("mm_face_stylizer/demo.py", "android_harness.adb", "task_bundle is below"),
        ("mm_face_stylizer/models/layers.py", "mm_face_stylizer.training.run", "cli is above"),
        (
            "mm_face_stylizer/evaluation/sheets.py",
            "mm_face_stylizer.training.losses",
            "cli is above",
        ),
        ("mm_face_stylizer/training/run.py", "mm_face_stylizer.cli", "cli is above"),
        (
            "mm_face_stylizer/models/stylegan/networks.py",
            "mm_face_stylizer.models.blaze_stylegan.networks",
            "A family of stylizers",
        ),
        ("task_bundle/files.py", "tensorflow", "Bundles are built"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(module, imported, contract, copy):
    path = copy / module
    text = path.read_text()
    try:
        # Inside a function, where an import of this kind would hide from the interpreter.
        path.write_text(f"{text}\n\ndef _unused():\n    import {imported}\n")
        broken = _broken_contracts(copy)
    finally:
        path.write_text(text)
    assert any(name.startswith(contract) for name in broken)
