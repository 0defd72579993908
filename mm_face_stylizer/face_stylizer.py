"""FaceStylizer: from a few pictures of a style to a `.task` bundle."""

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
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.face_stylizer_options import FaceStylizerOptions
from mm_face_stylizer.hyperparameters import HParams
from mm_face_stylizer.model_options import FaceStylizerModelOptions
from mm_face_stylizer.model_spec import ModelSpec, SupportedModels
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training.blaze_stylegan.few_shot import (
    FewShotOptions,
    FewShotTrainer,
    FewShotWeights,
    interpolated,
    untuned,
)
from task_bundle.bundle import TaskBundle
from task_bundle.faces.face_models import FaceModels, find_face_models
from task_bundle.files import atomic_write
from task_bundle.tflite.metadata import read_metadata

OnStep = Callable[[int, dict[str, float]], None]
Preview = Callable[[int, "FaceStylizer"], None]


class FaceStylizer:
    """A face stylizer, tuned to a style.

    Attributes:
      w_avg: Mean latent, float32 [1, rows, 512]; `encoder(image) + w_avg` is a picture's latent.
      history: Each loss of the training by name, one value a step.
    """

    def __init__(
        self,
        model_spec: ModelSpec,
        model_options: FaceStylizerModelOptions,
        hparams: HParams,
        face_models: FaceModels | None = None,
    ):
        """Prepares a stylizer; `create` is the usual way to get one.

        Args:
          model_spec: The preset.
          model_options: Options of the losses and of latent swapping.
          hparams: Hyperparameters.
          face_models: Face detector and landmark model for training and for the bundle; found as
            `task_bundle.faces.face_models.find_face_models` says if None.

        Raises:
          ValueError: A row of `swap_layers` is not a row of the model's latent.
        """
        # Rebuilt, so that Google's objects, which check nothing, are checked here.
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

    @classmethod
    def create(
        cls,
        train_data: Dataset,
        options: FaceStylizerOptions,
        on_step: OnStep | None = None,
        face_models: FaceModels | None = None,
        preview: Preview | None = None,
    ) -> FaceStylizer:
        """Fine-tunes a stylizer on style pictures.

        Args:
          train_data: Aligned style pictures; all of them are used.
          options: Model, model options and hyperparameters; left as they are.
          on_step: Called after each training step with the number of steps done and the step's
            losses by name. An exception that it raises ends the training.
          face_models: See `__init__`.
          preview: Called like `on_step`, with the number of steps done and the stylizer as it is by
            then: its `stylize_images` shows how far the style has come.

        Returns:
          The tuned stylizer.

        Raises:
          TypeError: `options.model` is not supported.
          ValueError: The data are empty, or an option does not fit the model.
          PresetError: There is no such preset, or it is damaged.
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
        stylizer._train_model(train_data, on_step, preview)
        return stylizer

    def _create_model(self) -> None:
        """Loads the preset, under the names that Model Maker has for its parts."""
        self._preset = Preset.find(self._model_spec.name).networks()
        self._tuned = self._preset
        self._encoder = keras.Model(
            self._preset.encoder.input, self._preset.encoder.output["inputs"], name="encoder"
        )
        self._mapping_network = self._preset.mapping
        self._discriminator = self._preset.discriminator
        self.w_avg = self._preset.w_avg

    @property
    def _decoder(self) -> keras.Model:
        return self._tuned.synthesis

    def _train_model(
        self, train_data: Dataset, on_step: OnStep | None = None, preview: Preview | None = None
    ) -> None:
        images, masks = _pictures(train_data, self._model_spec.input_image_shape)
        options = _few_shot_options(self._model_options, self._hparams)
        trainer = FewShotTrainer(
            self._preset, FaceMeshFeatures(self._face_models.landmarks), options
        )
        synthesis = untuned(self._preset)
        self._tuned = dataclasses.replace(self._preset, synthesis=synthesis)
        with tqdm(total=options.steps, desc="Fine-tuning", unit="step") as bar:

            def report(step: int, values: dict[str, float]) -> None:
                bar.update()
                bar.set_postfix(loss=f"{values['loss']:.3f}")
                if on_step is not None:
                    on_step(step, values)
                if preview is not None:
                    preview(step, self)

            self.history = trainer.fit(images, masks, report, synthesis).history

    def networks(self, strength: float = 1.0) -> Networks:
        """The networks between the preset and the full style.

        Args:
          strength: 0 for the photo's reconstruction, 1 for the full style.

        Raises:
          ValueError: The strength is outside [0, 1].
        """
        synthesis = interpolated(self._preset.synthesis, self._tuned.synthesis, strength)
        return dataclasses.replace(self._tuned, synthesis=synthesis)

    def stylize(self, data: Dataset, strength: float = 1.0) -> Dataset:
        """Stylizes aligned faces.

        Args:
          data: Faces as `Dataset.from_image` aligns them.
          strength: 0 for the photo's reconstruction, 1 for the full style.

        Returns:
          A data set of images without labels, float32 [side, side, 3] in [0, 255].

        Raises:
          ValueError: The strength is outside [0, 1], or the data are empty.
        """
        images, _ = _pictures(data, self._model_spec.input_image_shape)
        stylized = self.stylize_images(images, strength).astype(np.float32)
        return Dataset(tf.data.Dataset.from_tensor_slices(stylized), ["stylized"], len(stylized))

    def stylize_images(self, images: np.ndarray, strength: float = 1.0) -> np.ndarray:
        """Stylizes aligned faces given as an array.

        Args:
          images: uint8 [count, side, side, 3], cropped as the runtimes crop.
          strength: 0 for the photo's reconstruction, 1 for the full style.

        Returns:
          uint8 [count, side, side, 3].
        """
        return self.networks(strength).reconstruct(images)

    def bundle(self, precision: str = "float16", strength: float = 1.0) -> TaskBundle:
        """Builds the bundle in memory.

        Args:
          precision: `float16` (weights; half the size), `float32`, or `int8` (weights and
            activations). Input and output are float32 always.
          strength: 0 for the photo's reconstruction, 1 for the full style.

        Raises:
          ValueError: The precision is unknown or the strength outside [0, 1].
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
        """Writes `{hparams.export_dir}/{model_name}` and `metadata.json` beside it.

        Only the bundle is needed to stylize; the JSON shows what its stylizer's metadata say.

        Args:
          model_name: File name of the bundle.
          precision: See `bundle`.
          strength: See `bundle`.
          overwrite: Whether existing files may be replaced.

        Raises:
          FileExistsError: A file exists and `overwrite` is False.
          OSError: The folder cannot be made or written.
          ValueError: The precision is unknown or the strength outside [0, 1].
        """
        folder = pathlib.Path(self._hparams.export_dir)
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / model_name, folder / "metadata.json"
        if not overwrite:
            # Before the minute that the conversion may take, and before the first file is there.
            _refuse_existing(*paths)
        bundle = self.bundle(precision, strength)
        metadata = json.dumps(read_metadata(bundle.stylizer), indent=2) + "\n"
        bundle.save(paths[0], overwrite=overwrite)
        atomic_write(paths[1], metadata.encode(), overwrite=overwrite)


