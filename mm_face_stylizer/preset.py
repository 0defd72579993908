"""Presets: folders with pretrained weights and a card that describes them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from mm_face_stylizer.errors import PresetError
from mm_face_stylizer.families import Family, find_family
from task_bundle.files import atomic_write
from task_bundle.suggestion import did_you_mean

_PRESETS_FOLDER = pathlib.Path(__file__).parent / "presets"
_CARD = "card.json"
_WEIGHTS = "weights.npz"
_DRAWING = "drawing.npz"
_DRAWING_TFLITE = "drawing.tflite"
DEFAULT_PRESET = "blaze_face_stylizer_256"


@dataclasses.dataclass(frozen=True)
class Preset:
    """Pretrained weights on disk, with the card that describes them and their origin.

    Attributes:
      folder: Folder with `card.json` and `weights.npz`.
      card: The contents of `card.json`: name, configuration of the networks, SHA-256 of the
        weights, license, training data, training command, Git commit and metrics.
    """

    folder: pathlib.Path
    card: dict[str, Any]

    @classmethod
    def find(cls, name_or_folder: str | pathlib.Path = DEFAULT_PRESET) -> Preset:
        """Opens a preset of this package by name, or any preset by its folder.

        Example:
        ```python
        from mm_face_stylizer.preset import Preset

        preset = Preset.find("blaze_face_stylizer_256")
        print(preset.image_size)  # 256
        ```

        Args:
          name_or_folder: Name of a preset of this package, such as `blaze_face_stylizer_256`, or a
            folder that the `pretrain` command wrote.

        Returns:
          The preset. Its weights are not read yet.

        Raises:
          PresetError: The preset does not exist, or its card cannot be read.
        """
        folder = pathlib.Path(name_or_folder)
        if not (folder / _CARD).is_file():
            folder = _PRESETS_FOLDER / str(name_or_folder)
        card_path = folder / _CARD
        try:
            card = json.loads(card_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            known = sorted(path.parent.name for path in _PRESETS_FOLDER.glob(f"*/{_CARD}"))
            meant = did_you_mean(str(name_or_folder), known) or "."
            raise PresetError(
                f"There is no preset {str(name_or_folder)!r}{meant} Known presets: "
                f"{', '.join(known)}."
            ) from None
        except ValueError as error:
            raise PresetError(
                f"{card_path} is not a valid JSON card of a preset: {error}"
            ) from None
        return cls(folder, card)

    @property
    def image_size(self) -> int:
        """Side in pixels of the square input and output images.

        Raises:
          PresetError: The card has no valid `config.image_size`.
        """
        try:
            return int(self.card["config"]["image_size"])
        except (KeyError, TypeError, ValueError):
            raise PresetError(
                f"{self.folder / _CARD} has no valid config.image_size, an integer in pixels."
            ) from None

    def networks(self) -> Any:
        """Builds the networks and loads the weights, after checking their hash.

        Returns:
          The networks, an instance of the `networks_class` of the card's family.

        Raises:
          PresetError: The family is unknown, the weights are missing, or their hash or shapes do
            not match the card.
        """
        family = self._family()
        return self.filled(family.config_class(), family.networks_class())

    def config(self) -> Any:
        """Returns the configuration of the networks.

        Returns:
          An instance of the `config_class` of the card's family.

        Raises:
          PresetError: The family is unknown, or the card's configuration is not valid for it.
        """
        family = self._family()
        try:
            return family.config_class()(**self.card["config"])
        except (KeyError, TypeError, ValueError) as error:
            raise PresetError(
                f"{self.folder / _CARD} has no valid configuration of {family.name}: {error}"
            ) from error

    def _family(self) -> Family:
        try:
            return find_family(self.card)
        except ValueError as error:
            raise PresetError(f"{self.folder / _CARD}: {error}") from None

    def filled(self, config_class: type, networks_class: type) -> Any:
        """Builds networks of the given classes and loads the weights, after checking their hash.

        Args:
          config_class: Class of the configuration; called with the card's `config` as keyword
            arguments.
          networks_class: Class of the networks; its `from_weights` is called with the configuration
            and the weights.

        Returns:
          The networks that `from_weights` returns.

        Raises:
          PresetError: The weights are missing, or their hash or shapes do not match the card.
        """
        with self._open_verified(_WEIGHTS, self.card["sha256"]) as weights:
            try:
                config = config_class(**self.card["config"])
                return networks_class.from_weights(config, weights)
            except (ValueError, TypeError) as error:
                raise PresetError(f"{self.folder / _WEIGHTS}: {error}") from error

    def weights(self) -> dict[str, np.ndarray]:
        """Reads the weights, after checking their hash, without importing TensorFlow.

        Returns:
          The arrays by name, such as `encoder/stem/kernel`, in the precision of the file: kernels
          in float16, vectors in float32.

        Raises:
          PresetError: The weights are missing, or their hash does not match the card.
        """
        with self._open_verified(_WEIGHTS, self.card["sha256"]) as weights:
            return dict(weights)

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the styles that the preset can draw without fine-tuning; may be empty."""
        smaller = self._smaller()
        if smaller is not None:
            return smaller.styles
        return tuple(self.card.get("drawing", {}).get("styles", ()))

    def _smaller(self) -> Preset | None:
        """The preset of half the side whose drawing network this one grows, if its card says so."""
        name = self.card.get("drawing", {}).get("grown_from")
        return None if name is None else Preset.find(name)

    def drawing(self, networks: Any = None) -> Any:
        """Builds the drawing network and loads its weights, after checking their hash.

        Args:
          networks: The preset's networks, if they were built before. They are not changed.

        Returns:
          A `mm_face_stylizer.models.blaze_stylegan.drawing.Drawing`, which draws `styles`.

        Raises:
          PresetError: The preset has no drawing network, its weights are missing, or their hash or
            shapes do not match the card.
        """
        card = self.card.get("drawing")
        if card is None:
            raise PresetError(f"{self.folder} has no drawing network; pretrain-drawing trains one.")
        smaller = self._smaller()
        if smaller is not None:
            return smaller.drawing().grown(networks or self.networks())
        with self._open_verified(_DRAWING, card["sha256"]) as weights:
            try:
                return (
                    self._family().drawing_class().from_weights(self.config(), self.styles, weights)
                )
            except (ValueError, TypeError) as error:
                raise PresetError(f"{self.folder / _DRAWING}: {error}") from error

    @property
    def ready_styles(self) -> tuple[str, ...]:
        """Names of the styles that `ready_stylizer` knows, in the card's order; may be empty."""
        return tuple(self.card.get("drawing", {}).get("ready", {}))

    def ready_stylizer(self, name: str) -> bytes:
        """Makes the TFLite model of a style that the drawing network knows, without TensorFlow.

        Two styles of one drawing network differ in nothing but the mean latent, which is a constant
        of the model. The preset has the model of the photo, in which the constant is replaced.

        Args:
          name: One of `ready_styles`.

        Returns:
          The stylizer without metadata, with float16 weights: the same bytes as an export of it.

        Raises:
          PresetError: The style is unknown, or a file is missing or damaged.
        """
        ready = self.card.get("drawing", {}).get("ready", {})
        if name not in ready:
            meant, known = did_you_mean(name, ready) or ".", ", ".join(ready) or "none"
            raise PresetError(
                f"There is no ready style {name!r}{meant} Known ready styles: {known}."
            )
        with self._open_verified(_WEIGHTS, self.card["sha256"]) as weights:
            w_avg = weights["w_avg"].astype(np.float32)
        card = self.card["drawing"]
        with self._open_verified(_DRAWING, card["sha256"]) as weights:
            codes = weights["codes"].astype(np.float32)
        own, wanted = (
            (w_avg + codes[self.styles.index(style)]).astype(np.float16).tobytes()
            for style in (card["tflite"]["style"], ready[name])
        )
        model = self._verified(_DRAWING_TFLITE, card["tflite"]["sha256"])
        if model.count(own) != 1:
            raise PresetError(f"{self.folder / _DRAWING_TFLITE} is not of this preset's weights.")
        return model.replace(own, wanted)

    def exported(self, precision: str) -> bytes:
        """Reads an export that the preset was saved with, after checking its hash.

        Args:
          precision: As for `mm_face_stylizer.export.convert`.

        Returns:
          A TFLite flatbuffer without metadata.

        Raises:
          PresetError: The preset has none of this precision, or the file is missing or damaged.
        """
        exports = self.card.get("exports", {})
        if precision not in exports:
            known = ", ".join(exports) or "none"
            raise PresetError(f"{self.folder} has no export in {precision}. Known: {known}.")
        return self._verified(_export_name(precision), exports[precision])

    def _verified(self, name: str, sha256: str) -> bytes:
        """Reads a file after checking its SHA-256."""
        with self._opened(name, sha256) as file:
            return file.read()

    @contextlib.contextmanager
    def _open_verified(self, name: str, sha256: str) -> Iterator[Mapping[str, np.ndarray]]:
        """Checks the SHA-256 of a file of weights and opens it; arrays are read when accessed."""
        with self._opened(name, sha256) as file, np.load(file, allow_pickle=False) as weights:
            yield weights

    @contextlib.contextmanager
    def _opened(self, name: str, sha256: str) -> Iterator[BinaryIO]:
        """Opens a file after checking its SHA-256."""
        path = self.folder / name
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise PresetError(f"The preset's weights {path} are missing.") from None
        with file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256:
                raise PresetError(
                    f"{path} has the sha256 {found}, but its card says {sha256}. The "
                    "file is damaged or not the released one; reinstall mm-face-stylizer."
                )
            file.seek(0)
            yield file


