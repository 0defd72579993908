import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import mm_face_stylizer.cli
import task_bundle.cli

_ROOT = Path(__file__).parents[2]
_README = _ROOT / "README.md"
_PAGES = [
    _README,
    _ROOT / "CONTRIBUTING.md",
    _ROOT / "benchmarks/results/README.md",
    _ROOT / "android_harness/README.md",
    *sorted((_ROOT / "docs").glob("**/*.md")),
]
_PROGRAMS = {"mm-face-stylizer": mm_face_stylizer.cli.main, "task-bundle": task_bundle.cli.main}


def test_the_readme_is_a_screen_and_a_half():
    assert len(_README.read_text().splitlines()) <= 120
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", _README.read_text())
    assert pictures
    assert sum((_ROOT / picture).stat().st_size for picture in pictures) <= 300_000


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_commands_have_the_options_that_pages_use(page, capsys):
    for line in _shell_lines(page.read_text()):
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            del words[0]
        if not words:
            continue
        if words[0] in _PROGRAMS:
            accepted = _help(words[0], words[1:], capsys)
        elif words[:2] == ["python", "-m"]:
            # A study's parser is inside its main function: its source names the options.
            path = _ROOT / f"{words[2].replace('.', '/')}.py"
            assert path.exists(), line
            accepted = path.read_text()
            shared = path.with_name("reconstruction_table.py").read_text()
            accepted += shared if "argument_parser" in accepted else ""
        elif words[0] == "make":
            targets = [word for word in words[1:] if "=" not in word]
            makefile = (_ROOT / "Makefile").read_text()
            assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
            continue
        else:
            continue
        for word in words[1:]:
            if word.startswith("--"):
                assert re.search(rf"{word.partition('=')[0]}\b", accepted), line


def _help(program: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What `--help` of the command that a line calls prints."""
    depth = (
        2 if words[0] in ("benchmark", "face-swap", "model-maker", "translator", "upscaler") else 1
    )
    with pytest.raises(SystemExit) as exit_:
        _PROGRAMS[program]([*words[:depth], "--help"])
    assert exit_.value.code == 0, words
    return capsys.readouterr().out


def _shell_lines(text: str) -> Iterator[str]:
    """The commands of a page's shell blocks; one that goes on in the next line is one."""
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip():
                yield line.strip()


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }
