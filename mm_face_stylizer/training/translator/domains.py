"""The two folders that a translator learns from, checked before the training starts."""

from __future__ import annotations

import os
import pathlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from tqdm import tqdm

from mm_face_stylizer.errors import DataError, InvalidArgumentError
from mm_face_stylizer.held_out import is_held_out
from mm_face_stylizer.training.portraits import Portraits
from task_bundle.faces.alignment import FaceFinder
from task_bundle.faces.face_models import FaceModels
from task_bundle.media.folders import list_files
from task_bundle.media.images import load_image, save_png

LEAST_PICTURES = 50
# Of this many pictures of a folder it is checked whether they show faces.
_SAMPLE = 24
# Shares of the sample that must show a face: detectors miss many drawings, but few photos.
_LEAST_FACES = {"photo": 0.5, "style": 0.1}
# Pictures are loaded larger than they are trained on, by this factor, and cropped at random: 286 px
# for 256 as published.
_LOADED = 286 / 256


class Domains:
    """Photos and style pictures of one side, in reproducible batches.

    Attributes:
      side: Side in pixels of the pictures that are trained on.
      loaded_side: Side in pixels of the pictures that these are cropped from.
      photos: The photos.
      styles: The pictures of the style.
      train_names: Names of all files to train on, with their folders.
      held_out_names: Names of all files never trained on, with their folders.
      held_out_rules: By folder, which files are held out.
    """

    def __init__(
        self,
        photos: str | os.PathLike,
        styles: str | os.PathLike,
        cache: str | os.PathLike,
        side: int,
        align: bool = False,
        face_models: FaceModels | None = None,
        crops: bool = True,
    ):
        """Checks both folders and decodes them, or opens the cache if it has the same files.

        Args:
          photos: Folder of photos.
          styles: Folder of pictures of the style.
          cache: Folder for the decoded pictures; made if it is missing.
          side: Side in pixels of the pictures to train on.
          align: Whether to crop the largest face of each picture first; pictures without one are
            left out. Without it, pictures must be square, aligned and of one size.
          face_models: The models that find faces; `find_face_models()` if None.
          crops: Whether pictures are loaded larger than `side`, and cropped at random.

        Raises:
          DataError: A folder is missing or has too few pictures, sizes differ, or faces are
            missing.
          ImageError: A picture cannot be read.
          InvalidArgumentError: Both folders are the same.
        """
        folders = {"photo": pathlib.Path(photos), "style": pathlib.Path(styles)}
        cache = pathlib.Path(cache)
        for kind, folder in folders.items():
            if not folder.is_dir():
                raise DataError(f"the folder of the {kind}s, {folder}, does not exist")
        if folders["photo"].samefile(folders["style"]):
            raise InvalidArgumentError(
                f"photos and style are the same folder, {folders['photo']}; they must be two"
            )
        self.side = side
        self.loaded_side = round(side * _LOADED) if crops else side
        # All cheap checks come before the first picture is decoded.
        files = {kind: list_files(folder) for kind, folder in folders.items()}
        for kind, folder in folders.items():
            _check_count(folder, len(files[kind]))
            if not align:
                _check_sizes(folder, files[kind])
        for kind, folder in folders.items():
            if align:
                folders[kind] = _aligned(
                    folder, files[kind], cache / f"aligned_{kind}", self.loaded_side, face_models
                )
            elif not (cache / kind).exists():
                _check_faces(folder, files[kind], kind, face_models)
        rules = [_held_out_rule(folder) for folder in folders.values()]
        self.photos, self.styles = (
            Portraits(folder, cache / kind, self.loaded_side, holds_out=holds_out)
            for (kind, folder), (holds_out, _) in zip(folders.items(), rules, strict=True)
        )
        self.held_out_rules = {
            pathlib.Path(folder).name: text
            for folder, (_, text) in zip((photos, styles), rules, strict=True)
        }
        self.train_names, self.held_out_names = (
            [
                f"{folder.name}/{name}"
                for folder, portraits in zip(
                    (pathlib.Path(photos), pathlib.Path(styles)),
                    (self.photos, self.styles),
                    strict=True,
                )
                for name in getattr(portraits, names)
            ]
            for names in ("train_names", "held_out_names")
        )

    def batch(self, size: int, seed: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws a batch of each domain, cropped and mirrored at random.

        Args:
          size: Pictures of each domain.
          seed: Seed of the run.
          step: Step of the run; the same seed and step give the same batch.

        Returns:
          Photos and style pictures, each uint8 [size, side, side, 3].
        """
        random = np.random.default_rng((seed, step))
        return tuple(
            np.stack(
                [
                    self.cropped([pictures[random.integers(len(pictures))]], random)[0]
                    for _ in range(size)
                ]
            )
            for pictures in (self.photos.training(), self.styles.training())
        )

    def cropped(
        self, pictures: Sequence[np.ndarray], random: np.random.Generator
    ) -> list[np.ndarray]:
        """Crops pictures that show the same, all at the same random place and mirrored alike.

        Args:
          pictures: uint8 [loaded_side, loaded_side, 3] each.
          random: Source of randomness.

        Returns:
          uint8 [side, side, 3] each.
        """
        top, left = random.integers(0, self.loaded_side - self.side + 1, 2)
        turn = slice(None, None, -1 if random.random() < 0.5 else 1)
        return [
            picture[top : top + self.side, left : left + self.side][:, turn] for picture in pictures
        ]

    def held_out(self, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Returns held-out photos and style pictures, uint8 [count, side, side, 3]: all, or some.

        Args:
          count: Maximum number of each; all if None.
        """
        return tuple(
            _resized(portraits.held_out(count), self.side)
            for portraits in (self.photos, self.styles)
        )


def _held_out_rule(folder: pathlib.Path) -> tuple[Callable[[str], bool], str]:
    """Returns the usual rule, or for names of which it takes none, one that takes every tenth."""
    names = [file.name for file in list_files(folder)]
    if any(map(is_held_out, names)):
        return is_held_out, "the file's number is divisible by ten"
    return set(names[::10]).__contains__, "every tenth file, since no number is divisible by ten"


def _resized(pictures: np.ndarray, side: int) -> np.ndarray:
    import cv2

    size = (side, side)
    return np.stack([cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in pictures])


def _check_count(folder: pathlib.Path, count: int) -> None:
    if count < LEAST_PICTURES:
        raise DataError(f"{folder} has {count} pictures; a translator needs {LEAST_PICTURES}")


def _check_sizes(folder: pathlib.Path, files: Sequence[pathlib.Path]) -> None:
    """Finds out from the files' headers whether all pictures are square and of one size."""
    from PIL import Image, UnidentifiedImageError

    sizes: Counter[tuple[int, int]] = Counter()
    for file in files:
        try:
            with Image.open(file) as image:
                sizes[image.size] += 1
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(f"{file} is not a picture that can be read: {error}") from error
    (width, height), _ = sizes.most_common(1)[0]
    if len(sizes) > 1 or width != height:
        most = ", ".join(f"{w} x {h}" for (w, h), _ in sizes.most_common(3))
        raise DataError(
            f"{folder} has pictures of {len(sizes)} sizes ({most}); without --align all must be "
            "square face crops of one size"
        )


def _check_faces(
    folder: pathlib.Path,
    files: Sequence[pathlib.Path],
    kind: str,
    face_models: FaceModels | None,
) -> None:
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, _SAMPLE).astype(int)]
    with FaceFinder(face_models) as finder:
        found = sum(bool(finder.find_with_margins(load_image(file))) for file in chosen)
    if found < _LEAST_FACES[kind] * len(chosen):
        raise DataError(
            f"a face was found in only {found} of {len(chosen)} pictures of {folder}; a translator "
            "learns from portraits"
        )


def _aligned(
    folder: pathlib.Path,
    files: Sequence[pathlib.Path],
    cache: pathlib.Path,
    side: int,
    face_models: FaceModels | None,
) -> pathlib.Path:
    """Writes the crop of the largest face of each picture into a folder of the cache."""
    listing = cache / "files.txt"
    # Bytes, because names need not be UTF-8.
    wanted = os.fsencode("\n".join([str(side), *(file.name for file in files)]))
    if not (listing.exists() and listing.read_bytes() == wanted):
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.iterdir():
            old.unlink()
        with FaceFinder(face_models) as finder:
            for file in tqdm(files, desc="Finding faces", unit="image"):
                picture = load_image(file)
                if faces := finder.find_with_margins(picture):
                    crop = faces[0].crop.crop(picture, side)
                    save_png(cache / f"{file.stem}.png", crop, overwrite=True)
        # The listing is written last, so that a run that was killed halfway starts again.
        listing.write_bytes(wanted)
    count = len(list(cache.glob("*.png")))
    if count < LEAST_PICTURES:
        raise DataError(
            f"a face was found in only {count} of {len(files)} pictures of {folder}; a translator "
            f"needs {LEAST_PICTURES}"
        )
    return cache
