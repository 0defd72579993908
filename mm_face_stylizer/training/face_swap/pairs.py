"""Training data of face swapping: pairs of a source and a target, and the teacher's pictures."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import io
import math
import os
import pathlib

import numpy as np
from tqdm import tqdm

from mm_face_stylizer.errors import DataError
from mm_face_stylizer.models.face_swap.identity import Identity, IdentityNetwork
from mm_face_stylizer.painting.face_texture import face_textures
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.pixels import shrunk
from mm_face_stylizer.training.face_swap.teacher import LEAST_QUALITY, swap_faces
from mm_face_stylizer.training.portraits import Portraits
from mm_face_stylizer.worker_pool import worker_pool
from task_bundle.errors import NoFaceError
from task_bundle.faces.face_models import FaceModels
from task_bundle.files import atomic_write

# Sources and targets of a file of pairs: each source is swapped into each target.
_GROUP = 8
# The side in pixels at which faces are found and swapped.
TEACHER_SIDE = 256


@dataclasses.dataclass(frozen=True, eq=False)
class SwapBatch:
    """Pairs for one training step.

    Attributes:
      features: Of the sources, see `Identity`, float32 [batch, 4, 4, 256].
      embedding: Of the sources, float32 [batch, 128].
      textures: Of the sources, uint8 [batch, side, side, 3].
      photos: The targets, uint8 [batch, side, side, 3].
      pictures: What the teacher makes of them, of the same form.
      masks: Where these differ, uint8 [batch, side, side], 255 inside the face.
    """

    features: np.ndarray
    embedding: np.ndarray
    textures: np.ndarray
    photos: np.ndarray
    pictures: np.ndarray
    masks: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class SwapPairs:
    """Pairs of people, with the teacher's pictures.

    Attributes:
      photos: One photo of each person, uint8 [people, side, side, 3].
      identity: What is known of each person.
      sources: Index of each pair's source in `photos`, int [pairs].
      targets: Index of each pair's target, int [pairs].
      pictures: The teacher's pictures, uint8 [pairs, side, side, 3].
      masks: Their masks, uint8 [pairs, side, side].
      weights: Share of each pair in the training, float64 [pairs], in [0, 1].
    """

    photos: np.ndarray
    identity: Identity
    sources: np.ndarray
    targets: np.ndarray
    pictures: np.ndarray
    masks: np.ndarray
    weights: np.ndarray

    def batch(self, random: np.random.Generator, size: int) -> SwapBatch:
        """Draws pairs, each as often as its weight says.

        Drawn by weight and weighted by it are the same in the mean; this wastes no step on
        failures.

        Args:
          random: Random generator.
          size: Number of pairs.
        """
        rows = random.choice(len(self.weights), size, p=self.weights / self.weights.sum())
        mirrored = random.random(size) < 0.5

        def turned(pictures):
            shape = (-1, *[1] * (pictures.ndim - 1))
            return np.where(mirrored.reshape(shape), pictures[:, :, ::-1], pictures)

        source = self.identity[self.sources[rows]]
        # A mirrored picture shows the same person.
        return SwapBatch(
            source.features,
            source.embedding,
            turned(source.textures),
            turned(self.photos[self.targets[rows]]),
            turned(self.pictures[rows]),
            turned(self.masks[rows]),
        )

    @classmethod
    def prepare(
        cls,
        portraits: Portraits,
        face_models: FaceModels,
        identity: IdentityNetwork,
        cache: str | os.PathLike,
        side: int,
        pairs: int,
        reweighted: bool = True,
        seed: int = 0,
        workers: int = 2,
    ) -> SwapPairs:
        """Lets the teacher make pairs; those in the cache are loaded instead.

        Args:
          portraits: People, at `TEACHER_SIDE` px; those held out are left alone.
          face_models: The models that find faces.
          identity: The network that tells people apart.
          cache: Folder with a file for each group of pairs; created if it is missing.
          side: Side of the training's pictures in pixels.
          pairs: About how many pairs to make.
          reweighted: Whether a pair's weight is the teacher's success, cos(picture, source)^2 times
            its quality; all weights are 1 otherwise.
          seed: Seed of the choice of pairs.
          workers: Number of processes; 1 is this one.

        Raises:
          DataError: The teacher finds no usable pair.
        """
        cache = pathlib.Path(cache)
        cache.mkdir(parents=True, exist_ok=True)
        names = portraits.train_names
        digest = hashlib.sha256(os.fsencode("\n".join(names))).hexdigest()[:12]
        files = [
            cache / f"pairs_{digest}_{seed}_{number:05d}.npz"
            for number in range(math.ceil(pairs / (_GROUP * _GROUP)))
        ]
        photos = portraits.training()
        missing = [(number, file) for number, file in enumerate(files) if not file.exists()]
        _make_groups(missing, photos, face_models, seed, workers)
        groups = [_read_group(file, side) for file in files]
        arrays = {name: np.concatenate([group[name] for group in groups]) for name in groups[0]}
        if not len(arrays["quality"]):
            raise DataError("the teacher finds no usable pair among these portraits")
        return cls._of(arrays, photos, identity, cache / f"people_{digest}.npz", side, reweighted)

    @classmethod
    def _of(cls, arrays, photos, identity, cache, side, reweighted) -> SwapPairs:
        """Keeps the people that are in pairs, and weighs the pairs."""
        people, places = np.unique(
            np.concatenate([arrays["sources"], arrays["targets"]]), return_inverse=True
        )
        sources, targets = np.split(places, 2)
        # Somebody may be in several groups.
        _, rows = np.unique(arrays["people"], return_index=True)
        rows = rows[np.isin(arrays["people"][rows], people)]
        known = _described(
            np.asarray(photos[people]), arrays["textures"][rows], people, identity, cache
        )
        weights = np.ones(len(sources))
        if reweighted:
            seen = _embedded(arrays["pictures"], arrays["quality"], identity, cache)
            wanted = known.embedding[sources]
            cosine = np.sum(seen * wanted, axis=1) / (
                np.linalg.norm(seen, axis=1) * np.linalg.norm(wanted, axis=1)
            )
            weights = np.clip(cosine, 0.0, 1.0) ** 2 * arrays["quality"]
        shrunken = np.stack([shrunk(photos[person], side) for person in people])
        return cls(shrunken, known, sources, targets, arrays["pictures"], arrays["masks"], weights)


def _described(pictures, textures, people, identity, cache) -> Identity:
    """Describes people, or reads what was found the last time."""

    def describe():
        found = identity.of(pictures, textures)
        return {"features": found.features.astype(np.float16), "embedding": found.embedding}

    stored = _stored(cache, people, describe)
    return Identity(stored["features"].astype(np.float32), stored["embedding"], textures)


def _embedded(pictures, quality, identity, cache) -> np.ndarray:
    """Embeds the teacher's pictures, or reads what was found the last time."""
    path = cache.with_name(f"{cache.stem}_teacher_{pictures.shape[1]}.npz")
    return _stored(path, quality, lambda: {"embedding": identity.embed(pictures)})["embedding"]


