"""The sample portrait that every installation has."""

from pathlib import Path


def sample_photo() -> Path:
    """Returns the path of matplotlib's portrait of Grace Hopper, 512 x 600 pixels."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
