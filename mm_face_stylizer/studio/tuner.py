"""The process that tunes a stylizer for the studio.

It reads what to do from a file, writes its progress to standard output, one JSON object a line, and
ends early when its standard input says so or is closed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mm_face_stylizer.painting.choices import PaintingChoices
from mm_face_stylizer.studio.code_lines import BUNDLE_NAME
from task_bundle.errors import UserError

if TYPE_CHECKING:
    from mm_face_stylizer.face_stylizer import FaceStylizer

STOP = "stop"
PREVIEW_NAME = "preview.png"
# A picture of the network in training takes a second of its time.
_SECONDS_BETWEEN_PREVIEWS = 5.0


@dataclasses.dataclass(frozen=True)
class TuningJob:
    """What to tune.

    Attributes:
      styles: Style pictures.
      photo: A picture of an aligned face, which shows the progress.
      likeness: See `PaintingChoices`.
      colors: See `PaintingChoices`.
      steps: Number of training steps.
      seed: Of all random numbers.
      face_models: A `.task` with the models that find faces.
    """

    styles: tuple[str, ...]
    photo: str
    likeness: float | None
    colors: str
    steps: int
    seed: int
    face_models: str

    def save(self, path: pathlib.Path) -> None:
        """Writes the job to a file."""
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: pathlib.Path) -> TuningJob:
        """Reads a job that `save` has written."""
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**values | {"styles": tuple(values["styles"])})


class _Tuner:
    """Tunes, and tells how it goes."""

    def __init__(self, job: TuningJob, folder: pathlib.Path):
        self._job = job
        self._folder = folder
        self._stop = threading.Event()
        self._last_preview = 0.0

    def run(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        _say(stage="Loading the networks")
        # One operation at a time, so that the same pictures give the same stylizer.
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
        from mm_face_stylizer.dataset import Dataset
        from mm_face_stylizer.face_stylizer import FaceStylizer
        from mm_face_stylizer.face_stylizer_options import FaceStylizerOptions
        from mm_face_stylizer.hyperparameters import HParams
        from mm_face_stylizer.model_spec import SupportedModels
        from task_bundle.faces.face_models import find_face_models
        from task_bundle.media.images import load_image

        job = self._job
        self._face = load_image(job.photo)
        face_models = find_face_models(job.face_models)
        options = FaceStylizerOptions(
            SupportedModels.BLAZE_FACE_STYLIZER_256,
            hparams=HParams(epochs=job.steps, seed=job.seed),
        )
        data = Dataset.from_images(job.styles, size=len(self._face), face_models=face_models)
        _say(stage="Painting faces to learn from")
        stylizer = FaceStylizer.create(
            data,
            options,
            face_models=face_models,
            preview=self._after_step,
            paintings=PaintingChoices(job.likeness, job.colors),
        )
        _say(stage="Writing the bundle")
        stylizer.bundle().save(self._folder / BUNDLE_NAME, overwrite=True)
        _say(finished=True)

    def _after_step(self, step: int, stylizer: FaceStylizer) -> None:
        _say(stage="Learning", step=step)
        if self._stop.is_set():
            # As Ctrl-C does: the stylizer is returned as it is.
            raise KeyboardInterrupt
        if step == 1 or time.monotonic() - self._last_preview > _SECONDS_BETWEEN_PREVIEWS:
            from task_bundle.media.images import save_png

            picture = stylizer.stylize_images(self._face[None])[0]
            save_png(self._folder / PREVIEW_NAME, picture, overwrite=True)
            self._last_preview = time.monotonic()
            _say(preview=step)

    def _listen(self) -> None:
        if sys.stdin.readline().strip() == STOP:
            self._stop.set()
            sys.stdin.readline()
        # The studio is gone, and nobody would see what comes of this.
        os._exit(1)


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Tunes.

    Args:
      argv: The file of the job; its folder is where the pictures and the bundle are written.

    Returns:
      The exit status: 1 after an error, which is the last line of the output.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("job", type=pathlib.Path)
    path = parser.parse_args(argv).job
    try:
        _Tuner(TuningJob.load(path), path.parent).run()
    except UserError as error:
        _say(error=str(error))
        return 1
    except Exception as error:
        traceback.print_exc()
        _say(error=f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # TensorFlow takes seconds to clean up what the end of the process frees anyway.
    os._exit(status)
