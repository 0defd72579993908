import argparse

import pytest

from task_bundle.command_line import run


def _parser(error: Exception) -> argparse.ArgumentParser:
    def fail(arguments: argparse.Namespace) -> None:
        raise error

    parser = argparse.ArgumentParser("program")
    parser.set_defaults(run=fail)
    return parser


@pytest.mark.parametrize(
    ("module", "extra"), [("pydantic", "benchmark"), ("tensorflow.keras", "train")]
)
def test_where_an_extra_is_missing_it_is_named(module, extra, capsys):
    package = module.partition(".")[0]
    assert run(_parser(ModuleNotFoundError(name=module)), [], ()) == 1
    wanted = f"{package} is not installed; pip install 'mm-face-stylizer[{extra}]'"
    assert capsys.readouterr().err == f"program: error: {wanted}\n"


def test_a_module_of_no_extra_is_a_bug_of_ours():
    with pytest.raises(ModuleNotFoundError, match="typo"):
        run(_parser(ModuleNotFoundError("typo", name="typo")), [], ())
