"""Tests of task_bundle.forking, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from task_bundle import FaceModels, TaskBundle

_START = """
import os, signal, sys, threading
from task_bundle import FaceStylizer, FaceStylizerOptions
from task_bundle.errors import ForkedProcessError
from task_bundle.faces.alignment import FaceFinder
from task_bundle.sample_photo import sample_photo

PATH, OPTIONS = sys.argv[1], FaceStylizerOptions(backend="portable")

def make():
    return FaceStylizer.create_from_model_path(PATH, OPTIONS)

def refused(call, *arguments):
    try:
        call(*arguments)
    except ForkedProcessError as error:
        return "forked after MediaPipe was used" in str(error)
    return False

def child(run):
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    signal.alarm(60)
    run()
    # The ordinary end of a process, which deletes objects.
    sys.exit(0)
"""


def _run(code: str, bundle: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _START + code, str(bundle)],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def bundle(
    tmp_path_factory: pytest.TempPathFactory, make_stylizer, face_models: FaceModels
) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "tiny.task"
    TaskBundle.build(make_stylizer(64), face_models).save(path)
    return path


def test_a_forked_process_is_told_and_ends(bundle: Path) -> None:
    _run(
        """
stylizer, finder = make(), FaceFinder()
photo = sample_photo()
assert stylizer.stylize(photo) is not None
stylizer._lock.acquire()  # As if another thread were at work.

def run():
    import numpy as np
    assert refused(stylizer.stylize, photo)
    assert refused(stylizer.stylize_for_video, photo, 0)
    assert refused(stylizer.align, photo)
    assert refused(finder.find, np.zeros((64, 64, 3), np.uint8))
    assert refused(make) and refused(FaceFinder)
    with finder:
        pass
    stylizer.close()

assert child(run) == 0
assert child(lambda: None) == 0
stylizer._lock.release()
assert stylizer.stylize(photo) is not None
stylizer.close()
finder.close()
assert child(lambda: refused(make) or sys.exit(1)) == 0
""",
        bundle,
    )


def test_a_process_that_is_forked_before_may_stylize(bundle: Path) -> None:
    _run(
        """
def run():
    with make() as stylizer:
        assert stylizer.stylize(sample_photo()) is not None

assert child(run) == 0
run()
""",
        bundle,
    )


def test_a_pool_of_processes_passes_the_error_on(bundle: Path) -> None:
    _run(
        """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

stylizer = make()

def work(photo):
    return stylizer.stylize(photo)

with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
    assert refused(pool.submit(work, str(sample_photo())).result)
""",
        bundle,
    )
