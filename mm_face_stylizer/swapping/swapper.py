"""Makes a bundle out of photos of one person: a stylizer that gives anybody that person's face."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mm_face_stylizer.errors import DataError, InvalidArgumentError, PresetError
from mm_face_stylizer.painting.face_texture import face_textures
from mm_face_stylizer.practice_faces import practice_faces
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.swapping.person import read_person
from task_bundle.bundle import TaskBundle
from task_bundle.faces.face_models import FaceModels, find_face_models

if TYPE_CHECKING:
    from mm_face_stylizer.models.face_swap.identity import Identity

_FAMILY = "face_swap"
# The networks that come with the package.
_RELEASED = "face_swap_256"
# Practice faces that a refinement learns to give the face to.
_PRACTICE_FACES = 96
# Steps of a refinement: a minute or two. Without it, hardly anybody is recognized.
REFINEMENT_STEPS = 200
PURPOSE = (
    "Gives the faces in photos the face of one person, who has to have agreed to it. Pictures made"
    " with it are not genuine photos and must not pass as such."
)
CONSENT = (
    "pictures made with this bundle show this person doing what others do; making it needs the"
    " consent of the person in the photos to this purpose"
)


@dataclasses.dataclass(frozen=True)
class FaceSwapper:
    """Networks that make a stylizer for a person.

    ```python
    from mm_face_stylizer.swapping.swapper import FaceSwapper
    from task_bundle import load_image

    photos = {"me.jpg": load_image("me.jpg")}
    FaceSwapper.find().bundle(photos, has_consent=True).save("me.task")
    ```

    Attributes:
      preset: Weights and card, of the family `face_swap`.
    """

    preset: Preset

    @classmethod
    def find(cls, name_or_folder: str | pathlib.Path | None = None) -> FaceSwapper:
        """Finds the networks.

        Args:
          name_or_folder: Name or folder of a preset, or the folder of a run that `face-swap train`
            has finished; None takes the one that comes with the package.

        Raises:
          PresetError: There is no such preset, or it is of another family.
        """
        if name_or_folder is None:
            return cls(Preset.find(_RELEASED))
        found = list(pathlib.Path(name_or_folder).glob("*/card.json"))
        preset = Preset.find(found[0].parent if len(found) == 1 else name_or_folder)
        if preset.card.get("family") != _FAMILY:
            raise PresetError(
                f"{name_or_folder} is a preset of {preset.card.get('family', 'blaze_stylegan')} "
                "and not of face swapping, which `mm-face-stylizer face-swap train` makes"
            )
        return cls(preset)

    def bundle(
        self,
        photos: Mapping[str, np.ndarray],
        *,
        has_consent: bool,
        steps: int = REFINEMENT_STEPS,
        seed: int = 0,
        precision: str = "float16",
        face_models: FaceModels | None = None,
        on_step: Callable[[int, dict[str, float]], None] | None = None,
    ) -> TaskBundle:
        """Makes the bundle of one person.

        Args:
          photos: Photos of the person by name, uint8 [height, width, 3].
          has_consent: Whether the person has agreed; nothing is made otherwise.
          steps: Steps of the refinement, which tunes the networks for this person; with 0, the
            weights are those that the networks predict, in no time.
          seed: Of the refinement.
          precision: As for `mm_face_stylizer.export.export_stylizer`.
          face_models: The models that find faces; `find_face_models()` if None.
          on_step: See `refinement.refine`.

        Raises:
          InvalidArgumentError: There is no consent, or no photo, the steps are negative, or the
            precision is unknown.
          ImageError: A photo is unsuitable, see `read_person`.
          DataError: The photos show two persons, or refinement cannot learn from them.
          MissingWeightsError: dlib's network is not installed.
        """
        if not has_consent:
            raise InvalidArgumentError(f"{CONSENT}; has_consent is False")
        if not photos:
            raise InvalidArgumentError("there is no photo of the person")
        if steps < 0:
            raise InvalidArgumentError(f"steps is {steps}; it must be at least 0")
        from mm_face_stylizer.export import check_precision, export_stylizer

        check_precision(precision)
        face_models = face_models or find_face_models()
        # The size at which the teacher works, whatever the networks do.
        portraits = read_person(photos, 256, face_models)
        from mm_face_stylizer.models.face_swap.identity import IdentityNetwork

        networks = self.preset.networks()
        network = IdentityNetwork()
        identity = network.of(
            np.stack([portrait.pixels for portrait in portraits]),
            face_textures(portraits, networks.config.image_size),
        )
        check_same_person(list(photos), identity)
        person = networks.of_person(identity)
        if steps:
            from mm_face_stylizer.models.efficientnet_lite import perceptual_network
            from mm_face_stylizer.training.face_swap.refinement import RefinementOptions, refine
            from mm_face_stylizer.training.face_swap.swap_losses import FEATURE_TAPS

            person = refine(
                person,
                portraits,
                practice_faces(256, _PRACTICE_FACES, face_models),
                identity,
                network,
                perceptual_network(FEATURE_TAPS),
                RefinementOptions(steps, seed=seed),
                on_step,
            )
        return TaskBundle.build(export_stylizer(person, precision), face_models, PURPOSE)


def check_same_person(names: Sequence[str], identity: Identity) -> None:
    """Checks that photos show one person.

    Args:
      names: Of the photos, for the message.
      identity: Of the photos.

    Raises:
      DataError: Two photos are farther from each other than those of one person are.
    """
    from mm_face_stylizer.models.face_swap.identity import SAME_PERSON

    distances = identity.distances()
    first, second = np.unravel_index(int(distances.argmax()), distances.shape)
    if distances[first, second] > SAME_PERSON:
        raise DataError(
            f"{names[first]} and {names[second]} show two persons: their faces have the distance "
            f"{distances[first, second]:.2f}, and those of one person at most {SAME_PERSON}"
        )
