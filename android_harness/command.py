"""The command `android-benchmark`."""

from __future__ import annotations

import argparse
import datetime
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from android_harness.protocol import CASE_NAMES, Protocol
from task_bundle.command_files import check_output_files
from task_bundle.command_line import (
    add_overwrite,
    port,
    positive_int,
    printable,
    seconds,
)
from task_bundle.errors import MissingDependencyError

if TYPE_CHECKING:
    from android_harness.harness import Request


def configure_android_benchmark(command: argparse.ArgumentParser) -> None:
    """Adds the options of `android-benchmark` to its parser.

    Args:
      command: The parser of `android-benchmark`, without options.
    """
    protocol = Protocol()
    command.description = (
        "Measures bundles on phones that are plugged in or on the network: each model"
        " with TensorFlow Lite's benchmark_model, and whole bundles with an app that you build"
        " (android_harness/app). Pushed files are removed afterwards. An interrupted run is resumed"
        " when the same command is run again."
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
    add_overwrite(command, "replace X.json if it exists")
    command.add_argument(
        "--restart", action="store_true", help="discard the results of an interrupted run"
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="read the properties of the phones, and print the adb commands that would follow",
    )

    phones = command.add_argument_group("phones")
    which = phones.add_mutually_exclusive_group()
    which.add_argument(
        "--serial",
        action="append",
        default=[],
        metavar="S",
        help="measure this phone; may be repeated",
    )
    which.add_argument("--all", action="store_true", help="measure all usable phones at once")
    phones.add_argument(
        "--adb", type=Path, metavar="PATH", help="the adb client ($ADB, then $PATH)"
    )
    phones.add_argument(
        "--adb-port",
        type=port,
        metavar="N",
        help="port of the adb server ($ADB_SERVER_SOCKET, $ANDROID_ADB_SERVER_PORT, then 5037)",
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
        help="download TensorFlow's nightly benchmark_model where none is given; no hash of it is"
        " published, so that of the first download is recorded, and other files are refused later",
    )
    tool.add_argument("--sha256", type=_sha256, metavar="HEX", help="required hash of the download")
    tool.add_argument("--download-url", metavar="URL", help="folder of a mirror")
    tool.add_argument(
        "--apk",
        type=Path,
        metavar="PATH",
        help="the app that you built, or the folder in which Gradle built it; measures bundles end"
        " to end",
    )
    tool.add_argument(
        "--cases",
        nargs="*",
        choices=CASE_NAMES,
        default=list(CASE_NAMES),
        metavar="CASE",
        help=f"cases to measure, of {', '.join(CASE_NAMES)}; none to run the app only (all)",
    )
    tool.add_argument(
        "--photo",
        type=Path,
        metavar="PHOTO",
        help="input of the models (default: the portrait that matplotlib ships)",
    )

    how = command.add_argument_group("how")
    how.add_argument(
        "--rounds", type=positive_int, default=protocol.rounds, help="rounds of each case (3)"
    )
    how.add_argument(
        "--runs", type=positive_int, default=protocol.runs, help="minimum calls of a round (50)"
    )
    how.add_argument(
        "--min-seconds",
        type=seconds,
        default=protocol.min_seconds,
        help="minimum time of a round (1)",
    )
    how.add_argument(
        "--warm-up-seconds",
        type=seconds,
        default=protocol.warm_up_seconds,
        metavar="S",
        help="time of calls before each round that do not count (0.5)",
    )
    how.add_argument("--no-profile", action="store_true", help="leave out the times of operators")
    how.add_argument("--no-memory", action="store_true", help="leave out the peak of memory")
    how.add_argument(
        "--max-battery-celsius",
        type=float,
        default=protocol.max_celsius,
        metavar="C",
        help="highest temperature of the battery at which a round begins (38)",
    )
    how.add_argument(
        "--max-thermal-status",
        type=int,
        choices=range(7),
        default=protocol.max_thermal_status,
        metavar="N",
        help="highest Android thermal status at which a round begins, 0 none to 6 shutdown (0)",
    )
    how.add_argument(
        "--cool-down",
        type=seconds,
        default=protocol.cool_seconds,
        metavar="S",
        help="how long to wait for the phone to cool down (900)",
    )
    how.add_argument(
        "--poll",
        type=seconds,
        default=protocol.poll_seconds,
        metavar="S",
        help="time between checks of the temperature, and of whether a lost phone is back (5)",
    )
    how.add_argument(
        "--wait",
        type=seconds,
        default=protocol.return_seconds,
        metavar="S",
        help="how long to wait for a phone whose cable was pulled or that restarts (180)",
    )
    how.add_argument(
        "--min-battery", type=int, default=20, metavar="PERCENT", help="minimum charge (20)"
    )
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        from android_harness import harness
    except ModuleNotFoundError as error:
        if error.name not in ("pydantic", "google"):
            raise
        raise MissingDependencyError(
            f"{error.name} is not installed; pip install 'mm-face-stylizer[android]'"
        ) from error
    from android_harness.adb import Adb
    from android_harness.state import StateFile
    from benchmarks.tables import terminal

    # What every run needs comes first, so that its absence is not hidden by another complaint.
    adb = Adb(arguments.adb, arguments.adb_port, _print if arguments.dry_run else None)
    output: Path = arguments.output
    state_path = output.with_name(f".{output.name}.state")
    request = _request(arguments)
    # An interrupted run has written the results of the phones that it completed; the resumed run
    # replaces that file.
    if not arguments.dry_run:
        check_output_files(output, overwrite=arguments.overwrite or state_path.exists())
    version = adb.start()
    state = StateFile.open(
        state_path,
        request.fingerprint(),
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
        arguments.restart,
        keep=not arguments.dry_run,
    )
    with state.read() as known:
        serials_with_results = frozenset(known.phones)
    serials, unusable = harness.choose_devices(
        adb.devices(),
        arguments.serial,
        arguments.all,
        lambda usable: harness.distinct_phones(adb, usable, _log, serials_with_results),
    )
    if not arguments.all:
        # Nobody asked for these, but one of them may be the phone that was meant.
        for sentence in unusable:
            _log(f"note: not measured: {sentence}")
        unusable = ()
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


def _request(arguments: argparse.Namespace) -> Request:
    from android_harness import harness
    from android_harness.binary import PUBLISHED_URL, open_binary
    from android_harness.errors import AndroidError
    from android_harness.instrumentation import find_apk
    from benchmarks.subject import LoadedSubject
    from task_bundle.media.images import load_image
    from task_bundle.sample_photo import sample_photo

    if not arguments.download and (arguments.sha256 or arguments.download_url):
        raise AndroidError("--sha256 and --download-url need --download, which is missing")
    tools = [open_binary(path) for path in arguments.benchmark_model]
    if not tools and not arguments.download and arguments.cases:
        raise AndroidError(
            "no benchmark_model: give one with --benchmark-model PATH (built with bazel for the"
            " phone), or download TensorFlow's nightly one with --download"
        )
    subjects = tuple(LoadedSubject.load(path) for path in arguments.bundles)
    names = [subject.description.name for subject in subjects]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise AndroidError(
            f"two files are called {twice[0]}; rename one, because tables show names"
        )
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
    """Returns the report's options: all that results depend on, without paths and serials."""
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
    with _PRINTING:
        sys.stderr.write(f"{printable(text)}\n")


def _sha256(text: str) -> str:
    if len(text) != 64 or any(c not in "0123456789abcdef" for c in text.lower()):
        raise argparse.ArgumentTypeError("a SHA-256 has 64 hexadecimal digits")
    return text.lower()
