"""The subjects of an evaluation: a preset's networks or a bundle's stylizer."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from tqdm import tqdm

from mm_face_stylizer.errors import PresetError
from mm_face_stylizer.evaluation.picture_quality import Pictures, at_side
from mm_face_stylizer.families import find_family
from mm_face_stylizer.preset import Preset
from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError
from task_bundle.file_names import as_text
from task_bundle.runtime.stylizer_model import StylizerModel
from task_bundle.tflite.validation import check_loads

_BATCH = 16
# The one family whose presets reconstruct portraits and generate faces.
_RECONSTRUCTING = "blaze_stylegan"


class Subject(Protocol):
    """A preset or a bundle, which turns aligned portraits into pictures.

    Attributes:
      name: The name of a preset, or the file name of a bundle.
      kind: 'preset' or 'bundle'.
      sha256: SHA-256 of a preset's weights or of a bundle's file, in hexadecimal.
      side: Side of the input portraits in pixels.
    """

    name: str
    kind: Literal["preset", "bundle"]
    sha256: str
    side: int

    def pictures(self, photos: Pictures) -> Pictures:
        """Reconstructs or stylizes each portrait.

        Args:
          photos: uint8 [count, side, side, 3] RGB, aligned.

        Returns:
          uint8 of the same shape.
        """


class PresetSubject:
    """A preset, which reconstructs portraits and generates random faces. See `Subject`."""

    kind: Literal["preset"] = "preset"

    def __init__(self, preset: Preset) -> None:
        """Builds the networks of a preset.

        Args:
          preset: The preset.

        Raises:
          PresetError: The preset's weights are missing, or are not those that its card describes;
            or its family does not reconstruct portraits.
        """
        family = find_family(preset.card).name
        if family != _RECONSTRUCTING:
            raise PresetError(
                f"{preset.folder} is a preset of the family {family}, which evaluate measures as a "
                "bundle: export it first"
            )
        self.name = str(preset.card.get("name", as_text(preset.folder.name)))
        build: Any = preset.networks
        self._networks = build()
        self.sha256 = str(preset.card["sha256"])
        self.side = int(self._networks.encoder.input_shape[1])

    def pictures(self, photos: Pictures) -> Pictures:
        """See `Subject.pictures`."""
        batches = _batches(len(photos))
        made = [
            self._networks.reconstruct(photos[rows])
            for rows in tqdm(batches, "Reconstructing", unit="batch", leave=False)
        ]
        return at_side(np.concatenate(made), self.side)

    def generated(self, count: int, seed: int, truncation: float | None) -> Pictures:
        """Generates random faces.

        Args:
          count: Number of faces.
          seed: Seed of the random latents.
          truncation: Factor by which the mapping network's w+ latents are pulled toward the mean
            latent, in [0, 1]: 0 gives the mean face, 1 leaves the latents unchanged. If None,
            latents are drawn from the face prior instead, as in few-shot training. Source: Karras
            et al., "A style-based generator architecture" (2019), section 3 and appendix B.

        Returns:
          uint8 [count, side, side, 3] RGB.
        """
        from mm_face_stylizer.models.blaze_stylegan.networks import rows_of
        from mm_face_stylizer.pixels import to_pixels

        networks = self._networks
        if truncation is None:
            latents = networks.generated_latents(count, seed)
        else:
            noise = networks.random_latents(count, seed)
            latents = {"inputs": networks.w_avg + truncation * (noise - networks.w_avg)}
        # Converted to uint8 batch by batch, because 1,000 float32 faces of 512 px take 3 GB.
        faces = [
            to_pixels(networks.synthesis(rows_of(latents, rows))["image"][-1].numpy())
            for rows in tqdm(_batches(count), "Generating", unit="batch", leave=False)
        ]
        return at_side(np.concatenate(faces), self.side)


class BundleSubject:
    """A bundle, whose stylizer runs in LiteRT as in the portable runtime. See `Subject`.

    The stylizer's input is the aligned portrait itself. Finding the face in the portrait again
    would crop it a second time, slightly differently and with a black border where the new crop
    extends beyond the portrait.
    """

    kind: Literal["bundle"] = "bundle"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens a bundle.

        Args:
          path: The `.task` file.

        Raises:
          BundleError: The file is not a face stylizer bundle, it is not safe to load, LiteRT cannot
            run it, or its stylizer's input is not square.
          OSError: The file cannot be read.
        """
        self.name = as_text(Path(path).name)
        content = Path(path).read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        bundle = TaskBundle.open(path)
        check_loads(bundle.entries(), "the bundle")
        self._model = StylizerModel(bundle.stylizer)
        width, self.side = self._model.input_size
        if width != self.side:
            raise BundleError(
                f"{path}: the input of its stylizer has {width} x {self.side} pixels; only "
                "stylizers with square inputs can be evaluated"
            )

    def pictures(self, photos: Pictures) -> Pictures:
        """See `Subject.pictures`."""
        progress = tqdm(photos, "Stylizing", unit="image", leave=False)
        return at_side(np.stack([self._model.run(photo) for photo in progress]), self.side)


def find_subject(name: str | os.PathLike[str]) -> PresetSubject | BundleSubject:
    """Opens a bundle or a preset.

    Args:
      name: Path of a `.task` file, or path of a preset's folder, or name of a preset.

    Returns:
      The bundle if `name` is a file or ends in `.task`, the preset otherwise.

    Raises:
      BundleError: The file is not a bundle that can be run.
      PresetError: There is no such preset, or it is damaged.
      OSError: The file cannot be read.
    """
    path = Path(name)
    if path.suffix.lower() == ".task" or path.is_file():
        return BundleSubject(path)
    return PresetSubject(Preset.find(path))


def _batches(count: int) -> list[slice]:
    return [slice(start, start + _BATCH) for start in range(0, count, _BATCH)]
