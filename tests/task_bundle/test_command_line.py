"""Tests of task_bundle.command_line."""

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from task_bundle import command_line
from task_bundle.command_files import check_output_files, check_output_folder
from task_bundle.command_line import (
    CommandParser,
    add_face_landmarker,
    add_overwrite,
    run,
)
from task_bundle.errors import BundleError, InvalidArgumentError, TaskBundleError

_DAMAGED = BundleError("x.task is\n\x1b[31mdamaged")


def _parser(error: BaseException | None) -> argparse.ArgumentParser:
    def call(arguments: argparse.Namespace) -> None:
        if error is not None:
            raise error

    parser = CommandParser(prog="program")
    command = parser.add_subparsers().add_parser("command")
    command.set_defaults(run=call)
    return parser


def _run(error: BaseException | None, *options: str) -> int:
    return run(_parser(error), ["command", *options], (TaskBundleError,))


@pytest.mark.parametrize(
    ("module", "extra"), [("pydantic", "benchmark"), ("tensorflow.keras", "train")]
)
def test_where_an_extra_is_missing_it_is_named(module, extra, capsys):
    package = module.partition(".")[0]
    assert _run(ModuleNotFoundError(name=module)) == 1
    wanted = f"{package} is not installed; pip install 'mm-face-stylizer[{extra}]'"
    assert capsys.readouterr().err == f"program: error: {wanted}\n"


def _usage_error(capsys, *words: str) -> str:
    parser = CommandParser(prog="program")
    commands = parser.add_subparsers()
    command = commands.add_parser("create")
    command.add_argument("--colors", choices=("style", "photo"))
    command.add_argument("--overwrite", action="store_true")
    commands.add_parser("stylize")
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(words)
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("creat", "program: error: there is no command 'creat'; did you mean create?"),
        ("swim", "program: error: there is no command 'swim'; program --help lists them"),
        (
            "create --colours x",
            "program create: error: unrecognized arguments: --colours x; did you mean --colors?",
        ),
        ("create --nothing", "program create: error: unrecognized arguments: --nothing"),
    ],
)
def test_the_nearest_name_is_suggested(words, error, capsys):
    assert _usage_error(capsys, *words.split()) == error


def test_the_nearest_choice_is_suggested_behind_all_of_them(capsys):
    error = _usage_error(capsys, "create", "--colors", "Foto")
    # Python 3.12 has quotation marks here, later ones have none.
    assert error.replace("'", "").endswith(
        "invalid choice: Foto (choose from style, photo); did you mean photo?"
    )


def test_what_a_command_needs_is_told(capsys):
    parser = CommandParser(prog="program")
    command = parser.add_subparsers().add_parser("command", description="Makes bundles.")
    command.add_argument("inputs", nargs="*", metavar="PICTURE", help="what to read")
    command.add_argument("-o", "--output", required=True, metavar="X.task")
    command.add_argument("--steps", help="how many")
    reason = "program command: error: the following arguments are required: -o/--output\n"
    usage = "usage: program command -o X.task [PICTURE ...] [options]\n"
    # Without arguments the whole help.
    with pytest.raises(SystemExit) as stop:
        run(parser, ["command"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(usage)
    assert "Makes bundles." in error and "--steps STEPS" in error
    assert error.endswith(
        "program command: error: the following arguments are required: -o/--output\n"
    )
    # Then only what is missing, not the list of all options.
    with pytest.raises(SystemExit):
        run(parser, ["command", "x.png"])
    assert capsys.readouterr().err == usage + reason
    assert parser.format_usage() == "usage: program [options] COMMAND ...\n"


def test_success_is_quiet(capsys):
    assert _run(None) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (_DAMAGED, "x.task is ?[31mdamaged"),
        (InvalidArgumentError("feather must be in [0, 0.5]"), "feather must be in [0, 0.5]"),
        (FileNotFoundError(2, "No such file", "x.png"), "x.png: No such file"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (PermissionError("cannot write x.png"), "cannot write x.png"),
    ],
)
def test_errors_of_users_are_one_line(error, line, capsys):
    assert _run(error) == 1
    assert capsys.readouterr().err == f"program: error: {line}\n"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no user's\nmistake"),
        KeyError("name"),
        ModuleNotFoundError("typo", name="typo"),
        ImportError("broken"),
        AssertionError(),
    ],
)
def test_other_exceptions_are_bugs(error, capsys):
    assert _run(error) == 70
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    hint = "(run again with --debug for the traceback)"
    assert capsys.readouterr().err == f"program: internal error: {text} {hint}\n"