def _refuse_existing(*paths: pathlib.Path) -> None:
    for path in paths:
        if os.path.lexists(path):
            raise FileExistsError(f"{path} exists; pass overwrite=True to replace it.")


def _few_shot_options(model_options: Any, hparams: Any) -> FewShotOptions:
    """Model Maker's options, ours or Google's, as options of the training."""
    given = model_options.perception_loss_weight
    default = FaceStylizerModelOptions().perception_loss_weight
    weights = FewShotWeights().scaled(
        l1=given.l1 / default.l1,
        content=given.content / default.content,
        style=given.style / default.style,
    )
    return FewShotOptions(
        steps=hparams.epochs,
        batch_size=hparams.batch_size,
        learning_rate=hparams.learning_rate,
        beta_1=hparams.beta_1,
        beta_2=hparams.beta_2,
        swap_rows=tuple(model_options.swap_layers),
        alpha=model_options.alpha,
        adversarial_weight=model_options.adv_loss_weight,
        weights=weights,
        seed=getattr(hparams, "seed", 0),
    )


def _pictures(data: Any, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and masks of a data set, ours or Model Maker's."""
    if not isinstance(data, Dataset):
        data = Dataset(data.gen_tf_dataset().unbatch(), ["style"])
    if data.images.shape[1:] != (*shape, 3):
        raise InvalidArgumentError(
            f"the pictures are {list(data.images.shape[1:])}; the model needs {[*shape, 3]}"
        )
    return data.images, data.masks
