"""What few-shot training is given: options, practice faces and portraits of the style pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mm_face_stylizer._keras import tf
from mm_face_stylizer.dataset import Dataset
from mm_face_stylizer.errors import InvalidArgumentError, MissingWeightsError
from mm_face_stylizer.model_options import FaceStylizerModelOptions
from mm_face_stylizer.models.efficientnet_lite import perceptual_network
from mm_face_stylizer.painting.choices import PaintingChoices
from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.practice_faces import faces_of_folder, practice_faces
from mm_face_stylizer.training.blaze_stylegan.drawing_training import FEATURE_TAPS
from mm_face_stylizer.training.blaze_stylegan.painting_step import PaintingWeights
from mm_face_stylizer.training.blaze_stylegan.painting_trainer import PaintingOptions
from mm_face_stylizer.training.precision import fastest_conv_dtype
from task_bundle.errors import NoFaceError
from task_bundle.faces.face_models import FaceModels

# Bounds of the number of practice faces. From a few, a training does not learn all complexions; in
# a hundred steps it learns little more from more than these.
_LEAST_FACES, _MOST_FACES = 8, 80

# Factor on Model Maker's learning rate. Its default suits Model Maker's own losses; a training on
# paintings tolerates a higher rate, and needs it to draw the eyes and mouths of flat styles within
# a hundred steps.
_RATE = 2.5

# Weight of the texture term, eight times that of learning many styles: strokes of one style are to
# arrive in a hundred steps. With half as much, oil portraits keep the smooth skin of photos; with
# half as much again, grain of charcoal hides every second face.
_TEXTURE = 0.8


def painting_options(model_options: Any, hparams: Any) -> PaintingOptions:
    """Converts options and hyperparameters, ours or Model Maker's, to options of the trainer."""
    given, default = model_options.perception_loss_weight, FaceStylizerModelOptions()
    usual = default.perception_loss_weight
    base = PaintingWeights(texture=_TEXTURE)
    l1, content, style = (
        getattr(given, name) / getattr(usual, name) for name in ("l1", "content", "style")
    )
    weights = PaintingWeights(
        l1=base.l1 * l1,
        pyramid=base.pyramid * l1,
        features=base.features * content,
        texture=base.texture * style,
        content=base.content * content,
        style=base.style * style,
        adversarial=base.adversarial * model_options.adv_loss_weight / default.adv_loss_weight,
    )
    return PaintingOptions(
        steps=hparams.epochs,
        batch_size=hparams.batch_size,
        learning_rate=_RATE * hparams.learning_rate,
        betas=(hparams.beta_1, hparams.beta_2),
        swap_rows=tuple(model_options.swap_layers),
        alpha=model_options.alpha,
        weights=weights,
        seed=getattr(hparams, "seed", 0),
        conv_dtype=fastest_conv_dtype(),
    )


def saved_painting_options(values: dict[str, Any]) -> PaintingOptions:
    """Makes options of what `dataclasses.asdict` made of them, for the processor that is here."""
    weights = PaintingWeights(**values["weights"])
    changes = {"weights": weights, "betas": tuple(values["betas"])}
    return PaintingOptions(**values | changes | {"conv_dtype": fastest_conv_dtype()})


def perceptual_features() -> Callable[[tf.Tensor], Sequence[tf.Tensor]] | None:
    """Returns the network of perceptual features; None without the extra `perceptual`."""
    try:
        return perceptual_network(FEATURE_TAPS)
    except MissingWeightsError:
        return None


def practice_portraits(
    paintings: PaintingChoices, size: int, options: PaintingOptions, face_models: FaceModels
) -> list[Portrait]:
    """Loads the faces to practice on, from the user's folder or the package."""
    # A short training cannot use more faces than it has pictures in its batches.
    count = max(_LEAST_FACES, min(_MOST_FACES, options.steps * options.batch_size))
    if paintings.practice is None:
        return practice_faces(size, count, face_models)
    return faces_of_folder(paintings.practice, size, count, face_models)


def style_portraits(
    images: np.ndarray,
    masks: np.ndarray,
    data: Any,
    practice: Sequence[Portrait],
    finder: PortraitFinder,
) -> list[Portrait]:
    """Converts style pictures to the painter's portraits.

    If the landmarks of a picture are not known and no face is found in it, the mean landmarks of
    the practice faces are used: in aligned pictures, faces have nearly the same position.
    """
    landmarks = getattr(data, "landmarks", None)
    styles = []
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        if landmarks is not None:
            styles.append(finder.with_landmarks(image, landmarks[index], mask))
            continue
        try:
            styles.append(finder.find_aligned(image))
        except NoFaceError:
            average = np.mean([portrait.landmarks for portrait in practice], axis=0)
            styles.append(finder.with_landmarks(image, average, mask))
    return styles


def images_and_masks(data: Any, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images and masks of a dataset, ours or Model Maker's.

    Raises:
      ValueError: The images do not have the [height, width] in `shape`.
    """
    if not isinstance(data, Dataset):
        data = Dataset(data.gen_tf_dataset().unbatch(), ["style"])
    if data.images.shape[1:] != (*shape, 3):
        raise InvalidArgumentError(
            f"the images have shape {list(data.images.shape[1:])}; the model needs {[*shape, 3]}"
        )
    return data.images, data.masks
