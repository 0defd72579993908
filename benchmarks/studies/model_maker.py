"""How fast is fine-tuning beside Google's unmodified Model Maker?

    python -m benchmarks.studies.model_maker [--steps 100] [--perceptual face-mesh|vgg19]

Both train the same preset on the same style picture, each in a process of its own; while one makes
some steps, the other waits. Needs Python 3.11 and `pip install mm-face-stylizer[model-maker]`.
Prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

TRAINERS = ("ours", "google")
_VGG_LAYERS = tuple(f"block{block}_conv1" for block in range(1, 6))


class Turns:
    """Times a trainer's steps, and pauses it after every few of them for the other trainer.

    Attributes:
      seconds: Duration of each turn; the last turn ends with the training.
    """

    def __init__(self, steps_a_turn: int, hand_over: Callable[[], None]):
        """Prepares the timing, which `start` begins.

        Args:
          steps_a_turn: Number of steps after which a turn ends.
          hand_over: Lets the other trainer work, and returns when the next turn begins.
        """
        self.seconds: list[float] = []
        self._steps_a_turn = steps_a_turn
        self._hand_over = hand_over
        self._steps = 0
        self._begin = 0.0

    def start(self) -> None:
        """Waits for the first turn."""
        self._hand_over()
        self._begin = time.perf_counter()

    def step_done(self) -> None:
        """Counts a step; the trainer calls this after each."""
        self._steps += 1
        if self._steps % self._steps_a_turn == 0:
            self.stop()
            self.start()

    def stop(self) -> None:
        """Ends the turn."""
        self.seconds.append(time.perf_counter() - self._begin)


@dataclasses.dataclass(frozen=True)
class Run:
    """Time and memory of one training.

    Attributes:
      turns: Seconds of each turn; the first includes loading and compiling.
      losses: Loss of each step.
      imported_gib: Peak memory before the training in GiB.
      peak_gib: Peak memory at its end in GiB.
    """

    turns: list[float]
    losses: list[float]
    imported_gib: float
    peak_gib: float


class _StepsPrinted(io.StringIO):
    """Standard output that reads the loss of each step, which Google's trainer prints."""

    def __init__(self, on_loss: Callable[[float], None]):
        super().__init__()
        self._on_loss = on_loss

    def write(self, text: str) -> int:
        if text.startswith("Iteration "):
            self._on_loss(float(text.rpartition(" ")[2]))
        return len(text)


def _peak_gib() -> float:
    # The maximum of getrusage would start with the memory of the parent process.
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def _train(trainer: str, style: str, steps: int, turns: Turns) -> Run:
    """Trains in this process."""
    if trainer == "google":
        from mediapipe_model_maker import face_stylizer
    else:
        import mm_face_stylizer as face_stylizer
    # Ours imports TensorFlow when this attribute is first read, which must not count as training.
    create = face_stylizer.FaceStylizer.create
    losses: list[float] = []

    def on_loss(loss: float) -> None:
        losses.append(loss)
        turns.step_done()

    options = face_stylizer.FaceStylizerOptions(
        model=face_stylizer.SupportedModels.BLAZE_FACE_STYLIZER_256,
        hparams=face_stylizer.HParams(epochs=steps),
    )
    with contextlib.redirect_stdout(_StepsPrinted(on_loss)):
        data = face_stylizer.Dataset.from_image(style)
        imported = _peak_gib()
        turns.start()
        if trainer == "google":
            create(data, options)
        else:
            create(data, options, on_step=lambda step, values: on_loss(values["loss"]))
        turns.stop()
    return Run(turns.seconds, losses, imported, _peak_gib())


def _work(arguments: argparse.Namespace) -> None:
    """Trains as a worker: a line on stdin starts a turn, one on stdout ends it or is the result."""
    out = sys.stdout

    def hand_over() -> None:
        out.write("\n")
        out.flush()
        if not sys.stdin.readline():
            raise EOFError("the benchmark has ended")

    turns = Turns(arguments.steps_a_turn, hand_over)
    run = _train(arguments.worker, arguments.style, arguments.steps, turns)
    out.write(json.dumps(dataclasses.asdict(run)) + "\n")


