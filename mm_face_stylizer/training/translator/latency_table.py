"""Measured latencies of the parts of translators on one device: the file that a search reads."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import platform
from typing import Any

from mm_face_stylizer.errors import DataError
from mm_face_stylizer.models.translator.config import TranslatorConfig
from mm_face_stylizer.models.translator.parts import KINDS, Part, parts_of
from task_bundle.files import atomic_write

FORMAT, VERSION = "mm-face-stylizer-operators", 1
_CPU_INFO = pathlib.Path("/proc/cpuinfo")
_LEAST_ROWS = 12
_NUMBERS = ("side", "inputs", "outputs", "kernel")


@dataclasses.dataclass(frozen=True)
class LatencyTable:
    """Latencies of parts and of whole translators on a device.

    Attributes:
      device: Name of the device.
      image_size: Side in pixels of the pictures of the translators that the parts belong to.
      threads: Number of threads.
      precision: Precision of the models, as `export.convert` has it.
      parts: Each part with its milliseconds.
      networks: Whole translators with their milliseconds, which tell how the sum of the parts
        relates to the whole.
    """

    device: str
    image_size: int
    threads: int
    precision: str
    parts: tuple[tuple[Part, float], ...]
    networks: tuple[tuple[TranslatorConfig, float], ...] = ()

    def save(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Writes the table as JSON, one part a line.

        Raises:
          FileExistsError: The file exists and `overwrite` is False.
        """
        head = {
            "format": FORMAT,
            "version": VERSION,
            "device": self.device,
            "image_size": self.image_size,
            "threads": self.threads,
            "precision": self.precision,
        }
        parts = [
            {
                "kind": part.kind,
                "side": part.side,
                "inputs": part.inputs,
                "outputs": part.outputs,
                "kernel": part.kernel,
                "stride": part.stride,
                "milliseconds": round(milliseconds, 5),
            }
            for part, milliseconds in self.parts
        ]
        networks = [
            {"config": dataclasses.asdict(config), "milliseconds": round(milliseconds, 5)}
            for config, milliseconds in self.networks
        ]
        lists = ",\n".join(
            f' "{name}": [\n  ' + ",\n  ".join(map(json.dumps, rows)) + "\n ]"
            for name, rows in (("parts", parts), ("networks", networks))
            if rows
        )
        fields = "".join(
            f' "{name}": {json.dumps(value, ensure_ascii=False)},\n' for name, value in head.items()
        )
        atomic_write(pathlib.Path(path), f"{{\n{fields}{lists}\n}}\n".encode(), overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike) -> LatencyTable:
        """Reads a table.

        Raises:
          DataError: The file is not such a table, or of another version.
          OSError: The file cannot be read.
        """
        path = pathlib.Path(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{path} is not JSON: {error}") from None
        found = values.get("format") if isinstance(values, dict) else None
        if found != FORMAT:
            raise DataError(
                f"{path} is not a table of latencies (its format is {found!r}, not {FORMAT!r}); "
                "`mm-face-stylizer benchmark operators` writes one"
            )
        if values.get("version") != VERSION:
            raise DataError(
                f"{path} has version {values.get('version')!r} of the format; this version of "
                f"mm-face-stylizer reads version {VERSION}: measure again"
            )
        try:
            table = cls(
                device=str(values["device"]),
                image_size=int(values["image_size"]),
                threads=int(values["threads"]),
                precision=str(values["precision"]),
                parts=tuple((_part(row), _milliseconds(row)) for row in values["parts"]),
                networks=tuple(
                    (TranslatorConfig(**row["config"]), _milliseconds(row))
                    for row in values.get("networks", ())
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is a damaged table of latencies: {error!r}") from None
        missing = set(KINDS) - {part.kind for part, _ in table.parts}
        if missing or len(table.parts) < _LEAST_ROWS:
            raise DataError(
                f"{path} has {len(table.parts)} parts, and none of the kinds "
                f"{', '.join(sorted(missing)) or '-'}; at least {_LEAST_ROWS} of all kinds are "
                "needed: measure again"
            )
        return table

    def check_covers(self, config: TranslatorConfig, name: str = "the table") -> None:
        """Checks that a search among translators of a configuration can use the table.

        Args:
          config: The configuration of the largest network.
          name: What to call the table in messages.

        Raises:
          DataError: A part of the network has not been measured.
        """
        measured = {(part.kind, part.kernel, part.stride) for part, _ in self.parts}
        for part in parts_of(config):
            if (part.kind, part.kernel, part.stride) not in measured:
                raise DataError(
                    f"{name} has no part {part.kind!r} of {part.kernel} x {part.kernel} px and "
                    f"stride {part.stride}, which this network has: measure again with the same "
                    "--network"
                )


def _part(row: dict[str, Any]) -> Part:
    if row["kind"] not in KINDS:
        raise ValueError(f"kind {row['kind']!r}")
    # Tables that were measured before networks with a strided stem do not name it.
    stride = int(row.get("stride", 1))
    return Part(row["kind"], *(int(row[name]) for name in _NUMBERS), stride=stride)


def _milliseconds(row: dict[str, Any]) -> float:
    value = float(row["milliseconds"])
    if not 0.0 < value < float("inf"):
        raise ValueError(f"milliseconds {value}")
    return value


def this_device() -> str:
    """Returns the name of this computer's processor, with the architecture."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = (names or [platform.processor()])[0] or "unknown processor"
    return f"{processor}, {platform.machine()}"
