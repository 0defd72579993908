import json
import os

import pytest

from mm_face_stylizer.model_maker.installed_files import MANIFEST, InstalledFiles

_NAMES = ("networks/encoder", "networks/mean.npy")


def _install(files, content="new"):
    with files.replacing(_NAMES, {"preset": content}) as folder:
        (folder / "networks/encoder/assets").mkdir(parents=True)
        (folder / "networks/encoder/graph.pb").write_text(f"graph {content}")
        (folder / "networks/mean.npy").write_text(f"mean {content}")


def _tree(folder):
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_text()
        for path in folder.rglob("*")
    }


@pytest.fixture
def files(tmp_path):
    return InstalledFiles(tmp_path / "shared")


def test_files_take_their_place_and_the_manifest_says_what_they_are(files):
    _install(files)
    tree = _tree(files.folder)
    assert tree.pop(MANIFEST)
    assert tree == {
        "networks": None,
        "networks/encoder": None,
        "networks/encoder/assets": None,
        "networks/encoder/graph.pb": "graph new",
        "networks/mean.npy": "mean new",
    }
    assert json.loads((files.folder / MANIFEST).read_text())["about"] == {"preset": "new"}


def test_uninstall_leaves_the_disk_as_it_was(files, tmp_path):
    _install(files)
    removal = files.uninstall()
    assert removal.removed == 2 and removal.left == ()
    assert list(tmp_path.iterdir()) == []


def test_uninstall_keeps_what_others_wrote(files, tmp_path):
    (files.folder / "networks").mkdir(parents=True)
    (files.folder / "networks/theirs.npy").write_text("theirs")
    before = _tree(tmp_path)
    _install(files)
    assert files.uninstall().left == ()
    assert _tree(tmp_path) == before


def test_what_an_earlier_call_wrote_is_replaced(files, tmp_path):
    _install(files, "old")
    _install(files)
    assert _tree(files.folder)["networks/encoder/graph.pb"] == "graph new"
    assert files.uninstall().left == ()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["networks/encoder/graph.pb", "networks/mean.npy"])
def test_a_changed_file_is_neither_overwritten_nor_removed(files, name):
    _install(files)
    (files.folder / name).write_text("changed")
    before = _tree(files.folder)
    with pytest.raises(FileExistsError, match=os.path.basename(name)):
        _install(files, "newer")
    assert _tree(files.folder) == before
    removal = files.uninstall()
    assert files.folder / name in removal.left and removal.removed == 1
    assert (files.folder / name).read_text() == "changed"
    assert not (files.folder / MANIFEST).exists()


@pytest.mark.parametrize("name", ["networks/encoder/theirs.txt", "networks/mean.npy"])
def test_what_somebody_else_wrote_is_never_overwritten(files, name):
    theirs = files.folder / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    before = _tree(files.folder)
    with pytest.raises(FileExistsError, match="was not written by this program"):
        _install(files)
    assert _tree(files.folder) == before


def test_an_added_file_stays_and_is_reported(files):
    _install(files)
    added = files.folder / "networks/encoder/assets/added.txt"
    added.write_text("theirs")
    with pytest.raises(FileExistsError, match=r"added\.txt"):
        _install(files)
    removal = files.uninstall()
    assert added.read_text() == "theirs" and added.parent in removal.left
    assert sorted(_tree(files.folder)) == [
        "networks",
        "networks/encoder",
        "networks/encoder/assets",
        "networks/encoder/assets/added.txt",
    ]


def test_what_appears_while_the_files_are_made_is_not_overwritten(files):
    with (
        pytest.raises(FileExistsError, match=r"mean\.npy"),
        files.replacing(_NAMES, {}) as folder,
    ):
        (folder / "networks/encoder").mkdir()
        (folder / "networks/mean.npy").write_text("new")
        (files.folder / "networks/mean.npy").write_text("theirs")
    assert _tree(files.folder) == {"networks": None, "networks/mean.npy": "theirs"}


def test_an_interrupted_block_leaves_nothing(files, tmp_path):
    with pytest.raises(KeyboardInterrupt), files.replacing(_NAMES, {}) as folder:
        (folder / "networks/mean.npy").write_text("new")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", range(3))
def test_a_killed_installation_is_removed_by_the_next_uninstall(files, tmp_path, monkeypatch, step):
    """Whatever was moved into place when the process died is in the manifest."""
    import mm_face_stylizer.model_maker.installed_files as module

    class Killed(BaseException):
        pass

    real_rename, real_write, calls = os.rename, module.atomic_write, []

    def counted(real):
        def call(*arguments, **keywords):
            if len(calls) == step:
                raise Killed
            calls.append(real)
            return real(*arguments, **keywords)

        return call

    monkeypatch.setattr(module.os, "rename", counted(real_rename))
    monkeypatch.setattr(module, "atomic_write", counted(real_write))
    with pytest.raises(Killed):
        _install(files)
    monkeypatch.undo()
    if step > 0:
        assert files.uninstall().removed == step - 1
    assert list(tmp_path.iterdir()) == []


def test_links_are_not_followed(files, tmp_path):
    _install(files)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "graph.pb").write_text("graph new")
    encoder = files.folder / "networks/encoder"
    (encoder / "graph.pb").unlink()
    (encoder / "assets").rmdir()
    encoder.rmdir()
    encoder.symlink_to(outside)
    with pytest.raises(FileExistsError, match="encoder"):
        _install(files)
    assert encoder / "graph.pb" in files.uninstall().left
    assert encoder.is_symlink() and (outside / "graph.pb").read_text() == "graph new"


@pytest.mark.parametrize("name", ["../victim", "/etc/victim", "networks/../../victim"])
def test_a_manifest_cannot_point_outside_its_folder(files, tmp_path, name):
    _install(files)
    manifest = json.loads((files.folder / MANIFEST).read_text())
    manifest["files"][name] = "0" * 64
    (files.folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="does not lie in its folder"):
        files.uninstall()
    assert (files.folder / "networks/mean.npy").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"format": 2}', '{"format": 1, "files": {}}'])
def test_a_damaged_manifest_is_reported(files, content):
    _install(files)
    (files.folder / MANIFEST).write_text(content)
    with pytest.raises(ValueError, match=f"{MANIFEST} is damaged"):
        files.uninstall()
    with pytest.raises(ValueError, match=f"{MANIFEST} is damaged"):
        _install(files)


def test_nothing_to_uninstall(files):
    with pytest.raises(FileNotFoundError, match="nothing is installed in"):
        files.uninstall()
