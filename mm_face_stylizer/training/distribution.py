"""Trainings on several devices or machines, by `tf.distribute`.

Every replica does the same step with its share of the same batch. Values are averaged over the
replicas before they are assigned to variables, and means and norms over the batch are those of the
whole batch. Variables are therefore equal on all replicas, and losses are those of one device with
the whole batch. Follows TensorFlow's guide "Custom training with tf.distribute".

Steps call the functions of this module; outside of `tf.distribute`, those change nothing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.hyperparameters import HParams

_MULTI_WORKER = "multi_worker_mirrored"
_TF_CONFIG = "TF_CONFIG"
_EXAMPLE = (
    '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


class WorkerError(ConnectionError):
    """The workers cannot continue together."""


class Distribution:
    """The replicas of a training, and this process among them.

    Attributes:
      replicas: Number of replicas of all workers together.
      worker: Index of this process among the workers; 0, the chief, writes all files.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        """Wraps a strategy.

        Args:
          strategy: A strategy with synchronous replicas, or TensorFlow's default strategy.
        """
        self._strategy = strategy
        self.replicas = strategy.num_replicas_in_sync
        resolver = strategy.cluster_resolver
        self._workers = 1 if resolver is None else resolver.cluster_spec().num_tasks("worker")
        self.worker = resolver.task_id if self._workers > 1 else 0

    @classmethod
    def named(cls, name: str) -> Distribution:
        """Makes the strategy that `HParams.distribution_strategy` names.

        Call it before any TensorFlow operation.

        Args:
          name: `off`; `mirrored`, a replica on each GPU of this machine; `multi_worker_mirrored`,
            replicas on all machines of the environment variable TF_CONFIG.

        Raises:
          ValueError: The name is none of these, or TF_CONFIG is missing or invalid.
        """
        gpus = 0
        if name == _MULTI_WORKER:
            _check_workers(os.environ.get(_TF_CONFIG))
        elif name == "mirrored":
            gpus = len(tf.config.list_physical_devices("GPU"))
            if not gpus:
                warnings.warn("mirrored: no GPU here, so one replica, on the CPU", stacklevel=2)
        return cls(HParams(distribution_strategy=name, num_gpus=gpus).get_strategy())

    @classmethod
    def current(cls) -> Distribution:
        """Returns the distribution whose scope is active; a single replica outside of any."""
        return cls(tf.distribute.get_strategy())

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints, logs, sheets and results."""
        return self.worker == 0

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Returns a scope; what is built in it, such as weights, is equal on all replicas."""
        with self._strategy.scope(), tf.variable_creator_scope(_same_everywhere):
            yield

    def share(self, batch_size: int, group: int = 1) -> int:
        """Returns the number of pictures of a batch that each replica gets.

        Args:
          batch_size: Pictures of all replicas.
          group: Pictures that are compared with each other and so must be on the same replica.

        Raises:
          ValueError: The batch cannot be shared evenly.
        """
        if self.replicas > 1 and batch_size % (group * self.replicas):
            raise InvalidArgumentError(
                f"batch_size is {batch_size}; on {self.replicas} replicas it must be a multiple of "
                f"{group * self.replicas}"
            )
        return batch_size // self.replicas

    def part(self, pictures: int) -> int:
        """Returns how many pictures per replica make up so many of a batch, rounded up."""
        return -(-pictures // self.replicas)

    def compiled(self, step: Callable[..., Mapping[str, tf.Tensor]]) -> Callable[..., Any]:
        """Compiles a training step into a graph for all replicas.

        Args:
          step: The step of one replica. It gets the inputs of the whole batch, of which `own_rows`
            selects its share, and returns its losses by name.

        Returns:
          A function of the same inputs, which returns the means of the losses. It raises
          WorkerError if another worker is gone.
        """

        @graph_function
        def all_replicas(*inputs):
            values = self._strategy.run(step, args=inputs)
            return {
                name: self._strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None)
                for name, value in values.items()
            }

        return self._reporting_lost_workers(all_replicas)

    @contextlib.contextmanager
    def chief_first(self) -> Iterator[None]:
        """Runs the body on the chief before the other workers, which may find the work done.

        Raises:
          WorkerError: Another worker is gone.
        """
        if not self.is_chief:
            self.check_same(0, "")
        yield
        if self.is_chief:
            self.check_same(0, "")

    def check_same(self, number: int, problem: str) -> None:
        """Waits for all workers and compares a number of theirs.

        Args:
          number: This worker's number.
          problem: Start of the error message if the numbers differ.

        Raises:
          WorkerError: They differ, or another worker is gone.
        """
        if self._workers == 1:
            return

        @graph_function
        def all_numbers(number):
            return self._strategy.gather(self._strategy.run(tf.identity, args=(number,)), axis=0)

        numbers = self._reporting_lost_workers(all_numbers)(tf.constant([number])).numpy()
        if len(set(numbers)) > 1:
            raise WorkerError(f"{problem} {' and '.join(map(str, numbers))}")

    def _reporting_lost_workers(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Converts TensorFlow's error about a lost worker, raised after some ten seconds."""
        if self._workers == 1:
            return function

        @functools.wraps(function)
        def checked(*arguments):
            try:
                return function(*arguments)
            except tf.errors.UnavailableError as error:
                raise WorkerError(
                    "Another worker has ended. Restart all of them to resume from the last "
                    "checkpoint."
                ) from error

        return checked


def own_rows(values: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """Returns this replica's share of a batch; the first of n replicas gets rows 0, n, 2n, ...

    With this order, the first rows of all shares are the first rows of the batch, and the teacher's
    discriminator compares the same pictures in the shares as in the whole batch.

    Args:
      values: The whole batch; its size along `axis` is static and a multiple of the replicas.
      axis: The batch's axis.
    """
    context = _several_replicas()
    if context is None:
        return values
    count, replicas = values.shape[axis], context.num_replicas_in_sync
    shape = [*values.shape[:axis], count // replicas, replicas, *values.shape[axis + 1 :]]
    return tf.gather(tf.reshape(values, shape), context.replica_id_in_sync_group, axis=axis + 1)


def replica_count() -> int:
    """Returns the number of replicas of this step."""
    context = _several_replicas()
    return 1 if context is None else context.num_replicas_in_sync


def mean(values: Any) -> Any:
    """Returns the mean over replicas of a tensor, or of each of several."""
    context = _several_replicas()
    return values if context is None else context.all_reduce(tf.distribute.ReduceOp.MEAN, values)


def norm(values: tf.Tensor) -> tf.Tensor:
    """Returns the Euclidean norm of a tensor whose rows are shared among the replicas."""
    context = _several_replicas()
    if context is None:
        return tf.norm(values)
    squares = tf.reduce_sum(tf.square(values))
    return tf.sqrt(context.all_reduce(tf.distribute.ReduceOp.SUM, squares))


def gathered(values: tf.Tensor) -> tf.Tensor:
    """Returns the rows of all replicas in the order of the batch; the inverse of `own_rows`."""
    context = _several_replicas()
    if context is None:
        return values
    rows = context.all_gather(values, axis=0)
    by_replica = tf.reshape(rows, [context.num_replicas_in_sync, *values.shape])
    order = [1, 0, *range(2, len(by_replica.shape))]
    return tf.reshape(tf.transpose(by_replica, order), [-1, *values.shape[1:]])


def apply_gradients(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[tf.Variable],
    clip_norm: float | None = None,
) -> None:
    """Updates variables by the mean of all replicas' gradients.

    Args:
      optimizer: The optimizer.
      gradients: This replica's gradients of a loss that is a mean over its share of the batch.
      variables: As many variables.
      clip_norm: Limit of the global norm of the mean gradients; None does not clip.
    """
    gradients = mean(list(gradients))
    if clip_norm is not None:
        gradients, _ = tf.clip_by_global_norm(gradients, clip_norm)
    # Without this option, Keras would sum the gradients over the replicas.
    optimizer.apply_gradients(
        zip(gradients, variables, strict=True), skip_gradients_aggregation=True
    )


def _several_replicas() -> tf.distribute.ReplicaContext | None:
    """Returns the context of this replica; None if there is only one, or outside of a step."""
    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context


def _same_everywhere(create: Callable[..., tf.Variable], **options: Any) -> tf.Variable:
    """Creates a variable to which all replicas assign the same value.

    By default, Keras has separate moving statistics on each replica and averages them when they are
    read; then all workers would have to take part when the chief draws sheets or saves.
    """
    return create(
        **options
        | {
            "synchronization": tf.VariableSynchronization.AUTO,
            "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
        }
    )


def _check_workers(config: str | None) -> None:
    """Checks TF_CONFIG; without it, TensorFlow would train with a single worker.

    Raises:
      ValueError: It is missing or invalid.
    """
    right = f"it must be such as {_EXAMPLE}, with an index of its own for each worker"
    if not config:
        raise InvalidArgumentError(f"{_TF_CONFIG} is not set; {right}")
    try:
        parsed = json.loads(config)
        workers, task = parsed["cluster"]["worker"], parsed["task"]
        is_right = task["type"] == "worker" and 0 <= task["index"] < len(workers)
    except (ValueError, KeyError, TypeError):
        is_right = False
    if not is_right:
        raise InvalidArgumentError(f"{_TF_CONFIG} is {config!r}; {right}")
