"""What tests of trainings share."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a preset of 64 px, untrained and called `tiny`, which tests leave as it is."""
    # Here, since it imports TensorFlow, which most tests do without.
    from tiny import tiny_networks

    from mm_face_stylizer.preset import save_preset

    folder = tmp_path_factory.mktemp("presets") / "tiny"
    return save_preset(folder, tiny_networks(), {"name": "tiny"}).folder


@pytest.fixture
def untraced() -> Iterator[None]:
    """All steps of the test are taken without graphs, see `eager_steps`."""
    # Here, since it imports TensorFlow, which most tests do without.
    from tiny import eager_steps

    with eager_steps():
        yield