def save_preset(
    folder: pathlib.Path,
    networks,
    card: dict[str, Any],
    overwrite: bool = False,
    exports: Mapping[str, bytes] | None = None,
) -> Preset:
    """Writes trained networks and their card to a folder.

    Kernels are stored as float16. Vectors, such as biases and normalization statistics, are stored
    as float32: they are small, and a tiny variance would become zero in float16.

    Example:
    ```python
    import pathlib

    from mm_face_stylizer.preset import Preset, save_preset

    networks = Preset.find("blaze_face_stylizer_256").networks()
    preset = save_preset(pathlib.Path("my_preset"), networks, {"name": "my_preset"})
    ```

    Args:
      folder: Folder to write to; created if it does not exist.
      networks: Trained networks with `weights()` and `config`, such as
        `mm_face_stylizer.models.blaze_stylegan.networks.Networks`.
      card: Entries of the card. The configuration, the SHA-256, the size in bytes and the numbers
        of parameters are added.
      overwrite: Whether to replace an existing preset.
      exports: TFLite models of the same networks by precision, for `Preset.exported`.

    Returns:
      The preset that was written.

    Raises:
      FileExistsError: The folder has a preset, and `overwrite` is False.
    """
    weights = networks.weights()
    content = _npz_bytes(weights)
    card = card | {
        "config": dataclasses.asdict(networks.config),
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "parameters": {
            part: int(sum(value.size for name, value in weights.items() if name.startswith(part)))
            for part in dict.fromkeys(name.partition("/")[0] for name in weights)
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / _WEIGHTS, content, overwrite=overwrite)
    if exports:
        card["exports"] = {
            precision: hashlib.sha256(model).hexdigest() for precision, model in exports.items()
        }
        for precision, model in exports.items():
            atomic_write(folder / _export_name(precision), model, overwrite=overwrite)
    _write_card(folder, card, overwrite)
    return Preset(folder, card)


def save_drawing(
    preset: Preset,
    drawing: Any,
    card: dict[str, Any],
    tflite: Mapping[str, bytes] | None = None,
) -> Preset:
    """Adds a drawing network to a preset on disk, replacing an existing one.

    Args:
      preset: The preset. Its other weights and the other entries of its card do not change.
      drawing: A trained `mm_face_stylizer.models.blaze_stylegan.drawing.Drawing`.
      tflite: For ready styles, the float16 export of one style, keyed by that style.
      card: Entries for `drawing` in the preset's card. The styles, the SHA-256 and the size in
        bytes are added.

    Returns:
      The preset that was written.
    """
    content = _npz_bytes(drawing.weights())
    own = card | {
        "styles": list(drawing.styles),
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    for style, model in (tflite or {}).items():
        own["tflite"] = {"style": style, "sha256": hashlib.sha256(model).hexdigest()}
        atomic_write(preset.folder / _DRAWING_TFLITE, model, overwrite=True)
    whole = preset.card | {"drawing": own}
    atomic_write(preset.folder / _DRAWING, content, overwrite=True)
    _write_card(preset.folder, whole, overwrite=True)
    return Preset(preset.folder, whole)


def _npz_bytes(weights: Mapping[str, np.ndarray]) -> bytes:
    """Returns the bytes of an `.npz` file, with kernels in float16 and vectors in float32."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        **{
            name: value.astype(np.float16 if value.ndim > 1 else np.float32)
            for name, value in weights.items()
        },
    )
    return buffer.getvalue()


def _export_name(precision: str) -> str:
    return f"{precision}.tflite"


def _write_card(folder: pathlib.Path, card: dict[str, Any], overwrite: bool) -> None:
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    atomic_write(folder / _CARD, text.encode(), overwrite=overwrite)
