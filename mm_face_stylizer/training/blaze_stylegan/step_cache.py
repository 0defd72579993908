"""Keeps compiled training steps for the next training in the same process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator

from mm_face_stylizer.training.blaze_stylegan.painting_step import PaintingStep


class StepCache:
    """Keeps the step that was used last, because tracing its graph takes seconds.

    A step is taken out while it is in use, so that two threads that train at the same time never
    share one.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, PaintingStep] = {}

    @contextlib.contextmanager
    def lent(self, key: Hashable, make: Callable[[], PaintingStep]) -> Iterator[PaintingStep]:
        """Provides a step for a training, which sets all that the step trains.

        Args:
          key: What the step's graph depends on; steps of the same key can replace each other.
          make: Makes a step if none of this key is kept.

        Yields:
          The step.
        """
        step = self._kept.pop(key, None)
        if step is None:
            step = make()
        try:
            yield step
        finally:
            # One step has 100 MB of weights, moments and buffers.
            self._kept = {key: step}
