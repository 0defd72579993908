"""Tests of task_bundle.web.page without a browser."""

import dataclasses
import json

import pytest

from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError
from task_bundle.web.page import page_files
from task_bundle.web.server import WebFile


def test_a_bundle_that_is_not_sound_is_not_served(make_stylizer, face_models) -> None:
    bundle = TaskBundle.build(make_stylizer(64), face_models)
    bad = dataclasses.replace(bundle, stylizer=make_stylizer(64))
    with pytest.raises(BundleError, match="bad.task has no normalization"):
        page_files(bad, "bad.task", {})


def test_files_have_types_that_browsers_accept(make_stylizer, face_models) -> None:
    model = make_stylizer(shape=[1, 32, 48, 3])
    bundle = TaskBundle.build(model, face_models)
    package = {"vision_bundle.mjs": b"export {};", "wasm/vision_wasm_internal.wasm": b"\0asm"}
    files = page_files(bundle, "x.task", package)
    assert files["/"].content_type == "text/html; charset=utf-8"
    assert files["/page.js"].content_type == "text/javascript; charset=utf-8"
    module = files["/tasks-vision/vision_bundle.mjs"]
    assert module == WebFile(b"export {};", "text/javascript; charset=utf-8")
    wasm = files["/tasks-vision/wasm/vision_wasm_internal.wasm"]
    assert wasm.content_type == "application/wasm"
    assert TaskBundle.open(files["/bundle/face_stylizer.task"].content) == bundle
    about = json.loads(files["/bundle/about.json"].content)
    assert about["outputSize"] == [48, 32]
    assert not [path for path in files if path.endswith((".py", "__"))]
