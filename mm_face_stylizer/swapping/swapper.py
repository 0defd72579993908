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
    from mm_face_stylizer.training.face_swap.refinement import RefinementOptions

_FAMILY = "face_swap"
# What a preset of this name would hold comes with the package one day.
_RELEASED = "face_swap_256"
# Practice faces that a refinement learns to give the face to.
_PRACTICE_FACES = 96
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
    FaceSwapper.find("RUN").bundle(photos, has_consent=True).save("me.task")
    ```

    Attributes:
      preset: Weights and card, of the family `face_swap`; None for networks that know nobody, which
        only refinement makes useful.
    """

    preset: Preset | None

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
            try:
                return cls(Preset.find(_RELEASED))
            except PresetError:
                raise PresetError(
                    "this version has no released networks for face swapping; `mm-face-stylizer "
                    "face-swap train` makes some, whose folder --preset takes, and --refine can do "
                    "without"
                ) from None
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
        refinement: RefinementOptions | None = None,
        precision: str = "float16",
        face_models: FaceModels | None = None,
        on_step: Callable[[int, dict[str, float]], None] | None = None,
    ) -> TaskBundle:
        """Makes the bundle of one person.

        Args:
          photos: Photos of the person by name, uint8 [height, width, 3].
          has_consent: Whether the person has agreed; nothing is made otherwise.
          refinement: Tunes the networks for this person by these hyperparameters; not if None.
          precision: As for `mm_face_stylizer.export.export_stylizer`.
          face_models: The models that find faces; `find_face_models()` if None.
          on_step: See `refinement.refine`.

        Raises:
          InvalidArgumentError: There is no consent, or no photo; or the precision is unknown.
          ImageError: A photo is unsuitable, see `read_person`.
          DataError: The photos show two persons, or refinement cannot learn from them.
          MissingWeightsError: dlib's network is not installed.
        """
        if not has_consent:
            raise InvalidArgumentError(f"{CONSENT}; has_consent is False")
        if not photos:
            raise InvalidArgumentError("there is no photo of the person")
        if self.preset is None and refinement is None:
            raise InvalidArgumentError("networks that know nobody need a refinement")
        from mm_face_stylizer.export import check_precision, export_stylizer

        check_precision(precision)
        face_models = face_models or find_face_models()
        # The size at which the teacher works, whatever the networks do.
        portraits = read_person(photos, 256, face_models)
        from mm_face_stylizer.models.face_swap.config import FINE, FaceSwapConfig
        from mm_face_stylizer.models.face_swap.identity import IdentityNetwork
        from mm_face_stylizer.models.face_swap.networks import FaceSwapNetworks

        if self.preset is not None:
            networks = self.preset.networks()
        else:
            networks = FaceSwapNetworks.build(FaceSwapConfig(**FINE))
        network = IdentityNetwork()
        identity = network.of(
            np.stack([portrait.pixels for portrait in portraits]),
            face_textures(portraits, networks.config.image_size),
        )
        check_same_person(list(photos), identity)
        person = networks.of_person(identity)
        if refinement is not None:
            from mm_face_stylizer.models.efficientnet_lite import perceptual_network
            from mm_face_stylizer.training.face_swap.refinement import refine
            from mm_face_stylizer.training.face_swap.swap_losses import FEATURE_TAPS

            person = refine(
                person,
                portraits,
                practice_faces(256, _PRACTICE_FACES, face_models),
                identity,
                network,
                perceptual_network(FEATURE_TAPS),
                refinement,
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
