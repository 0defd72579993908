"""Ready styles: stylizers that come with the package and need no training and no TensorFlow."""

from __future__ import annotations

from mm_face_stylizer.preset import DEFAULT_PRESET, Preset
from task_bundle.bundle import TaskBundle
from task_bundle.faces.face_models import FaceModels


def ready_styles(preset: str = DEFAULT_PRESET) -> tuple[str, ...]:
    """Returns the names of the ready styles.

    Args:
      preset: Name or folder of the preset.

    Raises:
      PresetError: The preset does not exist.
    """
    return Preset.find(preset).ready_styles


def ready_bundle(
    name: str, face_models: FaceModels | None = None, preset: str = DEFAULT_PRESET
) -> TaskBundle:
    """Makes the bundle of a ready style.

    Example:
    ```python
    from mm_face_stylizer.ready_styles import ready_bundle, ready_styles

    ready_bundle(ready_styles()[0]).save("ready.task")
    ```

    Args:
      name: One of `ready_styles()`.
      face_models: The models that find faces; `find_face_models()` if None.
      preset: Name or folder of the preset.

    Raises:
      PresetError: The style or the preset does not exist, or the preset is damaged.
      FaceModelsError: There are no face models.
    """
    return TaskBundle.build(Preset.find(preset).ready_stylizer(name), face_models)
