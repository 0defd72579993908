"""FaceStylizer: fine-tunes on a few style images and exports a `.task` bundle."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.dataset import Dataset
from mm_face_stylizer.errors import InvalidArgumentError, MissingWeightsError
from mm_face_stylizer.export import check_strength, export_stylizer
from mm_face_stylizer.face_stylizer_options import FaceStylizerOptions
from mm_face_stylizer.hyperparameters import HParams
from mm_face_stylizer.model_options import FaceStylizerModelOptions
from mm_face_stylizer.model_spec import ModelSpec, SupportedModels
from mm_face_stylizer.models.blaze_stylegan.drawing import PHOTO_STYLE, Drawing
from mm_face_stylizer.models.blaze_stylegan.generator import copied
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.efficientnet_lite import perceptual_network
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.painting.choices import PaintingChoices
from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.practice_faces import faces_of_folder, practice_faces
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training.blaze_stylegan.drawing_training import FEATURE_TAPS
from mm_face_stylizer.training.blaze_stylegan.painting_step import PaintingWeights
from mm_face_stylizer.training.blaze_stylegan.painting_trainer import (
    PaintingOptions,
    PaintingTrainer,
)
from mm_face_stylizer.training.precision import fastest_conv_dtype
from task_bundle.bundle import TaskBundle
from task_bundle.errors import NoFaceError
from task_bundle.faces.face_models import FaceModels, find_face_models
from task_bundle.files import atomic_write
from task_bundle.tflite.metadata import read_metadata

# Bounds of the number of practice faces. More faces improve a training of a hundred steps only a
# little, and painting them takes as long as training on them.
_LEAST_FACES, _MOST_FACES = 8, 40

# Factor on Model Maker's learning rate. Its default suits Model Maker's own losses; a training on
# paintings tolerates a higher rate, and needs it to draw the eyes and mouths of flat styles within
# a hundred steps.
_RATE = 2.5

# Weight of the texture term. It is four times that of the long training on many styles, because
# the strokes of the style must be learned within a hundred steps.
_TEXTURE = 0.4

OnStep = Callable[[int, dict[str, float]], None]
Preview = Callable[[int, "FaceStylizer"], None]


class FaceStylizer:
    """A face stylizer that is fine-tuned to a style.

    Attributes:
      w_avg: Mean latent, float32 [1, rows, 512]. The latent of an image is
        `encoder(image) + w_avg`.
      history: The training losses by name; each is a list with one value per step.
      likeness: Likeness of the paintings that it learned from; see `PaintingChoices`.
    """

    def __init__(
        self,
        model_spec: ModelSpec,
        model_options: FaceStylizerModelOptions,
        hparams: HParams,
        face_models: FaceModels | None = None,
    ):
        """Stores the options; use `create` to get a fine-tuned stylizer.

        Args:
          model_spec: Specification of the preset to start from.
          model_options: Options of the losses and of the swapped latent rows.
          hparams: Hyperparameters of the fine-tuning.
          face_models: Face detector and landmark model, used in training and stored in the bundle;
            `task_bundle.faces.face_models.find_face_models()` if None.

        Raises:
          ValueError: An index in `swap_layers` is not a row of the model's latent.
          FaceModelsError: No face models were found.
        """
        # Copying the options into our own class also checks them if they are Model Maker's, whose
        # class checks nothing.
        model_options = FaceStylizerModelOptions(
            list(model_options.swap_layers),
            model_options.alpha,
            model_options.perception_loss_weight,
            model_options.adv_loss_weight,
        )
        model_options.check_rows(model_spec.style_block_num)
        self._model_spec = model_spec
        self._model_options = model_options
        self._hparams = hparams
        self._face_models = face_models or find_face_models()
        self.history: dict[str, list[float]] = {}
        self.likeness: float | None = None

    @classmethod
    def create(
        cls,
        train_data: Dataset,
        options: FaceStylizerOptions,
        on_step: OnStep | None = None,
        face_models: FaceModels | None = None,
        preview: Preview | None = None,
        paintings: PaintingChoices | None = None,
    ) -> FaceStylizer:
        """Creates a stylizer from a preset and fine-tunes it on style images.

        Example:
        ```python
        import mm_face_stylizer as mm

        data = mm.Dataset.from_image("style.png")
        options = mm.FaceStylizerOptions(model=mm.SupportedModels.BLAZE_FACE_STYLIZER_256)
        stylizer = mm.FaceStylizer.create(data, options)
        ```

        Args:
          train_data: Aligned style images of the model's input size. Of several, the one that suits
            most practice faces is learned.
          options: Model, model options and hyperparameters. They are not modified.
          on_step: Called after each training step as `on_step(step, losses)`, where `step` is the
            number of completed steps and `losses` maps the names of the losses to the values of
            this step. An exception raised in it ends the training.
          face_models: See `__init__`.
          preview: Called after each training step as `preview(step, stylizer)`, where `stylizer` is
            this stylizer with the weights after that step. Its `stylize_images` can be used to
            watch the progress.
          paintings: How the paintings are made that the training learns from;
            `PaintingChoices()` if None.

        Returns:
          The fine-tuned stylizer.

        Raises:
          TypeError: `options.model` is not supported.
          ValueError: The dataset is empty, the images have the wrong size, or an option does not
            fit the model.
          PresetError: The preset does not exist or is damaged.
          FaceModelsError: No face models were found.
          FloatingPointError: The training diverged.
        """
        stylizer = cls(
            SupportedModels.get(options.model),
            options.model_options or FaceStylizerModelOptions(),
            options.hparams or HParams(),
            face_models,
        )
        stylizer._create_model()
        stylizer._train_model(train_data, paintings or PaintingChoices(), on_step, preview)
        return stylizer

    def _create_model(self) -> None:
        """Loads the preset into attributes with the same names as in Model Maker."""
        preset = Preset.find(self._model_spec.name)
        self._preset = preset.networks()
        self._drawing = (
            preset.drawing(self._preset) if preset.styles else Drawing.untrained(self._preset)
        )
        self._photo = self._drawing.only(PHOTO_STYLE)
        self._tuned = self._photo
        self._encoder = keras.Model(
            self._preset.encoder.input, self._preset.encoder.output["inputs"], name="encoder"
        )
        self._mapping_network = self._preset.mapping
        self._discriminator = self._preset.discriminator
        self.w_avg = self._preset.w_avg

    def _use(self, drawing: Drawing) -> None:
        """Makes a drawing network of a single style the network of this stylizer."""
        self._tuned = drawing
        self.w_avg = drawing.stylizer(self._preset, drawing.codes[0]).w_avg

    @property
    def _decoder(self) -> keras.Model:
        return self._tuned.synthesis

    def _train_model(
        self,
        train_data: Dataset,
        paintings: PaintingChoices,
        on_step: OnStep | None = None,
        preview: Preview | None = None,
    ) -> None:
        images, masks = _images_and_masks(train_data, self._model_spec.input_image_shape)
        options = _painting_options(self._model_options, self._hparams)
        # A short training cannot use more faces than it has pictures in its batches.
        count = max(_LEAST_FACES, min(_MOST_FACES, options.steps * options.batch_size))
        practice = _practice_faces(paintings, images.shape[1], count, self._face_models)
        with PortraitFinder(self._face_models) as finder:
            trainer = PaintingTrainer(
                self._preset,
                self._drawing,
                _style_portraits(images, masks, train_data, practice, finder),
                practice,
                options,
                FaceMeshFeatures(self._face_models.landmarks),
                _perceptual_features(),
                paintings.likeness,
                paintings.colors,
                finder.finds_face,
            )
        self.likeness = trainer.likeness
        with tqdm(total=options.steps, desc="Fine-tuning", unit="step") as bar:

            def report(step: int, values: dict[str, float]) -> None:
                bar.update()
                bar.set_postfix(loss=f"{values['loss']:.3f}")
                if on_step is not None:
                    on_step(step, values)
                if preview is not None:
                    self._use(trainer.drawing)
                    preview(step, self)

            self.history = trainer.fit(report)
        # The training may have used bfloat16 convolutions; the copy uses float32.
        tuned = trainer.drawing
        self._use(dataclasses.replace(tuned, synthesis=copied(tuned.synthesis)))

    def networks(self, strength: float = 1.0) -> Networks:
        """Interpolates between a network that draws the photo as it is and the fine-tuned one.

        Args:
          strength: Strength of the style in [0, 1]: 0 gives networks that reconstruct the photo; 1
            gives the fine-tuned networks.

        Returns:
          New networks with the interpolated weights.

        Raises:
          ValueError: `strength` is not in [0, 1].
        """
        check_strength(strength)
        if strength == 0.0:
            return self._preset
        drawing = self._photo.between(self._tuned, strength)
        return drawing.stylizer(self._preset, drawing.codes[0])

    def stylize(self, data: Dataset, strength: float = 1.0) -> Dataset:
        """Stylizes the aligned faces of a dataset.

        Example:
        ```python
        import mm_face_stylizer as mm

        data = mm.Dataset.from_image("style.png")
        options = mm.FaceStylizerOptions(model=mm.SupportedModels.BLAZE_FACE_STYLIZER_256)
        stylizer = mm.FaceStylizer.create(data, options)
        stylized = stylizer.stylize(mm.Dataset.from_image("photo.jpg"))
        print(stylized.images.shape)  # (1, 256, 256, 3)
        ```

        Args:
          data: Aligned faces of the model's input size, as from `Dataset.from_image`.
          strength: Strength of the style in [0, 1]: 0 reconstructs the photo, 1 gives the full
            style.

        Returns:
          A dataset of the stylized images, float32 RGB [side, side, 3] in [0, 255], without
          labels.

        Raises:
          ValueError: `strength` is not in [0, 1], the dataset is empty, or its images have the
            wrong size.
        """
        images, _ = _images_and_masks(data, self._model_spec.input_image_shape)
        stylized = self.stylize_images(images, strength).astype(np.float32)
        return Dataset(tf.data.Dataset.from_tensor_slices(stylized), ["stylized"], len(stylized))

    def stylize_images(self, images: np.ndarray, strength: float = 1.0) -> np.ndarray:
        """Stylizes an array of aligned faces.

        Args:
          images: Aligned faces, uint8 RGB [count, side, side, 3] in [0, 255], such as
            `Dataset.images`.
          strength: Strength of the style in [0, 1]: 0 reconstructs the photo, 1 gives the full
            style.

        Returns:
          The stylized faces, uint8 RGB [count, side, side, 3] in [0, 255].

        Raises:
          ValueError: `strength` is not in [0, 1].
        """
        return self.networks(strength).reconstruct(images)

    def bundle(self, precision: str = "float16", strength: float = 1.0) -> TaskBundle:
        """Builds the `.task` bundle in memory.

        Args:
          precision: `float32`, `float16` (weights in half precision, which halves the size) or
            `int8` (weights and activations quantized). The input and output are float32 in all
            three cases.
          strength: Strength of the style in [0, 1]: 0 reconstructs the photo, 1 gives the full
            style.

        Returns:
          The bundle of the stylizer, the face detector and the landmark model.

        Raises:
          ValueError: `precision` is unknown, or `strength` is not in [0, 1].
        """
        return TaskBundle.build(
            export_stylizer(self.networks(strength), precision), self._face_models
        )

    def export_model(
        self,
        model_name: str = "face_stylizer.task",
        precision: str = "float16",
        strength: float = 1.0,
        overwrite: bool = False,
    ) -> None:
        """Writes the bundle and its metadata to the folder `hparams.export_dir`.

        The files are `model_name` and `metadata.json`. Only the bundle is needed at run time; the
        JSON file is a readable copy of the stylizer's TFLite metadata.

        Example:
        ```python
        import mm_face_stylizer as mm

        data = mm.Dataset.from_image("style.png")
        options = mm.FaceStylizerOptions(
            model=mm.SupportedModels.BLAZE_FACE_STYLIZER_256,
            hparams=mm.HParams(export_dir="exported"),
        )
        stylizer = mm.FaceStylizer.create(data, options)
        stylizer.export_model()  # writes exported/face_stylizer.task
        ```

        Args:
          model_name: File name of the bundle.
          precision: See `bundle`.
          strength: See `bundle`.
          overwrite: Whether to replace existing files.

        Raises:
          FileExistsError: A file exists, and `overwrite` is False.
          OSError: The folder cannot be created or written.
          ValueError: `precision` is unknown, or `strength` is not in [0, 1].
        """
        folder = pathlib.Path(self._hparams.export_dir)
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / model_name, folder / "metadata.json"
        if not overwrite:
            # Checked first, because the conversion may take a minute, and so that one file is not
            # written without the other.
            _refuse_existing(*paths)
        bundle = self.bundle(precision, strength)
        metadata = json.dumps(read_metadata(bundle.stylizer), indent=2) + "\n"
        bundle.save(paths[0], overwrite=overwrite)
        atomic_write(paths[1], metadata.encode(), overwrite=overwrite)


def _refuse_existing(*paths: pathlib.Path) -> None:
    for path in paths:
        if os.path.lexists(path):
            raise FileExistsError(f"{path} exists; pass overwrite=True to replace it.")


def _painting_options(model_options: Any, hparams: Any) -> PaintingOptions:
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


def _perceptual_features() -> Callable[[tf.Tensor], Sequence[tf.Tensor]] | None:
    """Returns the network of perceptual features; None without the extra `perceptual`."""
    try:
        return perceptual_network(FEATURE_TAPS)
    except MissingWeightsError:
        return None


def _practice_faces(
    paintings: PaintingChoices, size: int, count: int, face_models: FaceModels
) -> list[Portrait]:
    """Loads the faces to practice on, from the user's folder or the package."""
    if paintings.practice is None:
        return practice_faces(size, count, face_models)
    return faces_of_folder(paintings.practice, size, count, face_models)


def _style_portraits(
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


def _images_and_masks(data: Any, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
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
