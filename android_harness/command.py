"""The command `android-benchmark`."""

from __future__ import annotations

import argparse
import datetime
import sys
import threading
from pathlib import Path
from typing import Any

from android_harness.protocol import CASE_NAMES, Protocol


def add_android_benchmark(commands: Any) -> None:
    """Adds the sub-command.

    Args:
      commands: of the program's parser.
    """
    protocol = Protocol()
    command = commands.add_parser(
        "android-benchmark",
        help="measure bundles on Android phones, through adb",
        description="Measures bundles on phones plugged in or on the network: each model with"
        " TensorFlow Lite's benchmark_model, and all of a bundle with an app that you build"
        " (android_harness/app). What it pushes is removed afterwards. A run that was broken off"
        " goes on where it ended when the same command is run again.",
    )
    command.add_argument(
        "bundles", nargs="+", type=Path, metavar="BUNDLE", help=".task bundle, or .tflite model"
    )
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("android-benchmark.json"),
        metavar="X.json",
        help="the result (android-benchmark.json)",
    )
    command.add_argument("--overwrite", action="store_true", help="replace X.json if it exists")
    command.add_argument(
        "--restart", action="store_true", help="forget what a broken run has measured"
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="ask phones what they are, print the adb commands that would follow",
    )

    phones = command.add_argument_group("phones")
    which = phones.add_mutually_exclusive_group()
    which.add_argument(
        "--serial", action="append", default=[], metavar="S", help="this phone; may be repeated"
    )
    which.add_argument("--all", action="store_true", help="all phones that can be used, at once")
    phones.add_argument("--adb", type=Path, metavar="PATH", help="the adb client ($ADB, then PATH)")
    phones.add_argument(
        "--adb-port",
        type=_port,
        metavar="N",
        help="of the adb server ($ANDROID_ADB_SERVER_PORT, then 5037)",
    )

    tool = command.add_argument_group("what runs on the phone")
    tool.add_argument(
        "--benchmark-model",
        action="append",
        type=Path,
        default=[],
        metavar="PATH",
        help="benchmark_model built for the phone; repeated for several instruction sets",
    )
    tool.add_argument(
        "--download",
        action="store_true",
        help="fetch TensorFlow's nightly benchmark_model where none is given; it has no published"
        " hash: the first download's is recorded, and another one refused later",
    )
    tool.add_argument("--sha256", type=_sha256, metavar="HEX", help="what the download must have")
    tool.add_argument("--download-url", metavar="URL", help="a mirror's folder")
    tool.add_argument(
        "--apk",
        type=Path,
        metavar="PATH",
        help="the app you built, or the folder in which Gradle did: measures end to end as well",
    )
    tool.add_argument(
        "--cases",
        nargs="*",
        choices=CASE_NAMES,
        default=list(CASE_NAMES),
        metavar="CASE",
        help=f"of {', '.join(CASE_NAMES)}; none to run the app only (all)",
    )
    tool.add_argument(
        "--photo", type=Path, metavar="PHOTO", help="what models see (matplotlib's portrait)"
    )

    how = command.add_argument_group("how")
    how.add_argument("--rounds", type=_positive, default=protocol.rounds, help="of each case (3)")
    how.add_argument("--runs", type=_positive, default=protocol.runs, help="least calls (50)")
    how.add_argument(
        "--min-seconds", type=_seconds, default=protocol.min_seconds, help="of a round (1)"
    )
    how.add_argument(
        "--warm-up-seconds",
        type=_seconds,
        default=protocol.warm_up_seconds,
        metavar="S",
        help="of calls that do not count, before each round (0.5)",
    )
    how.add_argument("--no-profile", action="store_true", help="leave out times by operator")
    how.add_argument("--no-memory", action="store_true", help="leave out the peak of memory")
    how.add_argument(
        "--max-battery-celsius",
        type=float,
        default=protocol.max_celsius,
        metavar="C",
        help="a round begins when the battery is no warmer (38)",
    )
    how.add_argument(
        "--max-thermal-status",
        type=int,
        choices=range(7),
        default=protocol.max_thermal_status,
        metavar="N",
        help="a round begins at Android's thermal status N or lower, 0 none to 6 shutdown (0)",
    )
    how.add_argument(
        "--cool-down",
        type=_seconds,
        default=protocol.cool_seconds,
        metavar="S",
        help="how long to wait for that (900)",
    )
    how.add_argument(
        "--poll",
        type=_seconds,
        default=protocol.poll_seconds,
        metavar="S",
        help="between looks at the thermometer, and at whether a lost phone is back (5)",
    )
    how.add_argument(
        "--wait",
        type=_seconds,
        default=protocol.return_seconds,
        metavar="S",
        help="how long to wait for a phone whose cable was pulled or that restarts (180)",
    )
    how.add_argument(
        "--min-battery", type=int, default=20, metavar="PERCENT", help="least charge (20)"
    )
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        from android_harness import harness
    except ModuleNotFoundError as error:
        if error.name not in ("pydantic", "google"):
            raise
        raise ImportError(
            f"{error.name} is not installed; pip install 'mm-face-stylizer[android]'"
        ) from error
    from android_harness.adb import Adb
    from android_harness.state import StateFile
    from benchmarks.tables import terminal

    output: Path = arguments.output
    broken = output.with_name(f".{output.name}.state")
    # What a broken run wrote of the phones that it finished, the resumed run completes.
    if output.exists() and not arguments.overwrite and not broken.exists():
        raise FileExistsError(f"{output} already exists")
    if not output.absolute().parent.is_dir():
        raise FileNotFoundError(f"cannot write {output}: no folder {output.parent}")
    request = _request(arguments)
    adb = Adb(arguments.adb, arguments.adb_port, _print if arguments.dry_run else None)
    version = adb.start()
    serials, unusable = harness.choose_devices(adb.devices(), arguments.serial, arguments.all)
    state = StateFile.open(
        broken,
        request.fingerprint(),
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
        arguments.restart,
        keep=not arguments.dry_run,
    )
    outcome = harness.run(adb, serials, request, state, _options(arguments, version), _log)
    problems = unusable + outcome.problems
    if outcome.report is not None:
        outcome.report.save(output, overwrite=True)
        _print(f"{terminal(outcome.report)}\n{output}")
        if not any(row.rounds for row in outcome.report.rows):
            problems += ("nothing could be measured; the table says why",)
    if outcome.complete:
        state.remove()
    for problem in problems:
        _log(f"error: {problem}")
    return 1 if problems else 0


