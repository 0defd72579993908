"""Writes the preset of face swapping from a finished training, with measures on held-out people."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.models.face_swap.identity import IdentityNetwork
from mm_face_stylizer.models.face_swap.networks import FaceSwapNetworks
from mm_face_stylizer.painting.face_texture import face_textures
from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.pixels import shrunk
from mm_face_stylizer.preset import Preset, save_preset
from mm_face_stylizer.training.card import Provenance, data_card, run_card
from mm_face_stylizer.training.face_swap.measures import SwapMeter
from mm_face_stylizer.training.face_swap.swap_training import SwapTraining, swapped
from mm_face_stylizer.training.face_swap.teacher import LEAST_QUALITY, swap_faces
from mm_face_stylizer.training.portraits import Portraits
from task_bundle.errors import NoFaceError
from task_bundle.faces.face_models import FaceModels
from task_bundle.tflite.model import describe

_FAMILY = "face_swap"
# People of the measured pairs: each is swapped into the next ones.
_MEASURED_PEOPLE, _NEXT, _LEAST_PAIRS = 80, 8, 2
_PURPOSE = {
    "intended": "Pictures and videos of people who agreed to it: dubbing, anonymous interviews, "
    "films, tests of detectors of such pictures.",
    "misuse": "Faces of people who did not agree; deception about who did or said something; "
    "pictures that pass as genuine. Pictures carry IPTC's DigitalSourceType.",
}


def release_face_swap(
    run: SwapTraining,
    portraits: Portraits,
    face_models: FaceModels,
    identity: IdentityNetwork,
    provenance: Provenance,
    folder: pathlib.Path,
) -> Preset:
    """Writes the preset.

    Args:
      run: A finished run.
      portraits: The run's portraits.
      face_models: The models that find faces.
      identity: The network that tells people apart.
      provenance: Origin of the weights, for the card.
      folder: Folder of the preset; an earlier one is replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    card = {"name": provenance.name, "family": _FAMILY}
    preset = save_preset(folder, run.released(), card, overwrite=True)
    # The measures are of the weights on disk, which are float16.
    networks = preset.networks()
    with PortraitFinder(face_models) as finder:
        people = []
        for picture in portraits.held_out(_MEASURED_PEOPLE):
            with contextlib.suppress(NoFaceError):
                people.append(finder.find_aligned(picture))
    card = run_card(run, provenance) | {
        "family": _FAMILY,
        "macs": describe(export_stylizer(networks, "float32")).macs,
        "data": data_card(portraits, provenance, folder),
        "use": _PURPOSE,
        "metrics": measured(networks, people, identity, SwapMeter(identity, face_models)),
    }
    return save_preset(folder, networks, card, overwrite=True)


def measured(
    networks: FaceSwapNetworks,
    people: Sequence[Portrait],
    network: IdentityNetwork,
    meter: SwapMeter,
) -> dict[str, dict[str, float]]:
    """Measures the networks and their teacher on the pairs that the teacher can swap.

    Args:
      networks: The networks.
      people: Portraits of people that were not trained on.
      network: The network that tells people apart.
      meter: Measures.

    Returns:
      The fields of `SwapMeasures` for `networks` and for `teacher`; nothing if there are no pairs.
    """
    side = networks.config.image_size
    photos = np.stack([shrunk(person.pixels, side) for person in people])
    known = network.of(photos, face_textures(people, side))
    rows, taught, ours = [], [], []
    for source, made in enumerate(usable_swaps(people)):
        if made:
            ours.append(swapped(networks, known[source : source + 1], photos[list(made)]))
            taught.append(np.stack([shrunk(picture, side) for picture in made.values()]))
            rows += [(source, target) for target in made]
    if len(rows) < _LEAST_PAIRS:
        return {}
    sources, targets = (photos[list(column)] for column in zip(*rows, strict=True))
    return {
        name: {
            field: round(value, 4)
            for field, value in dataclasses.asdict(
                meter.measure(np.concatenate(pictures), sources, targets)
            ).items()
        }
        for name, pictures in (("networks", ours), ("teacher", taught))
    }


def usable_swaps(people: Sequence[Portrait]) -> Iterator[dict[int, np.ndarray]]:
    """Lets the teacher swap each person into the next ones.

    Args:
      people: Portraits.

    Yields:
      Of each person, the teacher's pictures that are good enough, by the index of the target.
    """
    for source, person in enumerate(people):
        targets = {(source + shift) % len(people) for shift in range(1, _NEXT + 1)} - {source}
        made = {target: swap_faces(person, people[target]) for target in sorted(targets)}
        yield {
            target: pair.picture for target, pair in made.items() if pair.quality >= LEAST_QUALITY
        }
