"""The photo that every installation has."""

from pathlib import Path


def sample_photo() -> Path:
    """Returns Grace Hopper from matplotlib's samples: 512 x 600 pixels, one face, public domain."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
