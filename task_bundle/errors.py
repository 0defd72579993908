"""Exceptions of this package. Each message is one line that names the file or value at fault.

All of them derive from `TaskBundleError`, and also from the built-in exception that fits, so that
`except ValueError` catches wrong arguments and unusable files as usual.
"""

from typing import Self


class UserError(Exception):
    """An error that the user of a command-line program can do something about.

    The base exceptions of all packages in this repository derive from it, so that a program can
    report their errors without importing the packages of commands that are not used.
    """


class TaskBundleError(UserError):
    """Base class of the errors that a user of this package can do something about."""


class InvalidArgumentError(TaskBundleError, ValueError):
    """An argument or option is out of its range, or contradicts another."""


class MissingDependencyError(TaskBundleError, ImportError):
    """A Python package is not installed, cannot be imported, or is of an unsuitable version."""


class BundleError(TaskBundleError, ValueError):
    """A `.task` archive or a model inside it cannot be used."""


class ForkedProcessError(TaskBundleError, RuntimeError):
    """A process was forked after MediaPipe was used, and cannot use MediaPipe itself."""


class FaceModelsError(TaskBundleError, RuntimeError):
    """There are no usable face detector and landmark models."""


class ImageError(TaskBundleError, ValueError):
    """A picture cannot be read or has the wrong form."""


class NoFaceError(ImageError):
    """A picture in which no face was found where one is needed."""

    @classmethod
    def of(cls, *names: str) -> Self:
        """Makes the error of one picture or several.

        Args:
          *names: what to call them.
        """
        each = "each" if len(names) > 1 else "it"
        return cls(
            f"no face was found in {', '.join(names)}; {each} should show one, from the front and"
            " upright"
        )


class VideoError(ImageError):
    """A video cannot be read or written."""


class TasksVisionError(TaskBundleError, RuntimeError):
    """The npm package that runs bundles in browsers is missing or cannot be installed."""


class DownloadError(TaskBundleError, RuntimeError):
    """A download failed; the message names the address."""


class ResultError(TaskBundleError, ValueError):
    """A result file cannot be read, or a result breaks the schema."""