@pytest.mark.parametrize("before", [True, False])
def test_debug_shows_the_traceback_wherever_it_is_given(before, capsys):
    for error, status, line in (
        (_DAMAGED, 1, "program: error: x.task is ?[31mdamaged"),
        (KeyError("name"), 70, "program: internal error: KeyError: 'name'"),
        (KeyboardInterrupt(), 130, "program: interrupted; nothing half-written was left behind"),
    ):
        argv = ["--debug", "command"] if before else ["command", "--debug"]
        assert run(_parser(error), argv, (TaskBundleError,)) == status
        shown = capsys.readouterr().err
        assert shown.startswith("Traceback") and "in call\n" in shown
        assert shown.splitlines()[-1] == line


def test_overwrite_is_suggested_where_it_exists(capsys):
    assert _run(FileExistsError("x exists")) == 1
    assert capsys.readouterr().err == "program: error: x exists\n"
    parser = _parser(FileExistsError("x exists"))
    add_overwrite(parser)
    assert run(parser, ["command"], ()) == 1
    expected = "program: error: x exists; pass --overwrite to replace it\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("parse", "accepted", "refused"),
    [
        ("positive_int", {"1": 1, "20": 20}, ["0", "-1", "1.5", "x", ""]),
        ("positive_number", {"1e-3": 1e-3, "20": 20.0}, ["0", "-1", "inf", "nan", "x"]),
        ("fraction", {"0": 0.0, "0.25": 0.25, "1": 1.0}, ["-0.1", "1.1", "nan", "x"]),
        ("seconds", {"0": 0.0, "2.5": 2.5}, ["-1", "1e6", "inf", "nan", "x"]),
        ("port", {"1": 1, "65535": 65535}, ["0", "65536", "-1", "x"]),
        ("listening_port", {"0": 0, "8765": 8765}, ["65536", "-1", "1.0"]),
    ],
)
def test_options_are_converted_and_checked(parse: str, accepted: dict, refused: list[str]) -> None:
    function: Callable[[str], float] = getattr(command_line, parse)
    for text, value in accepted.items():
        assert function(text) == value
        assert type(function(text)) is type(value)
    for text in refused:
        with pytest.raises(argparse.ArgumentTypeError, match=f"^{text!r} is not a "):
            function(text)


def test_common_options_have_defaults_and_help() -> None:
    parser = argparse.ArgumentParser()
    add_face_landmarker(parser)
    add_overwrite(parser.add_argument_group("output"), "replace X")
    assert parser.parse_args([]) == argparse.Namespace(face_landmarker=None, overwrite=False)
    arguments = parser.parse_args(["--face-landmarker", "x.task", "--overwrite"])
    assert arguments == argparse.Namespace(face_landmarker=Path("x.task"), overwrite=True)
    assert "replace X" in parser.format_help()


def test_output_folder(tmp_path: Path) -> None:
    check_output_folder(tmp_path)
    check_output_folder(tmp_path / "new")
    (tmp_path / "x").touch()
    with pytest.raises(NotADirectoryError, match="x is a file; the output must be a folder"):
        check_output_folder(tmp_path / "x")
    for goal in ("gone", "link"):
        link = tmp_path / "link"
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / goal)
        with pytest.raises(NotADirectoryError, match="link is a link that leads nowhere"):
            check_output_folder(link)


def test_output_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.touch()
    check_output_files(new, None, overwrite=False)
    check_output_files(new, old, overwrite=True)
    for path, error in (
        (tmp_path / "nowhere" / "x", FileNotFoundError),
        (tmp_path, IsADirectoryError),
        (old, FileExistsError),
    ):
        with pytest.raises(error, match=str(path)):
            check_output_files(new, path, overwrite=False)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="read-only"):
        check_output_files(new, overwrite=False)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "latin-1", "ascii"])
def test_streams_that_cannot_show_a_name(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    names = ["\u5199\u771f.png", "\u0142.png", os.fsdecode(b"\xe9.png"), "a.png"]

    def write(arguments: argparse.Namespace) -> None:
        for name in names:
            sys.stdout.write(f"{name}\n")
            sys.stderr.write(f"{name}\n")

    parser = CommandParser(prog="program")
    parser.set_defaults(run=write)
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    assert run(parser, []) == 0
    for stream in streams:
        stream.flush()
        lines = stream.buffer.getvalue().decode(encoding).splitlines()
        assert len(lines) == len(names) and lines[2:] == ["\\udce9.png", "a.png"]


def test_streams_that_are_not_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (None, io.StringIO()):
        monkeypatch.setattr(sys, "stdout", stream)
        assert _run(None) == 0


def test_warnings_of_the_packages_are_lines_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("task_bundle.media.images")
    # As TensorFlow does.
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler(sys.stderr)])

    def warn(arguments: argparse.Namespace) -> None:
        log.warning("%s has several frames", "a\x1b[31m.gif")
        log.info("nothing that users need")

    parser = CommandParser(prog="program")
    parser.set_defaults(run=warn)
    for _ in range(2):
        run(parser, [])
        assert capsys.readouterr() == ("", "program: warning: a?[31m.gif has several frames\n")
    assert logging.getLogger("task_bundle").propagate
