"""One case to measure, in a form that goes to the process that measures it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from benchmarks.report import Settings

# Runtimes of `end_to_end`, `face_finding` and `crop`; `litert` runs single models.
MEDIAPIPE = "mediapipe"
PORTABLE = "portable"
LITERT = "litert"
# What a case's result is compared with: the same computation by TFLite's own kernels.
PLAIN = "plain"
# `Settings.cores` of a process that is bound to one core, another one in each round; and of one
# that is not bound, for runtimes that choose their number of threads themselves.
ONE_CORE = "one"
ALL_CORES = "all"


@dataclass(frozen=True)
class Case:
    """A stage of a file, run in one way on one photo.

    Attributes:
      subject: the subject's name in the report.
      file: the bundle or model.
      stage: 'end_to_end' (photo in memory to stylized picture), 'face_finding' (detector and
        landmarks through MediaPipe), 'crop', or a single model: 'detector', 'landmarks',
        'stylizer'.
      runtime: what runs it.
      settings: how.
      input: `.npy` file: the photo, [height, width, 3] uint8 RGB; the model's input, float32, for
        a single model once it was prepared.
    """

    subject: str
    file: str
    stage: str
    runtime: str
    settings: Settings
    input: str

    def plain(self) -> Case:
        """Returns the case whose result this one's must equal."""
        settings = dataclasses.replace(self.settings, threads=1, delegate="none", cores=None)
        return dataclasses.replace(self, runtime=PLAIN, settings=settings)

    def to_dict(self) -> dict[str, Any]:
        """Returns what JSON can carry."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Makes a case of what `to_dict` gave."""
        settings = dict(values["settings"])
        if settings["photo"] is not None:
            settings["photo"] = tuple(settings["photo"])
        return cls(**{**values, "settings": Settings(**settings)})

    def __str__(self) -> str:
        """Names the case for people."""
        return f"{self.subject}, {self.stage}, {self.runtime}, {label(self.settings)}"


def label(settings: Settings) -> str:
    """Writes settings in a few words, such as '1 thread, xnnpack'."""
    words = []
    if settings.threads is not None:
        words.append(f"{settings.threads} thread{'s' if settings.threads > 1 else ''}")
    if settings.cores is not None:
        names = {ONE_CORE: "one core", ALL_CORES: "all cores"}
        words.append(names.get(settings.cores, f"cores {settings.cores}"))
    if settings.delegate is not None:
        words.append("no delegate" if settings.delegate == "none" else settings.delegate)
    if settings.gpu_precision is not None:
        words.append(settings.gpu_precision)
    if settings.batch is not None:
        words.append(f"batch {settings.batch}")
    if settings.faces is not None:
        words.append(f"{settings.faces} face{'' if settings.faces == 1 else 's'}")
    if settings.photo is not None:
        words.append(f"{settings.photo[0]} x {settings.photo[1]} px")
    return ", ".join(words) or "default"
