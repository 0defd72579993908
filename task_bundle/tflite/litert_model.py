"""Runs a network of a bundle in LiteRT."""

from typing import Any

import numpy as np
import numpy.typing as npt

from task_bundle.errors import BundleError
from task_bundle.silence import native_errors_afterwards


class LitertModel:
    """A network with one input, loaded in LiteRT.

    Attributes:
      input_shape: the shape of the input.
    """

    def __init__(self, model: bytes, name: str, threads: int = 1) -> None:
        """Loads the network.

        Args:
          model: a TFLite flatbuffer that has been checked with `check_loads`.
          name: how error messages call the network.
          threads: the largest number of threads of a run.

        Raises:
          BundleError: LiteRT cannot load the network.
        """
        from ai_edge_litert.interpreter import Interpreter

        self._name = name
        try:
            with native_errors_afterwards():
                self._interpreter: Any = Interpreter(model_content=model, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise self._failure(error) from error
        details = self._interpreter.get_input_details()[0]
        self._input = details["index"]
        self._outputs = [d["index"] for d in self._interpreter.get_output_details()]
        self.input_shape = tuple(int(size) for size in details["shape"])

    def run(self, values: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Runs the network.

        Args:
          values: the input, float32 of `input_shape`.

        Returns:
          A new float32 array for each output.

        Raises:
          BundleError: LiteRT cannot run the network.
        """
        self._interpreter.set_tensor(self._input, values)
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise self._failure(error) from error
        return [self._interpreter.get_tensor(index) for index in self._outputs]

    def _failure(self, error: Exception) -> BundleError:
        return BundleError(f"LiteRT cannot run {self._name}: {error}")
