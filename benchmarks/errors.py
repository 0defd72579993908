"""Exceptions of this package. Each message is one line that names the file or value at fault."""

from task_bundle.errors import UserError


class BenchmarkError(UserError):
    """Base class of the errors that a user of this package can do something about."""


class InvalidArgumentError(BenchmarkError, ValueError):
    """An option is out of its range, or the files given do not fit together."""


class RunnerError(BenchmarkError, ValueError):
    """A case cannot be run: it does not fit its file, or the photo has too few faces."""


class WorkerError(BenchmarkError, RuntimeError):
    """A worker process cannot be started, or ends before its first case."""
