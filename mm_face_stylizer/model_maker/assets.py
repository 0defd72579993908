"""Converts a preset to the asset files that Google's Model Maker loads.

`mediapipe_model_maker.face_stylizer` loads its networks from the system's folder for temporary
files and downloads those that are missing. With the assets of a preset installed there, the
unmodified Model Maker trains, stylizes and exports offline. Its encoder passes only w+ latents to
the decoder. A preset that was trained without spatial latents therefore works best; the spatial
latents of other presets are dropped.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.export import quiet_keras
from mm_face_stylizer.model_maker.installed_files import InstalledFiles, Removal
from mm_face_stylizer.models.blaze_stylegan.generator import copied
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.models.mapping import LATENT_DIM
from mm_face_stylizer.preset import DEFAULT_PRESET, Preset
from mm_face_stylizer.training import losses
from task_bundle.faces.face_models import FaceModels, find_face_models

_FOLDER = "model_maker"
_ENCODER = "face_stylizer/encoder"
_DECODER = "face_stylizer/decoder"
_MAPPING = "face_stylizer/mapping"
_DISCRIMINATOR = "face_stylizer/discriminator"
_W_AVG = "face_stylizer/w_avg.npy"
_FACE_LANDMARKER = "face_stylizer/face_landmarker_v2.task"
_PERCEPTUAL = "vgg_feature_extractor"
_ASSETS = (
    _ENCODER,
    _DECODER,
    _MAPPING,
    _DISCRIMINATOR,
    _W_AVG,
    _FACE_LANDMARKER,
    _PERCEPTUAL,
)
# Side in pixels of the pictures of Model Maker's stylizer; it supports no other.
_SIDE = 256
# Mean and standard deviation of ImageNet's RGB channels in [0, 1]; Model Maker normalizes pictures
# with them before it calls the feature extractor.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_FEATURE_MAPS = 5
# Factor of the first feature map, to which Model Maker gives a tenth of the weight of deeper maps.
_PICTURE_GAIN = 3.0
# Number of random faces on which mean magnitudes are measured.
_SAMPLES = 16


class _Asset(keras.Model):
    """A Keras model that wraps a function and its variables, to be saved for Model Maker.

    The layers are hidden from Keras on purpose: it would save separate functions for each of them,
    which takes minutes, and Model Maker does not use them.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], variables: Sequence[tf.Variable], example
    ):
        """Creates the model and calls it once.

        Args:
          name: Name of the model.
          function: Computes outputs from inputs, in training and inference alike.
          variables: The variables that `function` uses.
          example: An input of the right structure, shape and dtype, with any batch size.
        """
        super().__init__(name=name)
        self._function = function
        self._used_variables = list(variables)
        # Keras traces the input signature from this call.
        self(example)

    def call(self, inputs, training: bool | None = None):
        """Calls the function; `training` is ignored."""
        del training
        return self._function(inputs)


def encoder_asset(networks: Networks) -> keras.Model:
    """Builds the encoder, from photos [batch, 256, 256, 3] to w+ latents [batch, 12, 512].

    The latents are relative to `w_avg`, which Model Maker adds.

    Model Maker calls its encoder with `training=True`, even for the export. Batch normalization
    nevertheless runs in inference mode: in training mode it would use the statistics of a batch of
    one picture instead of the preset's, and TFLite has no operator for it.

    Model Maker trains and stylizes with photos in [-1, 1], but the graph that it exports passes
    photos in [0, 1] to the encoder. The asset accepts both: a photo without negative values is
    taken to be in [0, 1].
    """
    encoder = keras.Model(networks.encoder.input, networks.encoder.output["inputs"])

    def encode(image):
        darkest = tf.reduce_min(image, axis=(1, 2, 3), keepdims=True)
        is_unit = tf.cast(darkest >= 0.0, tf.float32)
        # 2 * image - 1 if the photo is in [0, 1], else image, without a branch in the graph.
        return encoder(image + is_unit * (image - 1.0), training=False)

    return _Asset("encoder", encode, encoder.variables, tf.zeros((1, _SIDE, _SIDE, 3)))


