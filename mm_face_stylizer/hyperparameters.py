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
# The biggest seed that NumPy and Keras both take.
_MAX_SEED = 2**32 - 1


def _new_export_dir() -> str:
    # A name nobody can guess, and no folder yet: most are never exported to.
    return os.path.join(tempfile.gettempdir(), f"mm_face_stylizer_{secrets.token_hex(8)}")


@dataclasses.dataclass
class HParams:
    """Hyperparameters of few-shot training, with Model Maker's names, order and defaults.

    Attributes:
      learning_rate: Adam's learning rate, positive.
      batch_size: pictures a step, of all replicas together; positive.
      epochs: number of training iterations, which are steps and not passes over the pictures, as
        in Model Maker's face stylizer; positive.
      steps_per_epoch: not used by face stylization, neither here nor in Model Maker.
      class_weights: not used, as above.
      shuffle: not used, as above.
      repeat: not used, as above.
      export_dir: folder of the exported files, made when something is exported. By default a new
        one for each instance, in the system's folder for temporary files.
      distribution_strategy: 'off', 'one_device', 'mirrored' or 'multi_worker_mirrored', in upper or
        lower case. Not used by few-shot training, which is a minute's work of one device, as in
        Model Maker; the trainings of presets have `--distribution`.
      num_gpus: GPUs of each worker for 'one_device' (at most 1) and 'mirrored'; 0 means the CPU.
      tpu: not used: TPUs are not supported.
      beta_1: Adam's decay of the mean gradient, in [0, 1).
      beta_2: Adam's decay of the mean squared gradient, in [0, 1).
      seed: of all that is random in training, in [0, 2**32).

    Raises:
      ValueError: a value is of the wrong kind or outside its range; it is named.
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
        """Returns the distribution strategy, the same one at each call.

        TensorFlow is imported now, not before. TensorFlow wants 'multi_worker_mirrored' to be asked
        for before any of its operations has run; the workers are those of the environment variable
        TF_CONFIG.

        Returns:
          The strategy; for 'off', TensorFlow's default strategy or the one whose scope is active.

        Raises:
          ValueError: there are fewer GPUs than `num_gpus`.
          RuntimeError: 'multi_worker_mirrored' was asked for too late.
        """
        return self._strategy

    # Not a field, so that copies, comparisons and `dataclasses.asdict` do without it.
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
            raise _error(self, "num_gpus", f"at most {present}, the number of GPUs here")
        devices = [f"GPU:{i}" for i in range(self.num_gpus)] or ["CPU:0"]
        if name == "one_device":
            return tf.distribute.OneDeviceStrategy(devices[0])
        return tf.distribute.MirroredStrategy(devices)

    def __getstate__(self) -> dict[str, Any]:
        """Returns the fields alone: a strategy can be neither copied nor pickled."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def _check_strategy(self) -> str:
        """Returns the strategy's name in lower case."""
        right = "one of " + ", ".join(_STRATEGIES)
        if not isinstance(self.distribution_strategy, str):
            raise _error(self, "distribution_strategy", right)
        name = self.distribution_strategy.lower()
        if name in _UNSUPPORTED_STRATEGIES:
            raise _error(self, "distribution_strategy", f"{right}: this one is not supported")
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
