import os
import pathlib
import signal
import uuid

import numpy as np
import pytest
from PIL import Image

from task_bundle import FaceStylizer, ImageError, TaskBundle, batch, load_image
from task_bundle.batch import PhotoStylizer, stylize_photos, target_names
from task_bundle.cli import main
from task_bundle.media.storage import Storage
from task_bundle.runtime.rendering import Rendering


@pytest.fixture(scope="module")
def bundle(make_stylizer, face_models):
    return TaskBundle.build(make_stylizer(), face_models)


@pytest.fixture(scope="module")
def bundle_file(bundle, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "x.task"
    bundle.save(path)
    return path


def write_photos(folder, picture, count):
    """Writes photos of which no two are alike, every other one into a subfolder."""
    (folder / "sub").mkdir(parents=True)
    image = Image.fromarray(picture)
    for number in range(count):
        place = folder / "sub" if number % 2 else folder
        image.rotate(number / count * 10).save(place / f"{number:03}.jpg")


def pictures(folder):
    files = (path for path in folder.rglob("*.png"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_batch_becomes_rows_and_files(bundle, bundle_file, grace_hopper, tmp_path):
    write_photos(tmp_path / "in", grace_hopper, 2)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"nothing")
    Image.new("RGB", (64, 64)).save(tmp_path / "in" / "gray.png")
    names = ["000.jpg", "sub/001.jpg", "bad.jpg", "gray.png", "none.jpg"]
    work = PhotoStylizer(str(bundle_file), str(tmp_path / "in"), str(tmp_path / "out"))
    rows = work({"photo": np.array(names, dtype=object)})
    assert rows["photo"].tolist() == names
    assert rows["pictures"].tolist() == [1, 1, 0, 0, 0]
    errors = rows["error"].tolist()
    assert errors[:2] == ["", ""]
    assert "bad.jpg is not a picture" in errors[2] and "no face" in errors[3] and errors[4]
    assert set(pictures(tmp_path / "out")) == {"000.png", "sub/001.png"}
    with FaceStylizer.create_from_bundle(bundle) as stylizer:
        expected = stylizer.stylize(tmp_path / "in" / "000.jpg").image
    np.testing.assert_array_equal(load_image(tmp_path / "out" / "000.png"), expected)


def test_pictures_are_named_after_their_photos():
    assert target_names("a/b.c.jpg", Rendering()) == ["a/b.c.png"]
    assert target_names("x.jpg", Rendering(num_faces=3)) == ["x.png", "x-2.png", "x-3.png"]
    assert target_names("x.jpg", Rendering("composite", num_faces=3)) == ["x.png"]
    with pytest.raises(ValueError, match="form must be"):
        Rendering("cut")


def test_storage_reads_and_writes_folders_and_urls(tmp_path):
    for location in (str(tmp_path / "a"), (tmp_path / "b").as_uri()):
        if "://" in location:
            pytest.importorskip("pyarrow")
        storage = Storage(location)
        assert list(storage.names((".jpg",))) == []
        for name in ("1.JPG", "deep/er/2.jpg", ".hidden.jpg", "x.txt"):
            storage.write(name, b"content of " + name.encode())
        assert sorted(storage.names((".jpg",))) == ["1.JPG", "deep/er/2.jpg"]
        assert storage.read("deep/er/2.jpg") == b"content of deep/er/2.jpg"
        storage.write("1.JPG", b"other")
        assert storage.read("1.JPG") == b"other"
        with pytest.raises(OSError):
            storage.read("none.jpg")


def test_impossible_requests_are_refused_before_workers_start(bundle, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(ImageError, match="no pictures in"):
        stylize_photos(bundle, tmp_path / "in", tmp_path / "out")
    for name in ("a.jpg", "a.png"):
        (tmp_path / "in" / name).touch()
    with pytest.raises(ImageError, match=r"a\.png would both be written"):
        stylize_photos(bundle, tmp_path / "in", tmp_path / "out")
    with pytest.raises(ImageError, match="among the photos"):
        stylize_photos(bundle, tmp_path / "in", tmp_path / "in" / "out")


def test_the_log_of_errors_takes_any_name_of_a_file(bundle, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    names = [
        os.fsdecode(name) for name in (b"caf\xe9.jpg", b"new\nline.jpg", "\u65e5.jpg".encode())
    ]
    for name in names:
        (tmp_path / "in" / name).write_bytes(b"nothing")

    def all_fail(todo, *arguments):
        yield {"photo": todo, "error": [f"{name} is not a picture" for name in todo]}

    monkeypatch.setattr(batch, "_run", all_fail)
    outcome = stylize_photos(bundle, tmp_path / "in", tmp_path / "out")
    assert (outcome.failed, outcome.skipped) == (3, 0)
    (log,) = (tmp_path / "out" / "_errors").iterdir()
    assert b"caf\xe9.jpg,caf\xe9.jpg is not a picture\n" in log.read_bytes()
    outcome = stylize_photos(bundle, tmp_path / "in", tmp_path / "out")
    assert (outcome.failed, outcome.skipped) == (0, 3)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["s3://photos", "-o", "out"], "needs --ray"),
        (["photos", "-o", "out", "--workers", "2"], "--workers needs --ray"),
        (["a", "b", "-o", "out", "--ray"], "--ray takes one INPUT"),
    ],
)
def test_wrong_usage(words, complaint, capsys):
    with pytest.raises(SystemExit):
        main(["stylize", "x.task", *words])
    assert complaint in capsys.readouterr().err


def workers(mark):
    """Process ids of the workers that a test has started."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            name, environment = ((folder / f).read_bytes() for f in ("cmdline", "environ"))
        except OSError:
            continue
        if name.startswith(b"ray::MapWorker") and mark.encode() in environment:
            found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_two_workers_of_which_one_dies(bundle_file, grace_hopper, tmp_path, monkeypatch, capsys):
    pytest.importorskip("ray.data")
    mark = uuid.uuid4().hex
    monkeypatch.setenv("MM_FACE_STYLIZER_TEST", mark)
    # Set and unset, so that what the call sets is unset after the test.
    monkeypatch.setenv("RAY_worker_niceness", "")
    monkeypatch.delenv("RAY_worker_niceness")
    photos, out = tmp_path / "in", tmp_path / "out"
    write_photos(photos, grace_hopper, 96)
    (photos / "bad.jpg").write_bytes(b"nothing")
    killed = []

    def kill(done, total):
        assert total == 97
        if not killed:
            killed.append(workers(mark)[0])
            # Other work on this machine does not starve them.
            own = os.getpriority(os.PRIO_PROCESS, 0)
            assert os.getpriority(os.PRIO_PROCESS, killed[0]) == own
            os.kill(killed[0], signal.SIGKILL)

    bundle = TaskBundle.open(bundle_file)
    outcome = stylize_photos(bundle, photos, out, workers=2, progress=kill)
    assert killed
    assert (outcome.stylized, outcome.failed, outcome.skipped) == (96, 1, 0)
    (log,) = (out / "_errors").iterdir()
    assert log.read_text().splitlines()[1].startswith("bad.jpg,bad.jpg is not a picture")

    # What one process writes, folder by folder, as it has no subfolders.
    for name in ("", "sub"):
        words = [
            "stylize",
            str(bundle_file),
            str(photos / name),
            "-o",
            str(tmp_path / "one" / name),
        ]
        main(words)
    assert pictures(out) == pictures(tmp_path / "one")

    # The same command does what is left.
    (out / "000.png").unlink()
    capsys.readouterr()
    words = ["stylize", str(bundle_file), str(photos), "-o", str(out), "--ray", "--workers", "1"]
    assert main(words) == 0
    assert "1 stylized, 0 failed, 96 done before" in capsys.readouterr().out
    assert pictures(out) == pictures(tmp_path / "one")
