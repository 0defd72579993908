"""A contact sheet of portraits above their reconstructions, to assess pretraining by eye."""

from __future__ import annotations

import numpy as np

from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.pixels import to_pixels

_COLUMNS = 8


def reconstruction_sheet(
    networks: Networks, photos: np.ndarray, finest: int | None = None, generated: bool = False
) -> ContactSheet:
    """Lays out portraits, their reconstructions, and reconstructions from w+ latents alone.

    Args:
      networks: The networks that reconstruct.
      photos: uint8 [count, side, side, 3], a multiple of eight.
      finest: Side in pixels of the reconstructions, the networks' own if None.
      generated: Whether rows of generated faces are added.
    """
    rebuilt = networks.reconstruct(photos, finest=finest)
    rows, captions = [], []
    for start in range(0, len(photos), _COLUMNS):
        rows += [photos[start : start + _COLUMNS], rebuilt[start : start + _COLUMNS]]
        captions += ["held-out portraits", "reconstructed"]
    rows.append(networks.reconstruct(photos[:_COLUMNS], spatial=False, finest=finest))
    captions.append("the first row from w+ alone")
    if generated:
        random = networks.synthesis({"inputs": networks.random_latents(_COLUMNS, seed=0)})
        rows.append(to_pixels(random["image"][-1].numpy()))
        rows.append(to_pixels(networks.generated_faces(_COLUMNS, seed=0)))
        captions += ["random w+ latents of the mapping network", "faces drawn by the prior"]
    return ContactSheet(rows, captions)