def _request(arguments: argparse.Namespace) -> Any:
    from android_harness import harness
    from android_harness.binary import PUBLISHED_URL, open_binary
    from android_harness.errors import AndroidError
    from android_harness.instrumentation import find_apk
    from benchmarks.subject import LoadedSubject
    from task_bundle.media.images import load_image
    from task_bundle.sample_photo import sample_photo

    if not arguments.download and (arguments.sha256 or arguments.download_url):
        raise AndroidError("--sha256 and --download-url are about --download, which is missing")
    tools = [open_binary(path) for path in arguments.benchmark_model]
    if not tools and not arguments.download and arguments.cases:
        raise AndroidError(
            "no benchmark_model: give one with --benchmark-model PATH (built with bazel for the"
            " phone), or fetch TensorFlow's nightly one with --download"
        )
    subjects = tuple(LoadedSubject.load(path) for path in arguments.bundles)
    names = [subject.description.name for subject in subjects]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise AndroidError(f"two files are called {twice[0]}; rename one, tables tell them by name")
    output: Path = arguments.output
    return harness.Request(
        subjects=subjects,
        photo=load_image(arguments.photo or sample_photo()),
        tools={tool.abi: tool for tool in tools},
        download=arguments.download,
        sha256=arguments.sha256,
        download_url=arguments.download_url or PUBLISHED_URL,
        apk=find_apk(arguments.apk) if arguments.apk else None,
        cases=tuple(arguments.cases),
        protocol=Protocol(
            rounds=arguments.rounds,
            runs=arguments.runs,
            min_seconds=arguments.min_seconds,
            warm_up_seconds=arguments.warm_up_seconds,
            profile=not arguments.no_profile,
            memory=not arguments.no_memory,
            max_thermal_status=arguments.max_thermal_status,
            max_celsius=arguments.max_battery_celsius,
            cool_seconds=arguments.cool_down,
            poll_seconds=arguments.poll,
            return_seconds=arguments.wait,
        ),
        min_battery=arguments.min_battery,
        raw=None if arguments.dry_run else output.with_suffix(".raw"),
    )


def _options(arguments: argparse.Namespace, adb_version: str) -> dict[str, Any]:
    """What was asked for; no paths and no serial numbers, which say nothing about a result."""
    names = (
        "rounds",
        "runs",
        "min_seconds",
        "warm_up_seconds",
        "max_battery_celsius",
        "max_thermal_status",
        "cases",
    )
    return {name: getattr(arguments, name) for name in names} | {"adb": adb_version}


_PRINTING = threading.Lock()


def _print(text: str) -> None:
    with _PRINTING:
        sys.stdout.write(f"{text}\n")


def _log(text: str) -> None:
    from task_bundle.command_line import printable

    with _PRINTING:
        sys.stderr.write(f"{printable(text)}\n")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0 on")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 < value < 65536:
        raise argparse.ArgumentTypeError(f"{value} is no port, a number from 1 to 65535")
    return value


def _sha256(text: str) -> str:
    if len(text) != 64 or any(c not in "0123456789abcdef" for c in text.lower()):
        raise argparse.ArgumentTypeError("a SHA-256 has 64 hexadecimal digits")
    return text.lower()
