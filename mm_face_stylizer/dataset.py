"""Datasets of aligned face images, for training and for stylizing."""

import functools
import io
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
from task_bundle.media.folders import list_files
from task_bundle.media.images import PICTURE_SUFFIXES
from task_bundle.media.photo import as_photo
from task_bundle.silence import native_errors_afterwards

if TYPE_CHECKING:
    from mm_face_stylizer._keras import tf

_EXTENSIONS = tuple(sorted(PICTURE_SUFFIXES))
# Upper bound on the detected faces: high enough that the largest face of a group photo is among
# them.
_MAX_FACES = 10
_SHUFFLE_SEED = 0
_LISTED_NAMES, _SHOWN_IMAGES = 4, 8

_Images = npt.NDArray[np.uint8]
_Masks = npt.NDArray[np.bool_]
_Landmarks = npt.NDArray[np.float32]
_MESH_POINTS = 468


class Dataset:
    """A dataset of aligned face images with the interface of Model Maker's datasets.

    `from_image`, `from_images` and `from_folder` detect one face in each file and crop it exactly
    as the MediaPipe runtime does. `from_arrays` takes images that are already aligned. In all four
    cases, each image is a class of its own, and its label is its index.
    """

    def __init__(
        self, dataset: "tf.data.Dataset", label_names: Sequence[str], size: int | None = None
    ) -> None:
        """Wraps a TensorFlow dataset, with the signature of Model Maker's constructor.

        Args:
          dataset: an unbatched dataset whose elements are RGB images, [height, width, 3] in
            [0, 255], or pairs (image, label). A label is an index into `label_names`.
          label_names: the names of the labels.
          size: number of images. If None, `len(dataset)` is used.

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
        filename: Any,
        face_index: int | None = None,
        *,
        size: int = 256,
        face_models: FaceModels | None = None,
    ) -> Self:
        """Creates a dataset of one image.

        Example:
        ```python
        import mm_face_stylizer as mm

        data = mm.Dataset.from_image("style.png")
        print(data.images.shape)  # (1, 256, 256, 3)
        ```

        Args:
          filename: an image of a face: a file in any format that Pillow reads, a Pillow image, a
            uint8 array (gray, RGB or RGBA), or a `mediapipe.Image`. The EXIF orientation of a file
            is applied, and transparent images are composited onto white.
          face_index: index of the face to use; faces are sorted by size, and 0 is the largest. If
            None, the largest face is used, with a `UserWarning` if there are several.
          size: side of the aligned image in pixels.
          face_models: the face detector and the landmark model;
            `task_bundle.faces.face_models.find_face_models()` if None.

        Returns:
          A dataset of one image. Its label is the file name without the extension, or `image`.

        Raises:
          ImageError: the image cannot be read, or is none of these.
          NoFaceError: no face was found in the image.
          FaceModelsError: no face models were found.
          ValueError: `face_index` is out of range, or `size` is not positive.
        """
        return cls._from_files([filename], [face_index], size, face_models)

    @classmethod
    def from_images(
        cls,
        filenames: Sequence[Any],
        face_indices: Sequence[int | None] | None = None,
        *,
        size: int = 256,
        face_models: FaceModels | None = None,
    ) -> Self:
        """Creates a dataset of several images of one style.

        Example:
        ```python
        import mm_face_stylizer as mm

        # The second-largest face of the first file, the largest face of the second file.
        data = mm.Dataset.from_images(["group.jpg", "portrait.jpg"], face_indices=[1, None])
        print(len(data), data.label_names)  # 2 ['group', 'portrait']
        ```

        Args:
          filenames: images, each as in `from_image`.
          face_indices: one `face_index` for each image, as in `from_image`; None for every image
            if this is None.
          size: side of the aligned images in pixels.
          face_models: the face detector and the landmark model;
            `task_bundle.faces.face_models.find_face_models()` if None.

        Returns:
          A dataset with one image for each of `filenames`, in their order. The labels are as in
          `from_image`; repeated names get the suffix -2, -3 and so on.

        Raises:
          ImageError: images cannot be read; the message names all of them.
          NoFaceError: no face was found in some of the images; the message names all of them.
          FaceModelsError: no face models were found.
          ValueError: `filenames` is empty or a single path, `face_indices` has a different length
            than `filenames` or an index that is out of range, or `size` is not positive.
        """
        if isinstance(filenames, str | bytes | os.PathLike):
            raise InvalidArgumentError(
                f"filenames is {os.fspath(filenames)!r}; it must be a list of images"
                " (use from_image for one file, from_folder for a folder)"
            )
        files = list(filenames)
        if not files:
            raise InvalidArgumentError("filenames is empty; it must have at least one file")
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
        """Creates a dataset of all image files in a folder, sorted by name.

        Image files are recognized by their extension: .bmp, .gif, .jpeg, .jpg, .png, .tif, .tiff or
        .webp, in upper or lower case. Hidden files and subfolders are skipped.

        Example:
        ```python
        import mm_face_stylizer as mm

        data = mm.Dataset.from_folder("style_images", size=512)
        print(data.images.shape)  # (n, 512, 512, 3) for a folder of n images
        ```

        Args:
          folder: folder with the image files. In each image, the largest face is used.
          size: side of the aligned images in pixels.
          face_models: the face detector and the landmark model;
            `task_bundle.faces.face_models.find_face_models()` if None.

        Returns:
          A dataset with one image for each file, labeled as in `from_images`.

        Raises:
          ImageError: the folder does not exist or has no images, or an image cannot be read.
          NoFaceError: no face was found in one of the images.
          FaceModelsError: no face models were found.
          ValueError: `size` is not positive.
        """
        path = Path(folder)
        if not path.exists():
            raise ImageError(f"{path} does not exist")
        if not path.is_dir():
            raise ImageError(f"{path} is not a folder")
        files = list_files(path, _EXTENSIONS)
        if not files:
            raise ImageError(f"{path} has no images ({', '.join(_EXTENSIONS)})")
        return cls._from_files(files, [None] * len(files), size, face_models)

    @classmethod
    def from_arrays(
        cls, images: npt.ArrayLike, names: Sequence[str], masks: npt.ArrayLike | None = None
    ) -> Self:
        """Creates a dataset of images that are already aligned.

        Args:
          images: [n, side, side, 3] uint8 RGB in [0, 255], with n at least 1. The array is copied.
          names: n unique names, one for each image.
          masks: [n, side, side] bool, true for the pixels that training uses; all pixels if None.
            The array is copied.

        Returns:
          A dataset of the n images.

        Raises:
          ValueError: the type, the shape or the values of an argument are not as above.
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
            raise InvalidArgumentError(f"names is {list(names)!r}; they must be unique")
        inside = np.ones(pictures.shape[:3], bool) if masks is None else np.asarray(masks)
        if inside.shape != pictures.shape[:3] or inside.dtype != bool:
            raise InvalidArgumentError(
                f"masks are {inside.dtype} of shape {list(inside.shape)}; they must be bool of"
                f" shape {list(pictures.shape[:3])}"
            )
        arrays = _Arrays(pictures.copy(), np.arange(len(pictures), dtype=np.int64), inside.copy())
        return cls._from_memory(arrays, names)

    @property
    def size(self) -> int:
        """Number of images, equal to `len(dataset)`.

        Raises:
          TypeError: the number was not given, and the wrapped TensorFlow dataset does not know its
            length.
        """
        return len(self)

    def __len__(self) -> int:
        """Returns the number of images.

        Raises:
          TypeError: the number was not given, and the wrapped TensorFlow dataset does not know its
            length.
        """
        return len(self._dataset) if self._size is None else self._size

    def __repr__(self) -> str:
        """Names the images, as far as that needs no reading of a wrapped TensorFlow dataset."""
        count = "?" if self._size is None else self._size
        sides = None if self._arrays is None else self._arrays.images.shape[1:3]
        size = "" if sides is None else f" of {sides[1]} x {sides[0]} px"
        more = len(self._label_names) - _LISTED_NAMES
        names = ", ".join(self._label_names[:_LISTED_NAMES]) + (f" + {more}" if more > 0 else "")
        return f"<Dataset: {count} image{'' if count == 1 else 's'}{size}: {names}>"

    def _repr_png_(self) -> bytes | None:
        """Returns the first images side by side, which notebooks show in place of the repr."""
        if self._size is None:
            return None  # It might have no end.
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(np.hstack(list(self.images[:_SHOWN_IMAGES]))).save(buffer, "PNG")
        return buffer.getvalue()

    @property
    def label_names(self) -> list[str]:
        """Names of the labels; for images from files, the file names without the extension."""
        return list(self._label_names)

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self._label_names)

    @property
    def index_by_label(self) -> dict[str, int]:
        """A mapping from label names to label indices."""
        return {name: index for index, name in enumerate(self._label_names)}

    @property
    def images(self) -> _Images:
        """The images, a read-only array [n, height, width, 3] of uint8 RGB in [0, 255].

        A wrapped TensorFlow dataset is read into memory on the first access.
        """
        return self._read().images

    @property
    def image_names(self) -> list[str]:
        """The label name of each image."""
        names = self._label_names
        return [
            names[label] if 0 <= label < len(names) else str(label) for label in self._read().labels
        ]

    @property
    def masks(self) -> _Masks:
        """A read-only array [n, height, width] of bool, true for pixels inside the source photo.

        If a face is near the edge of its photo, the crop extends past the edge and is black there.
        Those pixels are false, so that training does not learn the black border as part of the
        style. For a wrapped TensorFlow dataset, all pixels are true.
        """
        return self._read().masks

    @property
    def landmarks(self) -> _Landmarks | None:
        """Points of the face mesh in pixels of the images, a read-only float32 array [n, 468, 2].

        None for images from arrays or from a TensorFlow dataset. The landmarks are found in the
        source photo, because the detector misses some faces in the tighter aligned image.
        """
        return self._read().landmarks

    def gen_tf_dataset(
        self,
        batch_size: int = 1,
        is_training: bool = False,
        shuffle: bool = False,
        preprocess: Callable[..., Any] | None = None,
        drop_remainder: bool = False,
    ) -> "tf.data.Dataset":
        """Returns the images and labels as a batched TensorFlow dataset.

        Args:
          batch_size: images per batch; positive.
          is_training: passed to `preprocess`. `shuffle` has an effect only if this is true.
          shuffle: whether to shuffle the images before each epoch. Each epoch
            has a different order, but the seed is fixed, so every run of the program gets the same
            sequence of orders.
          preprocess: called as `preprocess(image, label, is_training=...)` for each image before
            batching; its return value replaces the pair (image, label).
          drop_remainder: whether to drop the last batch if it has fewer than `batch_size` images.

        Returns:
          A finite dataset of pairs: images [batch, height, width, 3] uint8 RGB in [0, 255] and
          labels [batch] int64. A wrapped TensorFlow dataset keeps its own element types and length.

        Raises:
          ValueError: `batch_size` is not positive.
        """
        if batch_size < 1:
            raise InvalidArgumentError(f"batch_size is {batch_size}; it must be at least 1")
        from mm_face_stylizer._keras import tf

        dataset = self._dataset
        if dataset is None:
            arrays = self._read()
            # TensorFlow looks for accelerators when it is first used, and logs what it finds.
            with native_errors_afterwards():
                dataset = tf.data.Dataset.from_tensor_slices((arrays.images, arrays.labels))
        if preprocess is not None:
            dataset = dataset.map(
                functools.partial(preprocess, is_training=is_training),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        if is_training and shuffle:
            # The buffer holds all images if their number is known: a smaller buffer would mix only
            # images that are close to each other.
            buffer_size = max(self._size or 0, 3 * batch_size)
            dataset = dataset.shuffle(buffer_size, seed=_SHUFFLE_SEED)
        return dataset.batch(batch_size, drop_remainder=drop_remainder).prefetch(tf.data.AUTOTUNE)

    def split(self, fraction: float) -> tuple[Self, Self]:
        """Splits the dataset into two parts without shuffling.

        Args:
          fraction: fraction of the images in the first part, in the open interval (0, 1). The
            number of images is rounded down.

        Returns:
          The first and the second part. Both keep all `label_names`, so that a label index means
          the same in both.

        Raises:
          ValueError: `fraction` is out of range, or a part would be empty.
          TypeError: the number of images is not known.
        """
        if not 0 < fraction < 1:
            raise InvalidArgumentError(
                f"fraction is {fraction!r}; it must be greater than 0 and less than 1"
            )
        size = len(self)
        first = int(size * fraction)
        if first in (0, size):
            raise InvalidArgumentError(
                f"fraction is {fraction!r}; with {size} images, one part would be empty"
            )
        if self._dataset is None:
            arrays = self._read()
            return (
                self._from_memory(arrays[:first], self._label_names),
                self._from_memory(arrays[first:], self._label_names),
            )
        cls = type(self)
        return (
            cls(self._dataset.take(first), self._label_names, first),
            cls(self._dataset.skip(first), self._label_names, size - first),
        )

    @classmethod
    def _from_memory(cls, arrays: "_Arrays", label_names: Sequence[str]) -> Self:
        dataset = cls(None, label_names, len(arrays.images))
        dataset._arrays = arrays
        return dataset

    @classmethod
    def _from_files(
        cls,
        files: Sequence[Any],
        face_indices: Sequence[int | None],
        size: int,
        face_models: FaceModels | None,
    ) -> Self:
        if size < 1:
            raise InvalidArgumentError(f"size is {size}; it must be at least 1")
        names = [_describe_source(file, number) for number, file in enumerate(files, start=1)]
        images, masks, landmarks = [], [], []
        errors: list[ImageError] = []
        faceless: list[str] = []
        with FaceFinder(face_models, max_faces=_MAX_FACES) as finder:
            for file, name, face_index in zip(files, names, face_indices, strict=True):
                try:
                    photo = as_photo(file)
                except ImageError as error:
                    errors.append(error)
                    continue
                faces = finder.find_with_margins(photo)
                if not faces:
                    faceless.append(name)
                    continue
                face = _choose_face(faces, face_index, name)
                images.append(face.crop.crop(photo, size))
                masks.append(_photo_mask(face.crop, size, photo.shape[0], photo.shape[1]))
                matrix = face.crop.matrix(size)[:2]
                points = face.landmarks[:_MESH_POINTS, :2] @ matrix[:, :2].T + matrix[:, 2]
                landmarks.append(points.astype(np.float32))
        _refuse_unusable(errors, faceless)
        labels = _make_unique([_label(file) for file in files])
        dataset = cls.from_arrays(np.stack(images), labels, np.stack(masks))
        dataset._arrays = dataset._read().with_landmarks(np.stack(landmarks))
        return dataset

    def _read(self) -> "_Arrays":
        if self._arrays is None:
            dataset = self._dataset
            self._arrays = _Arrays.from_tf_dataset(
                # A dataset that repeats without end can be read only up to its given size.
                dataset if self._size is None else dataset.take(self._size)
            )
        return self._arrays


class _Arrays:
    """Images, labels and masks in memory, as read-only arrays.

    Attributes:
      images: [n, height, width, 3] uint8 RGB in [0, 255].
      labels: [n] int64, indices into the label names.
      masks: [n, height, width] bool, true for pixels inside the source photo.
      landmarks: [n, 468, 2] float32 in pixels, or None if they are not known.
    """

    def __init__(
        self,
        images: _Images,
        labels: npt.NDArray[np.int64],
        masks: _Masks,
        landmarks: _Landmarks | None = None,
    ) -> None:
        self.images, self.labels, self.masks, self.landmarks = images, labels, masks, landmarks
        for array in (images, labels, masks, landmarks):
            if array is not None:
                array.setflags(write=False)

    def with_landmarks(self, landmarks: _Landmarks) -> "_Arrays":
        return _Arrays(self.images, self.labels, self.masks, landmarks)

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
        landmarks = None if self.landmarks is None else self.landmarks[part]
        return _Arrays(self.images[part], self.labels[part], self.masks[part], landmarks)


def _label(source: Any) -> str:
    """Returns a name for an image: that of its file, which Pillow keeps for images from files."""
    file = source if isinstance(source, str | os.PathLike) else getattr(source, "filename", None)
    return Path(file).stem or "image" if isinstance(file, str | os.PathLike) else "image"


def _describe_source(source: Any, number: int) -> str:
    return str(source) if isinstance(source, str | os.PathLike) else f"image {number}"


def _refuse_unusable(errors: Sequence[ImageError], faceless: Sequence[str]) -> None:
    """Raises one error for all images that cannot be used, if there are any."""
    texts = [str(error) for error in errors]
    if faceless:
        texts.append(str(NoFaceError.of(*faceless)))
    if texts:
        raise (ImageError if errors else NoFaceError)("; ".join(texts))


def _choose_face(faces: Sequence[Face], face_index: int | None, file: str) -> Face:
    """Returns the face at `face_index` of `faces`, which are sorted by size, largest first."""
    if face_index is None:
        if len(faces) > 1:
            places = "; ".join(
                f"face_index {i} {face.crop.place()}" for i, face in enumerate(faces)
            )
            warnings.warn(
                f"{len(faces)} faces were found in {file}: {places}. The largest,"
                " face_index 0, is used; pass face_index to choose another",
                UserWarning,
                # The warning points at the line that calls Dataset.from_image.
                stacklevel=4,
            )
        return faces[0]
    if not 0 <= face_index < len(faces):
        places = "; ".join(f"{i} {face.crop.place()}" for i, face in enumerate(faces))
        raise InvalidArgumentError(
            f"face_index is {face_index}; in {file} there are {len(faces)} face(s): {places}"
        )
    return faces[face_index]


def _photo_mask(crop: FaceCrop, size: int, height: int, width: int) -> _Masks:
    """Returns a [size, size] mask of the crop's pixels that lie fully inside the photo.

    The photo has `height` x `width` pixels. Beyond its edges, the crop is black.
    """
    inverse = crop.inverse(size)
    v, u = np.mgrid[:size, :size]
    x = inverse[0, 0] * u + inverse[0, 1] * v + inverse[0, 2]
    y = inverse[1, 0] * u + inverse[1, 1] * v + inverse[1, 2]
    # Up to the center of the last pixel, bilinear sampling reads only pixels of the photo.
    return np.asarray((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))


def _make_unique(names: Sequence[str]) -> list[str]:
    """Returns `names` with -2, -3 and so on appended to the repeated ones."""
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
