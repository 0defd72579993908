"""The families of stylizers: the network classes that load their presets, and their commands.

A family is a folder in `models/`, a folder in `training/`, and one row in `FAMILIES`. Rows name
classes and functions as `module:name`, so that the command-line program can list commands and read
cards without importing TensorFlow.
"""

from __future__ import annotations

import dataclasses
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from mm_face_stylizer.errors import InvalidArgumentError

# Cards written before there were several families do not name one.
_DEFAULT_FAMILY = "blaze_stylegan"


@dataclasses.dataclass(frozen=True)
class Family:
    """One family of stylizers.

    Attributes:
      name: The value of `family` in the cards of its presets.
      config: `module:name` of a frozen dataclass that determines the networks' graphs. It is
        constructed from the card's `config`, and has `latent_rows`, the number of rows of the w+
        latent, 0 if the family has none.
      networks: `module:name` of a class whose `from_weights(config, weights)` builds trained
        networks from a mapping of names to arrays. Its instances have `config`, `weights()`,
        `inference()` and `calibration_pictures()`; `mm_face_stylizer.export.Exportable` describes
        the last two.
      commands: `module:name` of a function that adds the family's training commands to what
        `argparse.ArgumentParser.add_subparsers` returned. Its module must not import TensorFlow,
        because every call of the program imports it.
      drawing: `module:name` of a class whose `from_weights(config, styles, weights)` builds a
        network that draws in several styles without tuning; empty if the family has none.
    """

    name: str
    config: str
    networks: str
    commands: str
    drawing: str = ""

    def config_class(self) -> Callable[..., Any]:
        """Returns the class of the configuration."""
        return pkgutil.resolve_name(self.config)

    def networks_class(self) -> Any:
        """Returns the class of the networks; imports TensorFlow."""
        return pkgutil.resolve_name(self.networks)

    def drawing_class(self) -> Any:
        """Returns the class of the network that draws without tuning; imports TensorFlow.

        Raises:
          InvalidArgumentError: The family has none.
        """
        if not self.drawing:
            raise InvalidArgumentError(f"{self.name} has no network that draws without tuning")
        return pkgutil.resolve_name(self.drawing)

    def add_commands(self, commands: Any) -> None:
        """Adds the family's training commands to the sub-commands of a parser."""
        pkgutil.resolve_name(self.commands)(commands)


FAMILIES = (
    Family(
        name="blaze_stylegan",
        config="mm_face_stylizer.models.blaze_stylegan.config:NetworksConfig",
        networks="mm_face_stylizer.models.blaze_stylegan.networks:Networks",
        commands="mm_face_stylizer.training.blaze_stylegan.command:add_recipe",
        drawing="mm_face_stylizer.models.blaze_stylegan.drawing:Drawing",
    ),
    Family(
        name="srresnet",
        config="mm_face_stylizer.models.srresnet.config:UpscalerConfig",
        networks="mm_face_stylizer.models.srresnet.networks:UpscalerNetworks",
        commands="mm_face_stylizer.training.srresnet.command:add_upscaler",
    ),
    Family(
        name="face_swap",
        config="mm_face_stylizer.models.face_swap.config:FaceSwapConfig",
        networks="mm_face_stylizer.models.face_swap.networks:FaceSwapNetworks",
        commands="mm_face_stylizer.training.face_swap.command:add_face_swap",
    ),
    Family(
        name="translator",
        config="mm_face_stylizer.models.translator.config:TranslatorConfig",
        networks="mm_face_stylizer.models.translator.networks:TranslatorNetworks",
        commands="mm_face_stylizer.training.translator.command:add_translator",
    ),
)


def find_family(card: Mapping[str, Any]) -> Family:
    """Returns the family of a preset.

    Args:
      card: The preset's card. Without the key `family` it is of BlazeStyleGAN.

    Raises:
      InvalidArgumentError: This version does not have the family that the card names.
    """
    name = card.get("family", _DEFAULT_FAMILY)
    for family in FAMILIES:
        if family.name == name:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise InvalidArgumentError(f"family is {name!r}; this version has {known}")