def decoder_asset(networks: Networks) -> keras.Model:
    """Builds the decoder, from w+ latents to pictures.

    It maps `{"inputs": w}`, w [batch, 12, 512], to `{"image": [picture]}`, picture
    [batch, 256, 256, 3] in [-1, 1]. Only the picture of the highest resolution is returned, because
    Model Maker uses no other, but would train and export the heads of all resolutions.
    """
    synthesis = copied(networks.synthesis, heads="last", name="synthesis")

    def synthesize(inputs):
        image = synthesis({"inputs": inputs["inputs"]})["image"][-1]
        return {"image": [_within_range(image)]}

    return _Asset(
        "decoder", synthesize, synthesis.variables, {"inputs": tf.zeros(networks.w_avg.shape)}
    )


def mapping_asset(networks: Networks) -> keras.Model:
    """Builds the mapping, from `[noise [batch, 512], label [batch, 0]]` to w+ [batch, 12, 512]."""
    return _Asset(
        "mapping",
        networks.mapping,
        networks.mapping.variables,
        [tf.zeros((1, LATENT_DIM)), tf.zeros((1, 0))],
    )


def discriminator_asset(networks: Networks, faces: tf.Tensor) -> keras.Model:
    """Builds the discriminator, from pictures to features of their style.

    It maps `[image [batch, 3, 256, 256] in [-1, 1], label [batch, 0]]` to [batch, features] in
    (-1, 1). Model Maker's loss is the mean absolute difference of two such outputs. The features
    are the spatial means of the feature maps, divided by the mean magnitude of their layer and
    squashed by softsign. Without the squashing the strokes of a drawing, whose features are about
    ten times those of a photo, would outweigh everything else.

    Args:
      networks: A preset's networks.
      faces: Pictures on which the magnitudes are measured, [count, 256, 256, 3] in [-1, 1].
    """
    magnitudes = _magnitudes(networks.discriminator.mean_features(faces))

    def style_features(inputs):
        image = tf.transpose(inputs[0], (0, 2, 3, 1))
        features = _divided(networks.discriminator.mean_features(image), magnitudes)
        return tf.nn.softsign(tf.concat(features, axis=-1))

    return _Asset(
        "discriminator",
        style_features,
        networks.discriminator.variables,
        [tf.zeros((1, 3, _SIDE, _SIDE)), tf.zeros((1, 0))],
    )


def perceptual_asset(face_mesh: FaceMeshFeatures, faces: tf.Tensor) -> keras.Model:
    """Builds the feature extractor that takes the place of Model Maker's VGG19.

    It maps pictures [batch, 256, 256, 3], normalized with ImageNet's statistics, to five feature
    maps, those of the highest resolution first: the picture itself, and four maps of MediaPipe's
    face mesh network. To each of the four, the picture is appended at the map's resolution as three
    more channels: the network sees only brightness, and without these channels colors would drift
    (see `losses.with_colors_of`). All features are divided by their mean magnitude.

    Args:
      face_mesh: The face mesh network.
      faces: Pictures on which the magnitudes are measured, [count, 256, 256, 3] in [-1, 1].
    """

    def features(image):
        maps = face_mesh(losses.brightness(image)).features[1:_FEATURE_MAPS]
        colors = [tf.image.resize(image, m.shape[1:3], antialias=True) for m in maps]
        return maps, [image, *colors]

    maps, colors = features(faces)
    map_sizes, color_sizes = _magnitudes(maps), _magnitudes(colors)

    def extract(image):
        image = image * tf.constant(_IMAGENET_STD) + tf.constant(_IMAGENET_MEAN)
        maps, colors = features(2.0 * image - 1.0)
        picture, *colors = _divided(colors, color_sizes)
        joined = [
            # A distance is the mean over all channels. This factor gives the three color channels
            # the same total weight as the features.
            tf.concat([m, color * (m.shape[-1] / 3)], axis=-1)
            for m, color in zip(_divided(maps, map_sizes), colors, strict=True)
        ]
        return [_PICTURE_GAIN * picture, *joined]

    return _Asset(
        "vgg_feature_extractor", extract, face_mesh.variables, tf.zeros((1, _SIDE, _SIDE, 3))
    )


@tf.custom_gradient
def _within_range(image: tf.Tensor):
    """Clips to [-1, 1]; outside the range, only gradients that lead back into it pass.

    Without these gradients clipped pixels would never return. Gradients that lead further away are
    blocked: clipping hides their effect from the loss, and the training would diverge.
    """

    def gradient(upstream):
        outwards = tf.where(image > 1.0, upstream < 0.0, (image < -1.0) & (upstream > 0.0))
        return tf.where(outwards, 0.0, upstream)

    return tf.clip_by_value(image, -1.0, 1.0), gradient


