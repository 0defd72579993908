"""Hyperparameters of few-shot training."""

import dataclasses
import functools
import math
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mm_face_stylizer.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mm_face_stylizer._keras import tf

_STRATEGIES = ("off", "one_device", "mirrored", "multi_worker_mirrored")
_UNSUPPORTED_STRATEGIES = ("parameter_server", "tpu")
# The largest seed that both NumPy and Keras accept.
_MAX_SEED = 2**32 - 1


def _new_export_dir() -> str:
    # The random name prevents other users from guessing the path. The folder is created only on
    # export, because most instances never export anything.
    return os.path.join(tempfile.gettempdir(), f"mm_face_stylizer_{secrets.token_hex(8)}")


@dataclasses.dataclass
class HParams:
    """Hyperparameters of few-shot training, with the names, order and defaults of Model Maker.

    Attributes:
      learning_rate: learning rate of the Adam optimizer; positive. Learning from paintings takes
        2.5 times this rate.
      batch_size: global batch size, in images per step over all replicas; positive.
      epochs: number of training steps; positive. As in Model Maker's face stylizer, this is the
        number of optimizer steps, not the number of passes over the images.
      steps_per_epoch: ignored, as by Model Maker's face stylizer.
      class_weights: ignored, as by Model Maker's face stylizer.
      shuffle: ignored, as by Model Maker's face stylizer.
      repeat: ignored, as by Model Maker's face stylizer.
      export_dir: folder for the exported files, created on export. The default is a new folder for
        each instance in the system's temporary folder.
      distribution_strategy: 'off', 'one_device', 'mirrored' or 'multi_worker_mirrored', in upper or
        lower case. Few-shot training ignores it and runs on one device, as in Model Maker. The
        commands that train presets have the option `--distribution` instead.
      num_gpus: number of GPUs per worker, for 'one_device' (at most 1) and 'mirrored'; 0 means the
        CPU.
      tpu: ignored; TPUs are not supported.
      beta_1: Adam's decay rate of the mean gradient, in [0, 1).
      beta_2: Adam's decay rate of the mean squared gradient, in [0, 1).
      seed: seed of all random numbers in training, in [0, 2**32).

    Raises:
      ValueError: a value has the wrong type or is out of range; the message names the attribute.
    """

    learning_rate: float = 8e-4
    batch_size: int = 4
    epochs: int = 100
    steps_per_epoch: int | None = None
    class_weights: Mapping[int, float] | None = None
    shuffle: bool = False
    repeat: bool = False
    export_dir: str | os.PathLike[str] = dataclasses.field(default_factory=_new_export_dir)
    distribution_strategy: str = "off"
    num_gpus: int = 0
    tpu: str = ""
    beta_1: float = 0.0
    beta_2: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the values."""
        _check_number(self, "learning_rate", "a positive finite number", lambda x: x > 0)
        _check_integer(self, "batch_size", 1)
        _check_integer(self, "epochs", 1)
        if self.steps_per_epoch is not None:
            _check_integer(self, "steps_per_epoch", 1)
        if self.class_weights is not None and not isinstance(self.class_weights, Mapping):
            raise _error(self, "class_weights", "None or a mapping of indices to weights")
        for name in ("shuffle", "repeat"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise _error(self, name, "True or False")
        if not isinstance(self.export_dir, str | os.PathLike) or not os.fspath(self.export_dir):
            raise _error(self, "export_dir", "the path of a folder")
        _check_integer(self, "num_gpus", 0)
        self._check_strategy()
        if not isinstance(self.tpu, str):
            raise _error(self, "tpu", "a string")
        for name in ("beta_1", "beta_2"):
            _check_number(self, name, "a number in [0, 1)", lambda x: 0 <= x < 1)
        _check_integer(self, "seed", 0, _MAX_SEED)

    def get_strategy(self) -> "tf.distribute.Strategy":
        """Returns the distribution strategy; every call returns the same object.

        The first call imports TensorFlow. For 'multi_worker_mirrored', it must be made before
        TensorFlow runs any operation; the environment variable TF_CONFIG lists the workers.

        Returns:
          The strategy. For 'off', this is `tf.distribute.get_strategy()`: the strategy whose scope
          is active, or else TensorFlow's default strategy.

        Raises:
          ValueError: `num_gpus` is greater than the number of GPUs of this machine.
          RuntimeError: 'multi_worker_mirrored' was requested after TensorFlow ran an operation.
        """
        return self._strategy

    # This is not a dataclass field, so copies, comparisons and `dataclasses.asdict` leave it out.
    @functools.cached_property
    def _strategy(self) -> Any:
        from mm_face_stylizer._keras import tf

        name = self._check_strategy()
        if name == "off":
            return tf.distribute.get_strategy()
        if name == "multi_worker_mirrored":
            return tf.distribute.MultiWorkerMirroredStrategy()
        present = len(tf.config.list_physical_devices("GPU"))
        if self.num_gpus > present:
            raise _error(self, "num_gpus", f"at most {present}, the number of GPUs of this machine")
        devices = [f"GPU:{i}" for i in range(self.num_gpus)] or ["CPU:0"]
        if name == "one_device":
            return tf.distribute.OneDeviceStrategy(devices[0])
        return tf.distribute.MirroredStrategy(devices)

    def __getstate__(self) -> dict[str, Any]:
        """Returns only the fields, because a strategy can be neither copied nor pickled."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def _check_strategy(self) -> str:
        """Checks the strategy and `num_gpus`, and returns the strategy's name in lower case."""
        right = "one of " + ", ".join(_STRATEGIES)
        if not isinstance(self.distribution_strategy, str):
            raise _error(self, "distribution_strategy", right)
        name = self.distribution_strategy.lower()
        if name in _UNSUPPORTED_STRATEGIES:
            raise _error(self, "distribution_strategy", f"{right}; this strategy is not supported")
        if name not in _STRATEGIES:
            raise _error(self, "distribution_strategy", right)
        if name in ("off", "one_device") and self.num_gpus > 1:
            raise _error(self, "num_gpus", f"0 or 1 with distribution_strategy {name!r}")
        return name


def _check_number(options: HParams, name: str, right: str, test: Callable[[float], bool]) -> None:
    value = getattr(options, name)
    is_number = isinstance(value, int | float | np.integer | np.floating)
    if isinstance(value, bool) or not is_number or not math.isfinite(value) or not test(value):
        raise _error(options, name, right)


def _check_integer(options: HParams, name: str, least: int, most: int | None = None) -> None:
    value = getattr(options, name)
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise _error(options, name, f"an integer {span}")


def _error(options: HParams, name: str, right: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{name} is {getattr(options, name)!r}; it must be {right}")
