"""Exceptions of this package. Each message is one line that names the file or value at fault."""


class BundleError(ValueError):
    """A `.task` archive or a model inside it cannot be used."""


class FaceModelsError(RuntimeError):
    """No usable face detector and landmark models."""


class ImageError(ValueError):
    """A picture cannot be read or has the wrong form."""


class NoFaceError(ImageError):
    """A picture in which no face was found where one is needed."""


class VideoError(ImageError):
    """A video cannot be read or written."""


class TasksVisionError(RuntimeError):
    """The npm package that runs bundles in browsers is missing or cannot be installed."""
