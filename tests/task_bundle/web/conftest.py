"""The web page in Chromium, with a bundle whose pictures show misplacement."""

from collections.abc import Iterator

import pytest
from browser import launcher, served
from bundle_page import choose, open_page, set_strength

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


@pytest.fixture(scope="module")
def shared_page(files: dict[str, WebFile], chromium) -> Iterator:
    """A page with an open bundle, for tests that leave it like that."""
    with served(files) as url:
        yield open_page(chromium, url)


@pytest.fixture
def page(shared_page):
    """The page with its default settings."""
    set_strength(shared_page, 100)
    choose(shared_page, "Portrait")
    return shared_page
