"""Tests of mm_face_stylizer.studio.code_lines."""

import ast
import json
import pathlib

import task_bundle
from mm_face_stylizer.studio.code_lines import BUNDLE_NAME, CODE_LINES

_NOTEBOOK = pathlib.Path(__file__).parents[3] / "notebooks" / "face_stylizer.ipynb"


def test_there_are_lines_for_each_platform() -> None:
    assert [lines.platform for lines in CODE_LINES] == ["Android", "iOS", "Web", "Python"]
    for lines in CODE_LINES:
        assert BUNDLE_NAME in lines.text or '"face_stylizer", ofType: "task"' in lines.text


def test_they_are_the_notebooks() -> None:
    cells = json.loads(_NOTEBOOK.read_text())["cells"]
    text = "".join("".join(cell["source"]) for cell in cells)
    for lines in CODE_LINES:
        if lines.platform == "Python":
            continue
        # Comments at the ends of lines may be shorter here.
        code = [line.partition("  //")[0].rstrip() for line in lines.text.splitlines()]
        for line in filter(None, code):
            assert line in text, line


def test_pythons_lines_use_what_there_is() -> None:
    (python,) = (lines.text for lines in CODE_LINES if lines.platform == "Python")
    tree = ast.parse(python)
    (imported,) = (node for node in tree.body if isinstance(node, ast.ImportFrom))
    assert imported.module == "task_bundle"
    assert all(hasattr(task_bundle, name.name) for name in imported.names)
