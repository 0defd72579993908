"""The families of stylizers: which networks a preset's card means, and who trains them.

A family is a folder in `models/`, a folder in `training/`, and one row here. Rows name their parts
as `module:name`, so that cards can be read and commands listed without importing TensorFlow.
"""

from __future__ import annotations

import dataclasses
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

# Cards that were written before there were families do not name one.
_FIRST = "blaze_stylegan"


@dataclasses.dataclass(frozen=True)
class Family:
    """One family of stylizers.

    Attributes:
      name: What a card has as `family`.
      config: `module:name` of the frozen dataclass that decides the networks' graphs. It is called
        with the card's `config`, and has `latent_rows`, 0 where there is no w+ latent.
      networks: `module:name` of the class whose `from_weights(config, weights)` builds trained
        networks. They have `weights()`, `inference()` and `calibration_pictures()`.
      commands: `module:name` of the function that adds the family's training commands to a parser's
        sub-commands. Its module must not import TensorFlow.
    """

    name: str
    config: str
    networks: str
    commands: str

    def config_class(self) -> Callable[..., Any]:
        """Imports the configuration's class."""
        return pkgutil.resolve_name(self.config)

    def networks_class(self) -> Any:
        """Imports the networks' class, and TensorFlow with it."""
        return pkgutil.resolve_name(self.networks)

    def add_commands(self, commands: Any) -> None:
        """Adds the family's training commands to a parser's sub-commands."""
        pkgutil.resolve_name(self.commands)(commands)


FAMILIES = (
    Family(
        name="blaze_stylegan",
        config="mm_face_stylizer.models.blaze_stylegan.config:NetworksConfig",
        networks="mm_face_stylizer.models.blaze_stylegan.networks:Networks",
        commands="mm_face_stylizer.training.blaze_stylegan.command:add_recipe",
    ),
)


def family_of(card: Mapping[str, Any]) -> Family:
    """The family of a preset.

    Args:
      card: The preset's card; one without `family` is of the first family, BlazeStyleGAN.

    Raises:
      ValueError: The card names a family that this version does not have.
    """
    name = card.get("family", _FIRST)
    for family in FAMILIES:
        if family.name == name:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise ValueError(f"family is {name!r}; this version knows {known}")
