"""Released weights: a preset is data, a folder with a card and a weights file."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mm_face_stylizer.errors import PresetError
from mm_face_stylizer.families import Family, find_family
from task_bundle.files import atomic_write

_PRESETS_FOLDER = pathlib.Path(__file__).parent / "presets"
_CARD = "card.json"
_WEIGHTS = "weights.npz"
_DRAWING = "drawing.npz"
DEFAULT_PRESET = "blaze_face_stylizer_256"


@dataclasses.dataclass(frozen=True)
class Preset:
    """Weights on disk with the card that says where they come from.

    Attributes:
      folder: Folder with `card.json` and `weights.npz`.
      card: Name, configuration, sha256 of the weights, licence, training data, command, commit,
        metrics.
    """

    folder: pathlib.Path
    card: dict[str, Any]

    @classmethod
    def find(cls, name_or_folder: str | pathlib.Path = DEFAULT_PRESET) -> Preset:
        """Opens a preset of the package by name, or any preset by its folder.

        Args:
          name_or_folder: For instance `blaze_face_stylizer_256`, or a folder that `pretrain` wrote.

        Raises:
          PresetError: There is no such preset, or its card cannot be read.
        """
        folder = pathlib.Path(name_or_folder)
        if not (folder / _CARD).is_file():
            folder = _PRESETS_FOLDER / str(name_or_folder)
        card_path = folder / _CARD
        try:
            card = json.loads(card_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            known = ", ".join(
                sorted(path.parent.name for path in _PRESETS_FOLDER.glob(f"*/{_CARD}"))
            )
            raise PresetError(
                f"There is no preset {str(name_or_folder)!r}. Known presets: {known}."
            ) from None
        except ValueError as error:
            raise PresetError(f"{card_path} is not a preset's card: {error}") from None
        return cls(folder, card)

    @property
    def image_size(self) -> int:
        """Side in pixels of the pictures that the preset is for.

        Raises:
          PresetError: The card does not say.
        """
        try:
            return int(self.card["config"]["image_size"])
        except (KeyError, TypeError, ValueError):
            raise PresetError(
                f"{self.folder / _CARD} does not say config.image_size, a whole number of pixels."
            ) from None

    def networks(self) -> Any:
        """Builds the networks and fills them with the checked weights.

        Returns:
          Those of the card's family.

        Raises:
          PresetError: The family is unknown, the weights are missing, or their hash or shapes are
            not the card's.
        """
        family = self._family()
        return self.filled(family.config_class(), family.networks_class())

    def config(self) -> Any:
        """The configuration of the networks, as the card's family has it.

        Raises:
          PresetError: The family is unknown, or the configuration is not one of it.
        """
        family = self._family()
        try:
            return family.config_class()(**self.card["config"])
        except (KeyError, TypeError, ValueError) as error:
            raise PresetError(
                f"{self.folder / _CARD} has no configuration of {family.name}: {error}"
            ) from error

    def _family(self) -> Family:
        try:
            return find_family(self.card)
        except ValueError as error:
            raise PresetError(f"{self.folder / _CARD}: {error}") from None

    def filled(self, config_class: type, networks_class: type) -> Any:
        """Builds networks of a kind of one's own and fills them with the checked weights.

        Args:
          config_class: Called with what the card has as `config`.
          networks_class: Its `from_weights` is called with that configuration and the weights.

        Returns:
          What `from_weights` returns.

        Raises:
          PresetError: The weights are missing, or their hash or shapes are not the card's.
        """
        with self._checked(_WEIGHTS, self.card["sha256"]) as weights:
            try:
                config = config_class(**self.card["config"])
                return networks_class.from_weights(config, weights)
            except (ValueError, TypeError) as error:
                raise PresetError(f"{self.folder / _WEIGHTS}: {error}") from error

    def weights(self) -> dict[str, np.ndarray]:
        """Reads the checked weights; no network is built, and TensorFlow is not needed.

        Returns:
          Arrays by network and layer, as on disk: kernels float16, vectors float32.

        Raises:
          PresetError: The weights are missing, or their hash is not the card's.
        """
        with self._checked(_WEIGHTS, self.card["sha256"]) as weights:
            return dict(weights)

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the styles that the preset draws without any tuning, if any."""
        return tuple(self.card.get("drawing", {}).get("styles", ()))

    def drawing(self) -> Any:
        """Builds the network that has learned to draw, and fills it with the checked weights.

        Returns:
          `mm_face_stylizer.models.blaze_stylegan.drawing.Drawing`.

        Raises:
          PresetError: The preset has not learned to draw, its weights are missing, or their hash or
            shapes are not the card's.
        """
        card = self.card.get("drawing")
        if card is None:
            raise PresetError(f"{self.folder} has not learned to draw; see pretrain-drawing.")
        with self._checked(_DRAWING, card["sha256"]) as weights:
            try:
                return (
                    self._family().drawing_class().from_weights(self.config(), self.styles, weights)
                )
            except (ValueError, TypeError) as error:
                raise PresetError(f"{self.folder / _DRAWING}: {error}") from error

    @contextlib.contextmanager
    def _checked(self, name: str, sha256: str) -> Iterator[Mapping[str, np.ndarray]]:
        """Opens a file of weights whose hash is the card's; they are read one by one."""
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
            with np.load(file, allow_pickle=False) as weights:
                yield weights


def save_preset(
    folder: pathlib.Path, networks, card: dict[str, Any], overwrite: bool = False
) -> Preset:
    """Writes a preset.

    Kernels are stored as float16; vectors (biases, normalisation) stay float32, since their size
    does not matter and a tiny variance must not become zero.

    Args:
      folder: Folder to write; made if it is missing.
      networks: Trained `mm_face_stylizer.models.blaze_stylegan.networks.Networks`.
      card: What the card says beside the configuration and the hash.
      overwrite: Whether an existing preset may be replaced.

    Returns:
      The preset as written.

    Raises:
      FileExistsError: The folder holds a preset and `overwrite` is False.
    """
    weights = networks.weights()
    content = _packed(weights)
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
    _write_card(folder, card, overwrite)
    return Preset(folder, card)


def save_drawing(preset: Preset, drawing: Any, card: dict[str, Any]) -> Preset:
    """Adds a network that has learned to draw to a preset; an earlier one is replaced.

    Args:
      preset: The preset, which stays as it is otherwise.
      drawing: A `mm_face_stylizer.models.blaze_stylegan.drawing.Drawing`.
      card: What the preset's card says about it under `drawing`, beside styles and hash.

    Returns:
      The preset as written.
    """
    content = _packed(drawing.weights())
    own = card | {
        "styles": list(drawing.styles),
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    whole = preset.card | {"drawing": own}
    atomic_write(preset.folder / _DRAWING, content, overwrite=True)
    _write_card(preset.folder, whole, overwrite=True)
    return Preset(preset.folder, whole)


def _packed(weights: Mapping[str, np.ndarray]) -> bytes:
    """Weights as a file: kernels in float16, vectors in float32."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        **{
            name: value.astype(np.float16 if value.ndim > 1 else np.float32)
            for name, value in weights.items()
        },
    )
    return buffer.getvalue()


def _write_card(folder: pathlib.Path, card: dict[str, Any], overwrite: bool) -> None:
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    atomic_write(folder / _CARD, text.encode(), overwrite=overwrite)