def alternate(workers: Sequence[tuple[IO[str], IO[str]]]) -> list[Run]:
    """Lets workers take turns until all are done.

    Args:
      workers: For each worker the stream that starts its turns, and the stream of its answers.

    Returns:
      The results in the order of the workers.

    Raises:
      RuntimeError: a worker ended without a result.
    """
    results: dict[int, Run] = {}

    def wait_for_answer(index: int) -> None:
        answer = workers[index][1].readline()
        if not answer:
            raise RuntimeError(f"the {TRAINERS[index]} trainer failed; its messages are above")
        if answer.strip():
            results[index] = Run(**json.loads(answer))

    for index in range(len(workers)):
        # All workers finish their imports before one of them trains.
        wait_for_answer(index)
    while len(results) < len(workers):
        for index, (turn, _) in enumerate(workers):
            if index not in results:
                turn.write("\n")
                turn.flush()
                wait_for_answer(index)
    return [results[index] for index in range(len(workers))]


def _save_vgg19(folder: pathlib.Path) -> None:
    """Replaces our feature extractor by a random VGG19, which costs as much as Google's own."""
    from mm_face_stylizer._keras import keras

    vgg = keras.applications.VGG19(include_top=False, weights=None, input_shape=(256, 256, 3))
    model = keras.Model(vgg.input, [vgg.get_layer(name).output for name in _VGG_LAYERS])
    shutil.rmtree(folder)
    model.save(folder, save_format="tf", include_optimizer=False)


def _prepare(directory: pathlib.Path, arguments: argparse.Namespace) -> str:
    """Installs the assets and draws the style picture."""
    from mm_face_stylizer.model_maker.assets import install_assets
    from mm_face_stylizer.style_pictures import draw_style
    from task_bundle.media.images import save_png

    assets = install_assets(directory)
    if arguments.perceptual == "vgg19":
        _save_vgg19(assets / "vgg_feature_extractor")
    save_png(directory / "style.png", draw_style("ink"))
    return str(directory / "style.png")


def measure(arguments: argparse.Namespace) -> list[Run]:
    """Runs both trainers.

    Args:
      arguments: The parsed command line.

    Returns:
      The results of our trainer and of Google's.

    Raises:
      RuntimeError: a trainer failed.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        style = _prepare(pathlib.Path(folder), arguments)
        pipes: list[tuple[IO[str], IO[str]]] = []
        for trainer in TRAINERS:
            command = [sys.executable, "-m", "benchmarks.studies.model_maker", "--worker", trainer]
            command += ["--style", style, "--steps", str(arguments.steps)]
            process = subprocess.Popen(
                [*command, "--steps-a-turn", str(arguments.steps_a_turn)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"TMPDIR": folder, "TF_CPP_MIN_LOG_LEVEL": "2"},
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdin and process.stdout
            pipes.append((process.stdin, process.stdout))
        return alternate(pipes)


def report(runs: Sequence[Run], steps_a_turn: int) -> dict[str, Any]:
    """Summarizes both runs.

    Args:
      runs: The results of our trainer and of Google's.
      steps_a_turn: Number of steps in a turn.

    Returns:
      The figures that are printed as JSON.
    """
    figures: dict[str, Any] = {"cores": os.cpu_count()}
    for trainer, run in zip(TRAINERS, runs, strict=True):
        # The first turn includes compilation, and the last what follows the last step.
        steps = [seconds / steps_a_turn for seconds in run.turns[1:-1]] or [run.turns[0]]
        figures[trainer] = {
            "create_seconds": round(sum(run.turns), 1),
            "step_seconds_median": round(statistics.median(steps), 3),
            "peak_gib": round(run.peak_gib, 2),
            "peak_gib_before_training": round(run.imported_gib, 2),
            "first_and_last_loss": [round(run.losses[0], 3), round(run.losses[-1], 3)],
        }
    ours, theirs = (figures[trainer] for trainer in TRAINERS)
    figures["google_over_ours"] = {
        name: round(theirs[name] / ours[name], 2)
        for name in ("create_seconds", "step_seconds_median", "peak_gib")
    }
    return figures


def main() -> None:
    """Runs both trainers, and prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100, help="steps of each trainer (100)")
    parser.add_argument(
        "--steps-a-turn", type=int, default=10, metavar="N", help="steps of a turn (10)"
    )
    parser.add_argument(
        "--perceptual",
        choices=("face-mesh", "vgg19"),
        default="face-mesh",
        help="Google's trainer with our feature extractor, or with one that costs what Google's "
        "own does: a VGG19, of random weights (face-mesh)",
    )
    parser.add_argument("--worker", choices=TRAINERS, help=argparse.SUPPRESS)
    parser.add_argument("--style", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        _work(arguments)
        return
    figures = report(measure(arguments), arguments.steps_a_turn)
    sys.stdout.write(json.dumps(figures | {"perceptual": arguments.perceptual}, indent=2) + "\n")


if __name__ == "__main__":
    main()
