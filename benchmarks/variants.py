"""Stylizers to measure that are made on the spot; the only part here that needs TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.subject import LoadedSubject
from task_bundle import TaskBundle, find_face_models

UNTRAINED = "512"


def export_variants(names: Sequence[str]) -> dict[str, LoadedSubject]:
    """Exports the released preset.

    Args:
      names: precisions of the weights, 'float32', 'float16', 'int8'; or '512', untrained networks
        for 512 px with float16 weights, which are as fast as trained ones.

    Returns:
      Bundles by name.

    Raises:
      FaceModelsError: there are no face models to pack into the bundles.
      ImportError: TensorFlow is not installed.
      PresetError: the preset is damaged.
    """
    from mm_face_stylizer.export import export_stylizer
    from mm_face_stylizer.preset import Preset

    preset: Any = Preset.find()
    trained: Any = preset.networks() if set(names) - {UNTRAINED} else None
    face_models = find_face_models()
    exported = {}
    for name in names:
        if name == UNTRAINED:
            stylizer, title = export_stylizer(_untrained(512)), "untrained-512-float16"
        else:
            stylizer, title = export_stylizer(trained, name), f"preset-256-{name}"
        bundle = TaskBundle.build(stylizer, face_models)
        exported[name] = LoadedSubject.of(bundle.to_bytes(), f"{title}.task", title)
    return exported


def export_resolution(side: int, batch: int = 1) -> LoadedSubject:
    """Exports an untrained stylizer.

    Args:
      side: of its pictures, in pixels.
      batch: how many pictures it takes in a call.

    Returns:
      A single model, with float16 weights.

    Raises:
      ImportError: TensorFlow is not installed.
    """
    from mm_face_stylizer.export import Stylizer, convert

    stylizer = Stylizer(_untrained(side))
    model = convert(stylizer, [(batch, stylizer.side, stylizer.side, 3)])
    title = f"untrained-{side}-batch-{batch}" if batch > 1 else f"untrained-{side}"
    return LoadedSubject.of(model, f"{title}.tflite", title)


def _untrained(side: int) -> Any:
    from mm_face_stylizer._keras import keras
    from mm_face_stylizer.networks import Networks, NetworksConfig

    keras.utils.set_random_seed(0)
    return Networks.build(NetworksConfig(image_size=side))