def _stored(path, key, make) -> dict[str, np.ndarray]:
    """Reads arrays that were stored with this key, or makes and stores them."""
    if path.exists():
        with np.load(path) as stored:
            if np.array_equal(stored["key"], key):
                return dict(stored)
    arrays = make()
    buffer = io.BytesIO()
    np.savez(buffer, key=key, **arrays)
    atomic_write(path, buffer.getvalue(), overwrite=True)
    # The same as a run that resumes will read.
    return arrays


def _read_group(file: pathlib.Path, side: int) -> dict[str, np.ndarray]:
    """Reads a group's arrays; its pictures are shrunk to the side of the training's."""
    with np.load(file) as group:
        arrays = dict(group)
    for name in ("pictures", "masks", "textures"):
        shape = (len(arrays[name]), side, side, *arrays[name].shape[3:])
        shrunken = [shrunk(picture, side) for picture in arrays[name]]
        arrays[name] = np.array(shrunken, np.uint8).reshape(shape)
    return arrays


def _make_groups(missing, photos, face_models, seed, workers) -> None:
    """Makes files of pairs, in other processes if there are to be several."""
    bar = tqdm(total=len(missing), desc="Swapping", unit="group", disable=not missing)
    with bar, contextlib.ExitStack() as stack:
        if workers == 1 and missing:
            _prepare(photos, face_models)
            stack.enter_context(_process["finder"])
            for number, file in missing:
                _make_group(number, file, seed)
                bar.update()
        elif missing:
            pool = stack.enter_context(worker_pool(workers, _prepare, (photos, face_models)))
            waiting = [pool.submit(_make_group, number, file, seed) for number, file in missing]
            for done in concurrent.futures.as_completed(waiting):
                done.result()
                bar.update()


# Photos and finder of a process that makes pairs; `_prepare` sets them once per process.
_process: dict = {}


def _prepare(photos: np.ndarray, face_models: FaceModels) -> None:
    """Initializes a process."""
    import cv2

    # With several processes, OpenCV's own threads would compete for the same cores.
    cv2.setNumThreads(1)
    _process.update(photos=photos, finder=PortraitFinder(face_models))


def _make_group(number: int, file: pathlib.Path, seed: int) -> None:
    """Swaps some sources into some targets, and writes the usable pairs to an NPZ file."""
    photos, finder = _process["photos"], _process["finder"]
    random = np.random.default_rng((seed, number))
    rows = random.permutation(len(photos))[: 2 * _GROUP]
    found = {}
    for row in rows:
        with contextlib.suppress(NoFaceError):
            found[int(row)] = finder.find_aligned(np.asarray(photos[row]))
    first, second = np.array_split(np.array(list(found), int), 2)
    pairs = [(source, target) for source in first for target in second]
    # Where source and target are one person, the photo has to come back.
    pairs += [(person, person) for person in found]
    made = {name: [] for name in ("sources", "targets", "pictures", "masks", "quality")}
    for source, target in pairs:
        pair = swap_faces(found[source], found[target])
        if source == target:
            pair = dataclasses.replace(pair, picture=found[target].pixels)
        if pair.quality < LEAST_QUALITY:
            continue
        mask = np.round(pair.mask * 255.0).astype(np.uint8)
        values = (source, target, pair.picture, mask, pair.quality)
        for name, value in zip(made, values, strict=True):
            made[name].append(value)
    side, buffer = TEACHER_SIDE, io.BytesIO()
    arrays = {
        "sources": np.array(made["sources"], np.int64),
        "targets": np.array(made["targets"], np.int64),
        "pictures": np.array(made["pictures"], np.uint8).reshape(-1, side, side, 3),
        "masks": np.array(made["masks"], np.uint8).reshape(-1, side, side),
        "quality": np.array(made["quality"], np.float64),
        "people": np.array(list(found), np.int64),
        "textures": face_textures(list(found.values()), side),
    }
    np.savez_compressed(buffer, **arrays)
    atomic_write(file, buffer.getvalue(), overwrite=True)
