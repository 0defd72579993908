"""The plug-in into Google's Model Maker: a preset as the assets that its trainer looks for.

`mediapipe_model_maker.face_stylizer` loads its networks from a folder for temporary files and
downloads what is missing there. With a preset installed in their place it trains, stylizes and
exports offline and unmodified. It passes w+ latents alone from encoder to decoder, so a preset that
was trained for that serves best; of any other the spatial latents are left out.
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
from mm_face_stylizer.training.blaze_stylegan.style_bank import mean_features
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
# The only stylizer that Model Maker knows.
_SIDE = 256
# The normalisation of ImageNet's pictures, which Model Maker applies before the feature extractor.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_FEATURE_MAPS = 5
# Model Maker gives the first map a tenth of the deeper ones' weight.
_PICTURE_GAIN = 3.0
_SAMPLES = 16


class _Asset(keras.Model):
    """A network as Model Maker loads and calls it.

    Keras sees the variables and one function, not the layers: it would save each of these with
    functions of its own, which takes minutes, and Model Maker has no use for them.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], variables: Sequence[tf.Variable], example
    ):
        """Makes the model.

        Args:
          name: Its name.
          function: What it computes; the same in training and in inference.
          variables: What it computes with.
          example: An input of the right form, of any batch.
        """
        super().__init__(name=name)
        self._function = function
        self._used_variables = list(variables)
        # Tells Keras what form of input to trace.
        self(example)

    def call(self, inputs, training: bool | None = None):
        """Computes."""
        del training
        return self._function(inputs)


def encoder_asset(networks: Networks) -> keras.Model:
    """Photo [batch, 256, 256, 3] to a w+ latent [batch, 12, 512] without `w_avg`.

    Model Maker calls its encoder with `training=True`, in its export, too. Batch normalisation
    stays in inference mode all the same: over a batch of one picture it would not know the
    preset's statistics, and TFLite has no such operator.

    Model Maker trains and stylizes with photos in [-1, 1], but the graph that it exports hands its
    encoder photos in [0, 1]. So both are taken: what has no negative value is in [0, 1].
    """
    encoder = keras.Model(networks.encoder.input, networks.encoder.output["inputs"])

    def encode(image):
        darkest = tf.reduce_min(image, axis=(1, 2, 3), keepdims=True)
        is_unit = tf.cast(darkest >= 0.0, tf.float32)
        # 2 x - 1 or x, without a branch.
        return encoder(image + is_unit * (image - 1.0), training=False)

    return _Asset("encoder", encode, encoder.variables, tf.zeros((1, _SIDE, _SIDE, 3)))


def decoder_asset(networks: Networks) -> keras.Model:
    """`{"inputs": w}` [batch, 12, 512] to `{"image": [picture]}` [batch, 256, 256, 3] in [-1, 1].

    One picture, the finest: Model Maker uses no other, and would train and export all of them.
    """
    synthesis = copied(networks.synthesis, heads="last", name="synthesis")

    def synthesise(inputs):
        image = synthesis({"inputs": inputs["inputs"]})["image"][-1]
        return {"image": [_within_range(image)]}

    return _Asset(
        "decoder", synthesise, synthesis.variables, {"inputs": tf.zeros(networks.w_avg.shape)}
    )


def mapping_asset(networks: Networks) -> keras.Model:
    """`[noise [batch, 512], label [batch, 0]]` to w+ latents [batch, 12, 512]."""
    return _Asset(
        "mapping",
        networks.mapping,
        networks.mapping.variables,
        [tf.zeros((1, LATENT_DIM)), tf.zeros((1, 0))],
    )


def discriminator_asset(networks: Networks, faces: tf.Tensor) -> keras.Model:
    """`[image [batch, 3, 256, 256] in [-1, 1], label [batch, 0]]` to what kind of picture it is.

    Model Maker asks for the mean absolute difference of two of these: [batch, features], the means
    of the feature maps, each layer relative to its mean magnitude and squashed into (-1, 1): a
    drawing's strokes, ten times what a photo has of them, would outweigh all else.

    Args:
      networks: A preset's networks.
      faces: [count, 256, 256, 3] in [-1, 1], what magnitudes are measured on.
    """
    magnitudes = _magnitudes(mean_features(networks.discriminator, faces))

    def judge(inputs):
        image = tf.transpose(inputs[0], (0, 2, 3, 1))
        features = _divided(mean_features(networks.discriminator, image), magnitudes)
        return tf.nn.softsign(tf.concat(features, axis=-1))

    return _Asset(
        "discriminator",
        judge,
        networks.discriminator.variables,
        [tf.zeros((1, 3, _SIDE, _SIDE)), tf.zeros((1, 0))],
    )