def _magnitudes(features: list[tf.Tensor]) -> list[float]:
    return [float(tf.reduce_mean(tf.abs(feature))) for feature in features]


def _divided(features: list[tf.Tensor], magnitudes: list[float]) -> list[tf.Tensor]:
    return [feature / size for feature, size in zip(features, magnitudes, strict=True)]


def default_directory() -> pathlib.Path:
    """Returns this process's folder for temporary files, where Model Maker looks for its assets."""
    return pathlib.Path(tempfile.gettempdir())


def install_assets(
    directory: str | os.PathLike[str] | None = None,
    preset: str | os.PathLike[str] = DEFAULT_PRESET,
    face_models: FaceModels | None = None,
) -> pathlib.Path:
    """Writes a preset as the assets that Google's Model Maker loads.

    Files that an earlier call wrote are replaced; files of other origin are never overwritten.

    Args:
      directory: Folder for temporary files (`TMPDIR`) of the processes that run Model Maker; this
        process's own if None.
      preset: Name or folder of a preset.
      face_models: Face detector and landmark model; the result of
        `task_bundle.faces.face_models.find_face_models` if None.

    Returns:
      The folder with the assets, `model_maker` in `directory`.

    Raises:
      FileExistsError: A file with an asset's name was not written by this function, or was changed
        afterward.
      PresetError: The preset is unknown or damaged.
      ValueError: The preset's pictures are not 256 x 256 pixels, or the manifest of an earlier call
        is damaged.
      FaceModelsError: No face models were found.
      OSError: The folder cannot be written to.
    """
    files = _files(directory)
    # Fails early: building the assets takes half a minute.
    files.check(_ASSETS)
    found = Preset.find(preset)
    if found.image_size != _SIDE:
        raise InvalidArgumentError(
            f"preset {str(preset)!r} makes pictures of {found.image_size} px; Model Maker's "
            f"stylizer needs {_SIDE} px"
        )
    networks = found.networks()
    about = {"preset": str(found.card.get("name", preset)), "sha256": found.card["sha256"]}
    with files.replacing(_ASSETS, about) as folder:
        write_assets(folder, networks, face_models or find_face_models())
    return files.folder


def uninstall_assets(directory: str | os.PathLike[str] | None = None) -> Removal:
    """Removes the files that `install_assets` wrote, and nothing else.

    Args:
      directory: The directory that was given to `install_assets`.

    Returns:
      The number of removed files, and the paths that were kept because they were changed.

    Raises:
      FileNotFoundError: Nothing is installed there.
      ValueError: The manifest is damaged.
      OSError: A file cannot be removed.
    """
    return _files(directory).uninstall()


def _files(directory: str | os.PathLike[str] | None) -> InstalledFiles:
    root = default_directory() if directory is None else pathlib.Path(directory)
    return InstalledFiles(root / _FOLDER)


def write_assets(folder: pathlib.Path, networks: Networks, face_models: FaceModels) -> None:
    """Writes the assets without a manifest.

    Args:
      folder: Existing folder with a subfolder `face_stylizer`; no asset may exist in it.
      networks: A preset's networks for 256 x 256 pixels; spatial latents are dropped.
      face_models: Face detector and landmark model. Model Maker aligns faces with both; the
        landmark model also provides the features of the perceptual loss.
    """
    latents = networks.random_latents(_SAMPLES, seed=0)
    faces = tf.clip_by_value(networks.synthesis({"inputs": latents})["image"][-1], -1.0, 1.0)
    assets = {
        _ENCODER: encoder_asset(networks),
        _DECODER: decoder_asset(networks),
        _MAPPING: mapping_asset(networks),
        _DISCRIMINATOR: discriminator_asset(networks, faces),
        _PERCEPTUAL: perceptual_asset(FaceMeshFeatures(face_models.landmarks), faces),
    }
    for name, asset in assets.items():
        with quiet_keras():
            asset.save(folder / name, save_format="tf", include_optimizer=False)
    np.save(folder / _W_AVG, np.asarray(networks.w_avg[0], np.float32))
    (folder / _FACE_LANDMARKER).write_bytes(face_models.landmarker_task())
