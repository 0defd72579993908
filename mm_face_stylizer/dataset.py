"""Aligned face pictures to train on or to stylize."""

import functools
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from mm_face_stylizer.errors import DataError, InvalidArgumentError
from task_bundle.errors import ImageError, NoFaceError
from task_bundle.faces.alignment import Face, FaceCrop, FaceFinder
from task_bundle.faces.face_models import FaceModels
from task_bundle.media.images import load_image

if TYPE_CHECKING:
    from mm_face_stylizer._keras import tf

_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# More than a picture of a style has; the biggest of a group must be among those found.
_MAX_FACES = 10
_SHUFFLE_SEED = 0

_Images = npt.NDArray[np.uint8]
_Masks = npt.NDArray[np.bool_]


class Dataset:
    """Aligned face pictures, each a class of its own, in the shape of Model Maker's datasets.

    `from_image`, `from_images` and `from_folder` find the faces and cut them out as the runtime
    does; `from_arrays` takes pictures that are aligned already.
    """

    def __init__(
        self, dataset: "tf.data.Dataset", label_names: Sequence[str], size: int | None = None
    ) -> None:
        """Wraps a TensorFlow dataset, as Model Maker's constructor does.

        Args:
          dataset: pictures, [height, width, 3] in [0, 255], alone or in pairs (picture, label), a
            label being an index into `label_names`. Not batched.
          label_names: the names of the labels.
          size: number of pictures; asked of `dataset` if None.

        Raises:
          ValueError: `label_names` is a string, or `size` is negative.
        """
        if isinstance(label_names, str):
            raise InvalidArgumentError(
                f"label_names is {label_names!r}; it must be a list of names"
            )
        if size is not None and size < 0:
            raise InvalidArgumentError(f"size is {size}; it must be at least 0")
        self._label_names = list(label_names)
        self._size = size
        self._dataset: Any = dataset
        self._arrays: _Arrays | None = None

    @classmethod
    def from_image(
        cls,
        filename: str | os.PathLike[str],
        face_index: int | None = None,
        *,
        size: int = 256,
        face_models: FaceModels | None = None,
    ) -> Self:
        """Makes a dataset of one picture.

        Args:
          filename: a picture of a face in any format that Pillow reads. How cameras note
            orientation is heeded; transparency is laid over white.
          face_index: which face to take, the biggest being 0. If None, the biggest, with a
            warning if there are several.
          size: side of the aligned picture in pixels.
          face_models: the models that find faces; `find_face_models()` if None.

        Returns:
          The dataset; the label's name is the file's, without the extension.

        Raises:
          ImageError: the file cannot be read.
          NoFaceError: no face was found in it.
          FaceModelsError: there are no face models.
          ValueError: there is no face of that index, or `size` is not positive.
        """
        return cls._from_files([filename], [face_index], size, face_models)

    @classmethod
    def from_images(
        cls,
        filenames: Sequence[str | os.PathLike[str]],
        face_indices: Sequence[int | None] | None = None,
        *,
        size: int = 256,
        face_models: FaceModels | None = None,
    ) -> Self:
        """Makes a dataset of several pictures of one style.

        Args:
          filenames: pictures as in `from_image`.
          face_indices: for each of them, as `face_index` in `from_image`.
          size: side of the aligned pictures in pixels.
          face_models: the models that find faces; `find_face_models()` if None.

        Returns:
          The dataset, in the order of `filenames`.

        Raises:
          ImageError: a file cannot be read.
          NoFaceError: no face was found in one.
          FaceModelsError: there are no face models.
          ValueError: `filenames` is empty or a single path, `face_indices` is of another length,
            there is no face of an index, or `size` is not positive.
        """
        if isinstance(filenames, str | bytes | os.PathLike):
            raise InvalidArgumentError(
                f"filenames is {os.fspath(filenames)!r}; it must be a list of files"
                " (from_image takes one file, from_folder a folder)"
            )
        files = list(filenames)
        if not files:
            raise InvalidArgumentError("filenames is empty; at least one picture is needed")
        indices: list[int | None] = [None] * len(files)
        if face_indices is not None:
            indices = list(face_indices)
        if len(indices) != len(files):
            raise InvalidArgumentError(
                f"there are {len(indices)} face_indices for {len(files)} filenames"
            )
        return cls._from_files(files, indices, size, face_models)

    @classmethod
    def from_folder(
        cls,
        folder: str | os.PathLike[str],
        *,
        size: int = 256,
        face_models: FaceModels | None = None,
    ) -> Self:
        """Makes a dataset of all pictures in a folder, sorted by name.

        Pictures are files with a usual extension (.bmp, .gif, .jpeg, .jpg, .png, .tif, .tiff,
        .webp, in any case). Hidden files and folders inside are left out.

        Args:
          folder: the folder.
          size: side of the aligned pictures in pixels.
          face_models: the models that find faces; `find_face_models()` if None.

        Returns:
          The dataset.

        Raises:
          ImageError: there is no such folder, it has no pictures, or one cannot be read.
          NoFaceError: no face was found in one.
          FaceModelsError: there are no face models.
          ValueError: `size` is not positive.
        """
        path = Path(folder)
        if not path.exists():
            raise ImageError(f"{path} does not exist")
        if not path.is_dir():
            raise ImageError(f"{path} is not a folder")
        files = sorted(
            file
            for file in path.iterdir()
            if file.suffix.lower() in _EXTENSIONS and not file.name.startswith(".")
            if file.is_file()
        )
        if not files:
            raise ImageError(f"{path} has no pictures ({', '.join(_EXTENSIONS)})")
        return cls._from_files(files, [None] * len(files), size, face_models)

    @classmethod
    def from_arrays(
        cls, images: npt.ArrayLike, names: Sequence[str], masks: npt.ArrayLike | None = None
    ) -> Self:
        """Makes a dataset of pictures that are aligned already.

        Args:
          images: [n, side, side, 3] uint8 RGB, at least one; copied.
          names: a name for each, all different.
          masks: [n, side, side] bool, which pixels belong to the picture; all if None. Copied.

        Returns:
          The dataset.

        Raises:
          ValueError: an argument is not of this kind.
        """
        pictures = np.asarray(images)
        square = pictures.ndim == 4 and pictures.shape[1] == pictures.shape[2]
        if not square or pictures.shape[3] != 3 or not pictures.size:
            raise InvalidArgumentError(
                f"images have shape {list(pictures.shape)}; it must be [n, side, side, 3]"
            )
        if pictures.dtype != np.uint8:
            raise InvalidArgumentError(
                f"images are {pictures.dtype}; they must be uint8 in [0, 255]"
            )
        if isinstance(names, str) or len(names) != len(pictures):
            raise InvalidArgumentError(
                f"names is {names!r}; it must be a list of {len(pictures)} names"
            )
        if len(set(names)) != len(names):
            raise InvalidArgumentError(f"names is {list(names)!r}; they must be all different")
        inside = np.ones(pictures.shape[:3], bool) if masks is None else np.asarray(masks)
        if inside.shape != pictures.shape[:3] or inside.dtype != bool:
            raise InvalidArgumentError(
                f"masks are {inside.dtype} of shape {list(inside.shape)}; they must be bool of"
                f" shape {list(pictures.shape[:3])}"
            )
        arrays = _Arrays(pictures.copy(), np.arange(len(pictures), dtype=np.int64), inside.copy())
        return cls._of(arrays, names)

    @property
    def size(self) -> int:
        """Number of pictures, as `len` gives it.

        Raises:
          TypeError: it was not given, and the wrapped TensorFlow dataset does not know it.
        """
        return len(self)

    def __len__(self) -> int:
        """Returns the number of pictures.

        Raises:
          TypeError: it was not given, and the wrapped TensorFlow dataset does not know it.
        """
        return len(self._dataset) if self._size is None else self._size

    @property
    def label_names(self) -> list[str]:
        """Names of the labels; for pictures from files, the files' without the extension."""
        return list(self._label_names)

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self._label_names)

    @property
    def index_by_label(self) -> dict[str, int]:
        """For each label's name its index."""
        return {name: index for index, name in enumerate(self._label_names)}

    @property
    def images(self) -> _Images:
        """The pictures: [n, height, width, 3] uint8 RGB, not writeable.

        A wrapped TensorFlow dataset is read whole when this is first used.
        """
        return self._read().images

    @property
    def image_names(self) -> list[str]:
        """For each picture the name of its label."""
        names = self._label_names
        return [
            names[label] if 0 <= label < len(names) else str(label) for label in self._read().labels
        ]

    @property
    def masks(self) -> _Masks:
        """Which pixels show the photo: [n, height, width] bool, not writeable.

        Where a face is near its photo's edge, the crop goes beyond and is black there; that black
        is no part of a style. All true where nothing is known of the photos.
        """
        return self._read().masks

    def gen_tf_dataset(
        self,
        batch_size: int = 1,
        is_training: bool = False,
        shuffle: bool = False,
        preprocess: Callable[..., Any] | None = None,
        drop_remainder: bool = False,
    ) -> "tf.data.Dataset":
        """Returns the pictures as a TensorFlow dataset.

        Args:
          batch_size: pictures a batch; positive.
          is_training: handed to `preprocess`; also, nothing is shuffled without it.
          shuffle: whether to shuffle, each pass anew, but alike in every run of the program.
          preprocess: called as `preprocess(image, label, is_training=...)` for each picture, before
            batching; returns what takes their place.
          drop_remainder: whether to leave out a last batch that is not full.

        Returns:
          A dataset of batches: image [batch, height, width, 3] uint8 RGB in [0, 255], label [batch]
          int64. Finite. A wrapped TensorFlow dataset keeps its own types.

        Raises:
          ValueError: `batch_size` is not positive.
        """
        if batch_size < 1:
            raise InvalidArgumentError(f"batch_size is {batch_size}; it must be at least 1")
        from mm_face_stylizer._keras import tf

        dataset = self._dataset
        if dataset is None:
            arrays = self._read()
            dataset = tf.data.Dataset.from_tensor_slices((arrays.images, arrays.labels))
        if preprocess is not None:
            dataset = dataset.map(
                functools.partial(preprocess, is_training=is_training),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        if is_training and shuffle:
            # All of them where the number is known: a smaller buffer only mixes neighbours.
            buffer_size = max(self._size or 0, 3 * batch_size)
            dataset = dataset.shuffle(buffer_size, seed=_SHUFFLE_SEED)
        return dataset.batch(batch_size, drop_remainder=drop_remainder).prefetch(tf.data.AUTOTUNE)

    def split(self, fraction: float) -> tuple[Self, Self]:
        """Splits the dataset into two, in order.

        Args:
          fraction: share of the pictures in the first part, above 0 and below 1; rounded down to
            whole pictures.

        Returns:
          The two parts. Both keep all `label_names`, so that labels mean the same in both.

        Raises:
          ValueError: `fraction` is outside its range, or a part would be empty.
          TypeError: the number of pictures is not known.
        """
        if not 0 < fraction < 1:
            raise InvalidArgumentError(f"fraction is {fraction!r}; it must be above 0 and below 1")
        size = len(self)
        first = int(size * fraction)
        if first in (0, size):
            raise InvalidArgumentError(
                f"fraction is {fraction!r}: of {size} pictures, one part would be empty"
            )
        if self._dataset is None:
            arrays = self._read()
            return (
                self._of(arrays[:first], self._label_names),
                self._of(arrays[first:], self._label_names),
            )
        cls = type(self)
        return (
            cls(self._dataset.take(first), self._label_names, first),
            cls(self._dataset.skip(first), self._label_names, size - first),
        )

    @classmethod
    def _of(cls, arrays: "_Arrays", label_names: Sequence[str]) -> Self:
        dataset = cls(None, label_names, len(arrays.images))
        dataset._arrays = arrays
        return dataset

    @classmethod
    def _from_files(
        cls,
        files: Sequence[str | os.PathLike[str]],
        face_indices: Sequence[int | None],
        size: int,
        face_models: FaceModels | None,
    ) -> Self:
        if size < 1:
            raise InvalidArgumentError(f"size is {size}; it must be at least 1")
        images, masks = [], []
        with FaceFinder(face_models, max_faces=_MAX_FACES) as finder:
            for file, face_index in zip(files, face_indices, strict=True):
                photo = load_image(file)
                crop = _choose(finder.find(photo), face_index, Path(file)).crop
                images.append(crop.crop(photo, size))
                masks.append(_inside(crop, size, photo.shape[0], photo.shape[1]))
        names = _different([Path(file).stem for file in files])
        return cls.from_arrays(np.stack(images), names, np.stack(masks))

    def _read(self) -> "_Arrays":
        if self._arrays is None:
            dataset = self._dataset
            self._arrays = _Arrays.from_tf_dataset(
                # It may go on for ever.
                dataset if self._size is None else dataset.take(self._size)
            )
        return self._arrays


class _Arrays:
    """Pictures in memory, not writeable.

    Attributes:
      images: [n, height, width, 3] uint8.
      labels: [n] int64.
      masks: [n, height, width] bool.
    """

    def __init__(self, images: _Images, labels: npt.NDArray[np.int64], masks: _Masks) -> None:
        self.images, self.labels, self.masks = images, labels, masks
        for array in (images, labels, masks):
            array.setflags(write=False)

    @classmethod
    def from_tf_dataset(cls, dataset: Any) -> Self:
        images, labels = [], []
        for element in dataset.as_numpy_iterator():
            image, label = element[:2] if isinstance(element, tuple) else (element, 0)
            if image.dtype != np.uint8:
                image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
            images.append(image)
            labels.append(label)
        if not images:
            raise DataError("the TensorFlow dataset is empty")
        pictures = np.stack(images)
        return cls(pictures, np.array(labels, np.int64), np.ones(pictures.shape[:3], bool))

    def __getitem__(self, part: slice) -> "_Arrays":
        return _Arrays(self.images[part], self.labels[part], self.masks[part])


def _choose(faces: Sequence[Face], face_index: int | None, file: Path) -> Face:
    """Returns the face to take; `faces` are sorted, the biggest first."""
    if not faces:
        raise NoFaceError(
            f"no face was found in {file}; it should show one, from the front and upright"
        )
    if face_index is None:
        if len(faces) > 1:
            places = "; ".join(f"face_index {i} {_place(face)}" for i, face in enumerate(faces))
            warnings.warn(
                f"{len(faces)} faces were found in {file}: {places}. The biggest, face_index 0, is"
                " taken; give a face_index to choose another",
                UserWarning,
                # The caller of Dataset.from_image, above _from_files.
                stacklevel=4,
            )
        return faces[0]
    if not 0 <= face_index < len(faces):
        places = "; ".join(f"{i} {_place(face)}" for i, face in enumerate(faces))
        raise InvalidArgumentError(
            f"face_index is {face_index}; in {file} were found {len(faces)} face(s): {places}"
        )
    return faces[face_index]


def _place(face: Face) -> str:
    crop = face.crop
    return f"at x {crop.center_x:.0f}, y {crop.center_y:.0f}, {crop.side:.0f} pixels wide"


def _inside(crop: FaceCrop, size: int, height: int, width: int) -> _Masks:
    """Returns which pixels of a crop owe nothing to the black beyond the photo's edge."""
    inverse = crop.inverse(size)
    v, u = np.mgrid[:size, :size]
    x = inverse[0, 0] * u + inverse[0, 1] * v + inverse[0, 2]
    y = inverse[1, 0] * u + inverse[1, 1] * v + inverse[1, 2]
    # Bilinear sampling is pure up to the centre of the last pixel.
    return np.asarray((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))


def _different(names: Sequence[str]) -> list[str]:
    """Appends -2, -3 and so on to names that occur again."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, count = name, 1
        while candidate in taken:
            count += 1
            candidate = f"{name}-{count}"
        taken.add(candidate)
        result.append(candidate)
    return result