def perceptual_asset(face_mesh: FaceMeshFeatures, faces: tf.Tensor) -> keras.Model:
    """MediaPipe's face mesh network, and the picture itself, in the place of a VGG19.

    A picture [batch, 256, 256, 3], normalised like ImageNet's, to five feature maps, finest first:
    the picture, and four of the face mesh's, each with the picture in its size as three channels
    more. Without them colours would drift, since the network sees brightness alone;
    `losses.with_colors_of` says why. All are relative to their mean magnitudes.

    Args:
      face_mesh: The network.
      faces: [count, 256, 256, 3] in [-1, 1], what magnitudes are measured on.
    """

    def features(image):
        maps = face_mesh(losses.brightness(image)).features[1:_FEATURE_MAPS]
        colours = [tf.image.resize(image, m.shape[1:3], antialias=True) for m in maps]
        return maps, [image, *colours]

    maps, colours = features(faces)
    map_sizes, colour_sizes = _magnitudes(maps), _magnitudes(colours)

    def look(image):
        image = image * tf.constant(_IMAGENET_STD) + tf.constant(_IMAGENET_MEAN)
        maps, colours = features(2.0 * image - 1.0)
        picture, *colours = _divided(colours, colour_sizes)
        joined = [
            # As many colours as features: a distance is the mean over all channels.
            tf.concat([m, colour * (m.shape[-1] / 3)], axis=-1)
            for m, colour in zip(_divided(maps, map_sizes), colours, strict=True)
        ]
        return [_PICTURE_GAIN * picture, *joined]

    return _Asset(
        "vgg_feature_extractor", look, face_mesh.variables, tf.zeros((1, _SIDE, _SIDE, 3))
    )


@tf.custom_gradient
def _within_range(image: tf.Tensor):
    """Cuts off what lies outside [-1, 1], with a gradient for pixels that are to come back.

    Without one they would stay outside for ever. Nor may there be one for pixels that are to go
    further: the loss does not see them do it, and the training would diverge.
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
    """The folder for temporary files of this process; Model Maker asks for the same."""
    return pathlib.Path(tempfile.gettempdir())


def install_assets(
    directory: str | os.PathLike[str] | None = None,
    preset: str | os.PathLike[str] = DEFAULT_PRESET,
    face_models: FaceModels | None = None,
) -> pathlib.Path:
    """Writes a preset as the assets that Google's Model Maker looks for.

    What an earlier call wrote is replaced; what somebody else wrote is not.

    Args:
      directory: Folder for temporary files of the programs that run Model Maker, their `TMPDIR`;
        this process's own if None.
      preset: Name of a preset, or a preset's folder.
      face_models: Face detector and landmark model; found as
        `task_bundle.faces.face_models.find_face_models` says if None.

    Returns:
      The folder with the assets, `model_maker` in `directory`.

    Raises:
      FileExistsError: An asset is there that was not written by this function, or changed since.
      PresetError: The preset is unknown or damaged.
      ValueError: The preset is not of 256 px, or the manifest of an earlier call is damaged.
      FaceModelsError: No face models were found.
      OSError: The folder cannot be written to.
    """
    files = _files(directory)
    # Before half a minute of work.
    files.check(_ASSETS)
    found = Preset.find(preset)
    networks = found.networks()
    if networks.config.image_size != _SIDE:
        raise InvalidArgumentError(
            f"preset {str(preset)!r} makes pictures of {networks.config.image_size} px; Model "
            f"Maker's stylizer is of {_SIDE} px"
        )
    about = {"preset": str(found.card.get("name", preset)), "sha256": found.card["sha256"]}
    with files.replacing(_ASSETS, about) as folder:
        write_assets(folder, networks, face_models or find_face_models())
    return files.folder


def uninstall_assets(directory: str | os.PathLike[str] | None = None) -> Removal:
    """Removes what `install_assets` wrote, and nothing else.

    Args:
      directory: As given to `install_assets`.

    Returns:
      How many files were removed, and which were left because they have changed since.

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
    """Writes the assets themselves, without a manifest.

    Args:
      folder: Has a folder `face_stylizer`, and none of the assets.
      networks: Networks for 256 px; spatial latents are left out.
      face_models: What finds faces, and what the perceptual loss looks with.
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
