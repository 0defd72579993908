"""What tests of trainings share."""

from collections.abc import Iterator

import pytest


@pytest.fixture
def untraced() -> Iterator[None]:
    """All steps of the test are taken without graphs, see `eager_steps`."""
    # Here, since it imports TensorFlow, which most tests do without.
    from tiny import eager_steps

    with eager_steps():
        yield
