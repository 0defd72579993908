"""The base class of result files in JSON.

A format is a frozen pydantic dataclass. Its fields are the schema, so that values from Python code
and from files get the same checks. pydantic comes with the extra `benchmark`.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from task_bundle.errors import ResultError
from task_bundle.files import atomic_write

CONFIG: Final = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1)]
# UTC, in the format of `date -u +%Y-%m-%dT%H:%M:%SZ`.
Instant = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


class Result:
    """Base class of the dataclasses that are stored as a file of their own.

    Attributes:
      kind: how error messages call a file of the format, with an article: "an evaluation".
      format: the format's name; subclasses set it as the default of a field.
      version: the format's version; subclasses set it as the default of a field. It is increased
        when older readers would misunderstand the file.
    """

    kind: ClassVar[str]
    format: str
    version: int

    def to_json(self) -> str:
        """Returns the result as JSON, each list of numbers on one line, without None values.

        Raises:
          ResultError: a value does not fit the format.
        """
        adapter = TypeAdapter[Any](type(self))
        try:
            values = adapter.dump_python(self, mode="json", exclude_none=True, warnings="error")
            text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
            # Finds values that were put into a dictionary after the constructor had checked it.
            adapter.validate_json(text)
        except ValidationError as error:
            raise ResultError(f"the result breaks its format: {_first(error)}") from error
        except (PydanticSerializationError, ValueError) as error:
            raise ResultError(f"the result breaks its format: {error}") from error
        return _NUMBERS.sub(lambda match: f"[{' '.join(match[1].split())}]", text) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, name: str = "the result") -> Self:
        """Reads a result.

        Args:
          text: JSON that `to_json` has written.
          name: how error messages call it.

        Returns:
          The result.

        Raises:
          ResultError: the text is not JSON, or of another format or version, or a value breaks the
            format.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ResultError(f"{name} is not JSON: {error}") from error
        if not isinstance(values, dict) or values.get("format") != cls.format:
            raise ResultError(f"{name} is not {cls.kind}: its 'format' is not {cls.format!r}")
        if values.get("version") != cls.version:
            raise ResultError(
                f"{name} has version {values.get('version')!r} of the format; this program reads"
                f" version {cls.version}"
            )
        try:
            result: Self = TypeAdapter[Any](cls).validate_json(text)
        except ValidationError as error:
            raise ResultError(f"{name} breaks the format of results: {_first(error)}") from error
        return result

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Writes the result as JSON, atomically.

        Args:
          path: the file, customarily named `*.json`. Its folder must exist.
          overwrite: whether an existing file may be replaced.

        Raises:
          FileExistsError: the file exists and `overwrite` is false.
          ResultError: a value does not fit the format.
          OSError: the file cannot be written.
        """
        atomic_write(path, self.to_json().encode(), overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a result from a file.

        Args:
          path: the file.

        Returns:
          The result.

        Raises:
          ResultError: as for `from_json`.
          OSError: the file cannot be read.
        """
        return cls.from_json(Path(path).read_bytes(), os.fspath(path))

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Returns the format's JSON schema."""
        return TypeAdapter[Any](cls).json_schema()


# A list of numbers over several lines. JSON strings contain no line feeds, so none can match.
_NUMBERS = re.compile(r"\[\n([\d\s.,eE+-]*)\]")


def _first(error: ValidationError) -> str:
    """Returns the place and the message of the first error, in one line."""
    details = error.errors(include_url=False)[0]
    where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in details["loc"])
    return f"{where.lstrip('.') or 'top level'}: {' '.join(str(details['msg']).split())}"
