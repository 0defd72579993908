"""The same fine-tuning by Google's unmodified Model Maker and by ours, in turns.

Both train the same preset on the same style picture, each in a process of its own; while one makes
some steps, the other waits. Needs an environment with Model Maker: Python 3.11 and
`pip install mm-face-stylizer[model-maker]`. Run as `python -m benchmarks.studies.model_maker`.
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
    """Counts a trainer's steps and hands over every few of them.

    Attributes:
      seconds: Time spent in each turn; the last ends with the training.
    """

    def __init__(self, steps_a_turn: int, hand_over: Callable[[], None]):
        """Starts nothing yet.

        Args:
          steps_a_turn: Steps after which it is the other's turn.
          hand_over: Returns when it is this one's turn again.
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
        """Is called by the trainer after each step."""
        self._steps += 1
        if self._steps % self._steps_a_turn == 0:
            self.stop()
            self.start()

    def stop(self) -> None:
        """Ends the turn."""
        self.seconds.append(time.perf_counter() - self._begin)


@dataclasses.dataclass(frozen=True)
class Run:
    """What a trainer needed.

    Attributes:
      turns: Seconds of each turn; loading and compiling are in the first.
      losses: The loss of each step.
      imported_gib: Peak memory before the training.
      peak_gib: Peak memory at its end.
    """

    turns: list[float]
    losses: list[float]
    imported_gib: float
    peak_gib: float


class _StepsPrinted(io.StringIO):
    """Google's trainer tells of its steps by printing them."""

    def __init__(self, on_loss: Callable[[float], None]):
        super().__init__()
        self._on_loss = on_loss

    def write(self, text: str) -> int:
        if text.startswith("Iteration "):
            self._on_loss(float(text.rpartition(" ")[2]))
        return len(text)


def _peak_gib() -> float:
    # Not getrusage, whose maximum begins with what the parent had.
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def _train(trainer: str, style: str, steps: int, turns: Turns) -> Run:
    """Trains in this process."""
    if trainer == "google":
        from mediapipe_model_maker import face_stylizer
    else:
        import mm_face_stylizer as face_stylizer
    # Ours imports TensorFlow when this is first asked for; that is no part of the training.
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
    """A worker: a line on stdin is a turn; a line on stdout ends it; the last is the result."""
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
    """Gives workers their turns until all are done.

    Args:
      workers: Where to write that it is a worker's turn, and where it answers.

    Returns:
      Their results, in their order.

    Raises:
      RuntimeError: A worker ended without a result.
    """
    results: dict[int, Run] = {}

    def answered(index: int) -> None:
        answer = workers[index][1].readline()
        if not answer:
            raise RuntimeError(f"the {TRAINERS[index]} trainer failed; its messages are above")
        if answer.strip():
            results[index] = Run(**json.loads(answer))

    for index in range(len(workers)):
        # Imported and waiting: nobody imports while another trains.
        answered(index)
    while len(results) < len(workers):
        for index, (turn, _) in enumerate(workers):
            if index not in results:
                turn.write("\n")
                turn.flush()
                answered(index)
    return [results[index] for index in range(len(workers))]


def _save_vgg19(folder: pathlib.Path) -> None:
    """A VGG19 of random weights in the place of our feature extractor: what Google's own costs."""
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
      arguments: The command line's.

    Returns:
      Ours and Google's.

    Raises:
      RuntimeError: A trainer failed.
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
    """Puts both runs into figures.

    Args:
      runs: Ours and Google's.
      steps_a_turn: Steps of each turn.
    """
    figures: dict[str, Any] = {"cores": os.cpu_count()}
    for trainer, run in zip(TRAINERS, runs, strict=True):
        # The first turn has the compilation, the last what comes after the training's last step.
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
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100, help="steps of each trainer (100)")
    parser.add_argument("--steps-a-turn", type=int, default=10, metavar="N", help="(10)")
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
