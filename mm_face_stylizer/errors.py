"""Exceptions of this package. Each message is one line that names the file or value at fault.

All of them derive from `FaceStylizerError`, and also from the built-in exception that fits, so that
`except ValueError` catches wrong options and unusable files as usual.
"""

from task_bundle.errors import UserError


class FaceStylizerError(UserError):
    """Base class of the errors that a user of this package can do something about."""


class InvalidArgumentError(FaceStylizerError, ValueError):
    """An argument or option is out of its range, or contradicts another."""


class DataError(FaceStylizerError, ValueError):
    """Pictures, lists or other input files cannot be used."""


class PresetError(FaceStylizerError, RuntimeError):
    """A preset is unknown, incomplete, or not the one that its card describes."""


class DivergenceError(FaceStylizerError, FloatingPointError):
    """A loss became infinite or not a number, so that the training cannot go on."""


class MissingWeightsError(FaceStylizerError, RuntimeError):
    """Weights that an extra installs are missing, or are not those that are expected."""
