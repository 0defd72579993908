"""One case to measure: a stage of a file, run in one way on one photo."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from benchmarks.report import Settings

# Runtimes of the stages `end_to_end`, `face_finding` and `crop`: Google's FaceStylizer for Python,
# and that of task_bundle.
MEDIAPIPE = "mediapipe"
PORTABLE = "portable"
# Runtime of the stages that are a single model.
LITERT = "litert"
# Runtime of reference results: TFLite's own kernels on one thread, without a delegate.
REFERENCE = "reference"
# Values of `Settings.cores` for runtimes that choose their number of threads themselves: the
# process is bound to one core, a different one in each round, or it may use all of them.
ONE_CORE = "one"
ALL_CORES = "all"


@dataclass(frozen=True)
class Case:
    """A stage of a file, run in one way on one photo.

    Cases are hashable, and are the keys by which results are collected.

    Attributes:
      subject: Name of the file's subject in the report.
      stage: 'end_to_end' (photo in memory to stylized picture), 'face_finding' (face detector and
        landmark model through MediaPipe), 'crop', or a single model: 'detector', 'landmarks' or
        'stylizer'.
      runtime: What runs the stage: `MEDIAPIPE`, `PORTABLE`, `LITERT` or `REFERENCE`.
      settings: How the runtime is set up.
      photo: Index of the photo among those of the run.
    """

    subject: str
    stage: str
    runtime: str
    settings: Settings
    photo: int = 0

    def reference(self) -> Case:
        """Returns the case whose result this one's must equal: TFLite's own kernels, 1 thread."""
        settings = dataclasses.replace(self.settings, threads=1, delegate="none", cores=None)
        return dataclasses.replace(self, runtime=REFERENCE, settings=settings)

    def __str__(self) -> str:
        """Names the case in messages."""
        return f"{self.subject}, {self.stage}, {self.runtime}, {label(self.settings)}"


def label(settings: Settings) -> str:
    """Describes settings in a few words, such as '1 thread, xnnpack'."""
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
