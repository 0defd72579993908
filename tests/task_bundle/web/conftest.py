"""What the tests of the bundle's page share."""

from collections.abc import Iterator

import pytest
from browser import launcher

from task_bundle.bundle import TaskBundle
from task_bundle.errors import TasksVisionError
from task_bundle.web.page import page_files
from task_bundle.web.server import WebFile
from task_bundle.web.tasks_vision import find_tasks_vision


@pytest.fixture(scope="session")
def tasks_vision() -> dict[str, bytes]:
    """The npm package in the working directory or in the developer's own cache."""
    try:
        return dict(find_tasks_vision())
    except TasksVisionError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def bundle(make_stylizer, face_models) -> TaskBundle:
    """A bundle that makes faces darker and keeps their lines, which show misplacement."""
    return TaskBundle.build(make_stylizer(256, gain=0.6), face_models)


@pytest.fixture(scope="module")
def files(bundle: TaskBundle, tasks_vision) -> dict[str, WebFile]:
    return page_files(bundle, "somewhere/dark.task", tasks_vision)


@pytest.fixture(scope="module")
def launch() -> Iterator:
    with launcher() as made:
        yield made


@pytest.fixture(scope="module")
def chromium(launch):
    return launch()
