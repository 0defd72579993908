"""FaceStylizer: fine-tunes on a few style images and exports a `.task` bundle."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.dataset import Dataset
from mm_face_stylizer.errors import DataError, InvalidArgumentError
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.export_options import check_strength
from mm_face_stylizer.face_stylizer_options import FaceStylizerOptions
from mm_face_stylizer.fine_tuning import (
    images_and_masks,
    painting_options,
    perceptual_features,
    practice_portraits,
    saved_painting_options,
    style_portraits,
)
from mm_face_stylizer.hyperparameters import HParams
from mm_face_stylizer.model_options import FaceStylizerModelOptions
from mm_face_stylizer.model_spec import ModelSpec, SupportedModels
from mm_face_stylizer.models.blaze_stylegan.drawing import PHOTO_STYLE, Drawing
from mm_face_stylizer.models.blaze_stylegan.generator import copied
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.painting.choices import PaintingChoices
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.practice_faces import practice_pictures
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.saved_training import SavedTraining
from mm_face_stylizer.thumbnail import thumbnail
from mm_face_stylizer.training.blaze_stylegan.painting_step import PaintingStep
from mm_face_stylizer.training.blaze_stylegan.painting_trainer import (
    PaintingTrainer,
    TrainingState,
    new_step,
)
from mm_face_stylizer.training.blaze_stylegan.step_cache import StepCache
from mm_face_stylizer.training.step_callbacks import StepCallbacks, check_callbacks
from task_bundle.bundle import TaskBundle
from task_bundle.faces.face_models import FaceModels, find_face_models
from task_bundle.files import already_exists, atomic_write
from task_bundle.provenance import Provenance
from task_bundle.silence import native_errors_afterwards
from task_bundle.tflite.metadata import read_metadata

_STEPS = StepCache()

OnStep = Callable[[int, dict[str, float]], None]
Preview = Callable[[int, "FaceStylizer"], None]


class _StopTrainingError(Exception):
    """A callback has asked to stop the training."""


class FaceStylizer:
    """A face stylizer that is fine-tuned to a style.

    Attributes:
      w_avg: Mean latent, float32 [1, rows, 512]. The latent of an image is
        `encoder(image) + w_avg`.
      history: The training losses by name; each is a list with one value per step.
      likeness: Likeness of the paintings that it learned from; see `PaintingChoices`.
      picture: Index of the style picture that it learned, the one that suits most faces.
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
        self._hparams = hparams
        self._options = painting_options(model_options, hparams)
        self._face_models = face_models or find_face_models()
        self._verbose = 1
        self._training: TrainingState | None = None
        self._made: dict[str, Any] = {"styles": [], "colors": "style"}
        self.history: dict[str, list[float]] = {}
        self.likeness: float | None = None
        self.picture: int | None = None

    def __repr__(self) -> str:
        """Names the preset, the style and how long it was trained."""
        styles = ", ".join(self._made["styles"]) or "no style yet"
        loss = f", loss {self.history['loss'][-1]:.3f}" if self.steps else ""
        return f"<FaceStylizer {self._model_spec.name}: {styles}, {self.steps} steps{loss}>"

    @property
    def steps(self) -> int:
        """Number of completed training steps."""
        return len(self.history.get("loss", ()))

    @classmethod
    def create(
        cls,
        train_data: Dataset,
        options: FaceStylizerOptions,
        on_step: OnStep | None = None,
        face_models: FaceModels | None = None,
        preview: Preview | None = None,
        paintings: PaintingChoices | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: int = 1,
    ) -> FaceStylizer:
        """Creates a stylizer from a preset and fine-tunes it on style images.

        Ctrl-C ends the training but loses nothing: after the first step it is a warning, and the
        stylizer is returned as it is then. `train` goes on with it.

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
          paintings: How the paintings are made that it learns from; `PaintingChoices()` if None.
          callbacks: Callbacks of tf_keras. A step is an epoch of one batch, and the losses are the
            logs; `model` is the synthesis network, whose `stop_training` ends the training. They
            cannot change the learning rate, which follows a schedule of its own.
          verbose: 0 to show neither progress nor what libraries log, and to print nothing in
            `export_model`. Errors and warnings of this package are shown all the same.

        Returns:
          The fine-tuned stylizer.

        Raises:
          TypeError: `options.model` is not supported, or a callback is none of tf_keras.
          ValueError: The dataset is empty, the images have the wrong size, or an option does not
            fit the model.
          PresetError: The preset does not exist or is damaged.
          FaceModelsError: No face models were found.
          FloatingPointError: The training diverged.
        """
        check_callbacks(callbacks)
        stylizer = cls(
            SupportedModels.get(options.model),
            options.model_options or FaceStylizerModelOptions(),
            options.hparams or HParams(),
            face_models,
        )
        stylizer._verbose = verbose
        with stylizer._quiet():
            stylizer._create_model()
            stylizer._train_model(
                train_data, paintings or PaintingChoices(), on_step, preview, callbacks
            )
        return stylizer

    def train(
        self,
        steps: int,
        on_step: OnStep | None = None,
        preview: Preview | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> dict[str, list[float]]:
        """Goes on with the training.

        A training that was interrupted after 40 of 100 steps and goes on for 60 is the same, up to
        rounding, as one that was not. After a completed one the learning rate rises again, and
        falls at the new end.

        Args:
          steps: Number of further steps; they are counted from those before.
          on_step: See `create`.
          preview: See `create`.
          callbacks: See `create`.

        Returns:
          `history`.

        Raises:
          ValueError: `steps` is not positive, or the stylizer was never trained.
        """
        state = self._trained()
        if steps < 1:
            raise InvalidArgumentError(f"steps is {steps}; it must be at least 1")
        with self._quiet(), self._lent_step() as step:
            trainer = PaintingTrainer.resumed(self._preset, state, self._options, step)
            self._fit(trainer, steps, on_step, preview, callbacks)
        return self.history

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Writes the stylizer to a file with which its training can go on later.

        It has weights, moments, paintings and face models; the preset is needed to load it.

        Args:
          path: The file, such as `ink.npz`.
          overwrite: Whether to replace an existing file.

        Raises:
          ValueError: The stylizer was never trained.
          FileExistsError: The file exists, and `overwrite` is False.
          OSError: The file cannot be written.
        """
        state = self._trained()
        fields = {"start": state.start, "likeness": state.likeness, "random": state.random}
        fields["picture"] = self.picture
        card = self._made | fields
        card |= {
            "preset": self._model_spec.name,
            "key": self._preset_key(),
            "options": dataclasses.asdict(self._options),
            "history": state.history,
        }
        arrays = {"photos": state.photos, "paintings": state.paintings}
        arrays |= {f"variable{i:04}": value for i, value in enumerate(state.variables)}
        SavedTraining(card, arrays, self._face_models).save(path, overwrite)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        export_dir: str | os.PathLike[str] | None = None,
        verbose: int = 1,
    ) -> FaceStylizer:
        """Reads a stylizer that `save` has written.

        Args:
          path: The file.
          export_dir: Folder for `export_model`; that of the file if None.
          verbose: See `create`.

        Returns:
          The stylizer, which stylizes, exports and trains as the saved one would have.

        Raises:
          DataError: The file is none that `save` wrote, is damaged, or is of another preset than
            the one that is here.
          PresetError: The preset does not exist or is damaged.
          OSError: The file cannot be read.
        """
        saved = SavedTraining.load(path)
        card, arrays = saved.card, dict(saved.arrays)
        folder = pathlib.Path(path).resolve().parent if export_dir is None else export_dir
        hparams = HParams(export_dir=folder)
        spec = ModelSpec.of_preset(card["preset"])
        stylizer = cls(spec, FaceStylizerModelOptions([]), hparams, saved.face_models)
        stylizer._options = saved_painting_options(card["options"])
        stylizer._verbose = verbose
        stylizer._made = {"styles": card["styles"], "colors": card["colors"]}
        stylizer._create_model()
        if stylizer._preset_key() != card["key"]:
            raise DataError(f"{path} was trained from another {card['preset']} than the one here")
        state = TrainingState(
            photos=arrays.pop("photos"),
            paintings=arrays.pop("paintings"),
            variables=[arrays[name] for name in sorted(arrays)],
            **{name: card[name] for name in ("random", "history", "start", "likeness")},
        )
        stylizer._training, stylizer.history = state, dict(state.history)
        stylizer.likeness = state.likeness
        stylizer.picture = card["picture"]
        stylizer._use(state.drawing(stylizer._photo))
        return stylizer

    def _create_model(self) -> None:
        """Loads the preset into attributes with the same names as in Model Maker."""
        preset = self._released = Preset.find(self._model_spec.name)
        # TensorFlow looks for accelerators when the first variable is made, and logs what it finds.
        with native_errors_afterwards():
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

    def _quiet(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._verbose else native_errors_afterwards()

    def _trained(self) -> TrainingState:
        if self._training is None:
            raise InvalidArgumentError("this stylizer was never trained; use FaceStylizer.create")
        return self._training

    def _preset_key(self) -> list[str]:
        """What tells the preset's weights from those of others."""
        card = self._released.card
        return [card["sha256"], card.get("drawing", {}).get("sha256", "")]

    def _lent_step(self) -> contextlib.AbstractContextManager[PaintingStep]:
        """Provides the compiled training step."""
        options, landmarks = self._options, self._face_models.landmarks
        key = (
            *self._preset_key(),
            hashlib.sha256(landmarks).hexdigest(),
            options.weights,
            options.betas,
            options.conv_dtype,
        )
        return _STEPS.lent(
            key,
            lambda: new_step(
                self._drawing, options, FaceMeshFeatures(landmarks), perceptual_features()
            ),
        )

    def _train_model(
        self,
        train_data: Dataset,
        paintings: PaintingChoices,
        on_step: OnStep | None = None,
        preview: Preview | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> None:
        images, masks = images_and_masks(train_data, self._model_spec.input_image_shape)
        names = getattr(train_data, "image_names", ["style"])
        self._made = {"styles": list(names), "colors": paintings.colors}
        options = self._options
        practice = practice_portraits(paintings, images.shape[1], options, self._face_models)
        with self._lent_step() as step:
            with PortraitFinder(self._face_models) as finder:
                trainer = PaintingTrainer(
                    self._preset,
                    self._drawing,
                    style_portraits(images, masks, train_data, practice, finder),
                    practice,
                    options,
                    likeness=paintings.likeness,
                    colors=paintings.colors,
                    finds_face=finder.finds_face,
                    step=step,
                    progress=lambda faces: tqdm(
                        faces, desc="Painting", unit="face", disable=not self._verbose
                    ),
                )
            self.likeness, self.picture = trainer.likeness, trainer.picture
            self._fit(trainer, options.steps, on_step, preview, callbacks)

    def _fit(
        self,
        trainer: PaintingTrainer,
        steps: int,
        on_step: OnStep | None,
        preview: Preview | None,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        """Trains, and keeps what was learned, also after Ctrl-C."""
        done = len(trainer.history.get("loss", ()))
        total = done + steps
        keras_callbacks = StepCallbacks(callbacks, trainer.step.synthesis, total)

        def report(step: int, values: dict[str, float]) -> None:
            bar.update()
            bar.set_postfix(loss=f"{values['loss']:.3f}")
            if on_step is not None:
                on_step(step, values)
            if preview is not None:
                self._use(trainer.drawing)
                preview(step, self)
            if keras_callbacks.end_step(step, values):
                raise _StopTrainingError

        try:
            with tqdm(
                total=steps, desc="Fine-tuning", unit="step", disable=not self._verbose
            ) as bar:
                keras_callbacks.begin(done)
                trainer.fit(report, steps)
        except _StopTrainingError:
            pass
        except KeyboardInterrupt as error:
            completed = len(trainer.history.get("loss", ()))
            # A subclass is raised where the system ends the program, which then has little time.
            if completed == done or type(error) is not KeyboardInterrupt:
                raise
            warnings.warn(
                f"interrupted after {completed} of {total} steps; the stylizer keeps what it has "
                f"learned, and train({total - completed}) goes on",
                UserWarning,
                stacklevel=4,
            )
        keras_callbacks.end()
        self._training = trainer.state()
        self.history = self._training.history
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

    def stylize(self, data: Any, strength: float = 1.0) -> Dataset:
        """Stylizes the aligned faces of a dataset, or the biggest face of photos.

        Example:
        ```python
        import mm_face_stylizer as mm

        stylizer = mm.FaceStylizer.load("ink.npz")
        stylized = stylizer.stylize("photo.jpg")
        print(stylized.images.shape)  # (1, 256, 256, 3)
        ```

        Args:
          data: Aligned faces of the model's input size, as from `Dataset.from_image`; or a photo,
            whose path, array or Pillow image `Dataset.from_image` takes; or a list of such.
          strength: Strength of the style in [0, 1]: 0 reconstructs the photo, 1 gives the full
            style.

        Returns:
          A dataset of the stylized images, float32 RGB [side, side, 3] in [0, 255], without
          labels.

        Raises:
          ValueError: `strength` is not in [0, 1], the dataset is empty, or its images have the
            wrong size.
          ImageError: A photo cannot be read.
          NoFaceError: No face was found in a photo.
        """
        if not hasattr(data, "gen_tf_dataset"):
            photos = data if isinstance(data, list | tuple) else [data]
            side = self._model_spec.input_image_shape[0]
            data = Dataset.from_images(photos, size=side, face_models=self._face_models)
        images, _ = images_and_masks(data, self._model_spec.input_image_shape)
        with self._quiet():
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
        networks = self.networks(strength)
        bundle = TaskBundle.build(export_stylizer(networks, precision), self._face_models)
        return bundle.with_provenance(self._provenance(networks, precision, strength))

    def _provenance(self, networks: Networks, precision: str, strength: float) -> Provenance:
        """Describes a bundle, with a picture of what it makes of a face of nobody."""
        from mm_face_stylizer import __version__

        side = self._model_spec.input_image_shape[0]
        return Provenance(
            version=__version__,
            preset=pathlib.PurePath(self._model_spec.name).name,
            styles=tuple(self._made["styles"]),
            steps=self.steps,
            seed=self._options.seed,
            likeness=1.0 if self.likeness is None else round(float(self.likeness), 3),
            colors=self._made["colors"],
            strength=float(strength),
            precision=precision,
            thumbnail=thumbnail(networks.reconstruct(practice_pictures(side, 1))[0]),
        )

    def export_model(
        self,
        model_name: str = "face_stylizer.task",
        precision: str = "float16",
        strength: float = 1.0,
        overwrite: bool = False,
    ) -> pathlib.Path:
        """Writes the bundle and its metadata to the folder `hparams.export_dir`.

        The files are `model_name` and, named after it, `face_stylizer.metadata.json`, a readable
        copy of the stylizer's TFLite metadata, which nothing needs at run time. The bundle's path
        is printed, unless the stylizer was made with `verbose=0`.

        Args:
          model_name: File name of the bundle.
          precision: See `bundle`.
          strength: See `bundle`.
          overwrite: Whether to replace existing files.

        Returns:
          The path of the bundle.

        Raises:
          FileExistsError: A file exists, and `overwrite` is False.
          OSError: The folder cannot be created or written.
          ValueError: `precision` is unknown, or `strength` is not in [0, 1].
        """
        folder = pathlib.Path(self._hparams.export_dir)
        paths = folder / model_name, folder / f"{pathlib.Path(model_name).stem}.metadata.json"
        if not overwrite and (taken := list(filter(os.path.lexists, paths))):
            # Before the conversion, which takes seconds, and so that none is written alone.
            raise already_exists(*taken)
        folder.mkdir(parents=True, exist_ok=True)
        with self._quiet():
            bundle = self.bundle(precision, strength)
        metadata = json.dumps(read_metadata(bundle.stylizer), indent=2) + "\n"
        bundle.save(paths[0], overwrite=overwrite)
        atomic_write(paths[1], metadata.encode(), overwrite=overwrite)
        if self._verbose:
            print(paths[0])
        return paths[0]
