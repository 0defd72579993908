"""Tests of task_bundle.runtime.command, through the command line."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from interrupts import heed_interrupts
from PIL import Image, ImageCms
from source_types import source_type

from task_bundle import cli
from task_bundle.bundle import TaskBundle
from task_bundle.media.images import load_image, save_png
from task_bundle.media.source_type import SOURCE_TYPE
from task_bundle.media.video import Frame, Video, save_video
from task_bundle.runtime import command as stylize_command
from task_bundle.runtime.compositing import composite, cutout, face_mask, head_mask
from task_bundle.runtime.stylized_face import StylizedFace
from task_bundle.runtime.stylizer import FaceStylizer, FaceStylizerOptions

Picture = npt.NDArray[np.uint8]
RunCommand = Callable[..., int]

_REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def bundle_file(tmp_path: Path, make_stylizer, face_models) -> Path:
    """A bundle that makes faces much darker."""
    path = tmp_path / "dark.task"
    TaskBundle.build(make_stylizer(64, gain=0.25), face_models).save(path)
    return path


@pytest.fixture
def stylize(bundle_file: Path, tmp_path: Path) -> RunCommand:
    """Returns a function that runs the command, with the output folder `out`."""

    def run(*arguments: object) -> int:
        words = ["stylize", bundle_file, *arguments, "--output", tmp_path / "out"]
        return cli.main([str(word) for word in words])

    return run


@pytest.fixture
def photo_file(grace_hopper: Picture, tmp_path: Path) -> Path:
    path = tmp_path / "grace.png"
    save_png(path, grace_hopper)
    return path


@pytest.fixture
def pair(grace_hopper: Picture) -> Picture:
    """Two faces, the right one smaller: [400, 700, 3]."""
    big = grace_hopper[:400, :400]
    small = np.asarray(Image.fromarray(big).resize((300, 300)))
    return np.hstack([big, np.pad(small, ((0, 100), (0, 0), (0, 0)), mode="edge")])


def _results(bundle_file: Path, photo: Picture, num_faces: int = 1) -> list[StylizedFace]:
    options = FaceStylizerOptions(num_faces=num_faces)
    with FaceStylizer.create_from_model_path(bundle_file, options) as stylizer:
        return stylizer.stylize_all(photo)


def _gray(height: int = 300, width: int = 300) -> Picture:
    return np.full((height, width, 3), 120, np.uint8)


def _errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def _make_video(path: Path, pictures: Sequence[Picture]) -> None:
    save_video(path, (Frame(picture, 40.0 * i) for i, picture in enumerate(pictures)), 25)


def _read_video(path: Path) -> list[Picture]:
    with Video(path) as video:
        return [frame.image for frame in video.frames()]


def test_a_face_becomes_a_picture(
    stylize, bundle_file: Path, photo_file: Path, grace_hopper: Picture, tmp_path: Path, capsys
) -> None:
    assert stylize(photo_file) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out/grace.png\n"
    (face,) = _results(bundle_file, grace_hopper)
    np.testing.assert_array_equal(load_image(tmp_path / "out" / "grace.png"), face.image)


def test_a_composite_and_a_cutout(
    stylize, bundle_file: Path, photo_file: Path, grace_hopper: Picture, tmp_path: Path
) -> None:
    faces = _results(bundle_file, grace_hopper)
    out = tmp_path / "out" / "grace.png"
    assert stylize(photo_file, "--composite") == 0
    pasted = load_image(out)
    np.testing.assert_array_equal(pasted, composite(grace_hopper, faces))
    mask = head_mask(grace_hopper, faces[0].face)
    np.testing.assert_array_equal(pasted[mask == 0], grace_hopper[mask == 0])
    assert stylize(photo_file, "--composite", "--region", "face", "--overwrite") == 0
    wanted = composite(grace_hopper, faces, region="face")
    np.testing.assert_array_equal(load_image(out), wanted)
    mask = face_mask(faces[0].face, *grace_hopper.shape[:2])
    np.testing.assert_array_equal(wanted[mask == 0], grace_hopper[mask == 0])
    assert pasted[mask > 0.9].mean() < 0.4 * grace_hopper[mask > 0.9].mean()

    assert stylize(photo_file, "--composite", "--color-match", "--overwrite") == 0
    matched = load_image(out)
    np.testing.assert_array_equal(matched, composite(grace_hopper, faces, color_match=True))
    assert matched[mask > 0.9].mean() > 0.8 * grace_hopper[mask > 0.9].mean()
    # The former spelling, which --help does not show.
    out.unlink()
    assert stylize(photo_file, "--composite", "--colour-match") == 0
    np.testing.assert_array_equal(load_image(out), matched)

    assert stylize(photo_file, "--cutout", "--overwrite") == 0
    with Image.open(out) as image:
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(image), cutout(grace_hopper, faces))


def test_a_photo_that_a_camera_turned(
    stylize, bundle_file: Path, grace_hopper: Picture, tmp_path: Path
) -> None:
    lying = Image.fromarray(np.rot90(grace_hopper))
    exif = lying.getexif()
    exif[0x0112] = 6
    lying.save(tmp_path / "lying.png", exif=exif)
    assert stylize(tmp_path / "lying.png", "--composite") == 0
    expected = composite(grace_hopper, _results(bundle_file, grace_hopper))
    np.testing.assert_array_equal(load_image(tmp_path / "out" / "lying.png"), expected)


def test_the_color_profile_is_kept(stylize, photo_file: Path, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(photo_file) as image:
        image.save(tmp_path / "color.jpg", icc_profile=profile)
        image.convert("L").save(tmp_path / "gray.jpg", icc_profile=profile)
    assert stylize(tmp_path / "color.jpg", tmp_path / "gray.jpg", "--composite") == 0
    for name, kept in (("color.png", profile), ("gray.png", None)):
        with Image.open(tmp_path / "out" / name) as image:
            assert image.info.get("icc_profile") == kept


@pytest.mark.parametrize("form", [(), ("--composite",), ("--cutout",)])
def test_pictures_say_what_made_them(stylize, photo_file: Path, tmp_path: Path, form) -> None:
    for options, expected in (((), SOURCE_TYPE), (("--unmarked", "--overwrite"), None)):
        assert stylize(photo_file, *form, *options) == 0
        assert source_type(tmp_path / "out" / "grace.png") == expected


def test_several_faces_become_numbered_pictures(
    stylize, bundle_file: Path, pair: Picture, tmp_path: Path, capsys
) -> None:
    save_png(tmp_path / "pair.png", pair)
    out = tmp_path / "out"
    assert stylize(tmp_path / "pair.png", "--num-faces", "3") == 0
    assert _names(out) == ["pair-2.png", "pair.png"]
    faces = _results(bundle_file, pair, 3)
    assert len(faces) == 2 and faces[0].crop.center_x < 400 < faces[1].crop.center_x
    for name, face in zip(("pair.png", "pair-2.png"), faces, strict=True):
        np.testing.assert_array_equal(load_image(out / name), face.image)

    assert stylize(tmp_path / "pair.png", "--num-faces", "2", "--composite", "--overwrite") == 0
    np.testing.assert_array_equal(load_image(out / "pair.png"), composite(pair, faces))


def test_one_picture_into_a_named_file(
    bundle_file: Path, photo_file: Path, tmp_path: Path, capsys
) -> None:
    target = tmp_path / "new" / "out.png"
    words = ["stylize", str(bundle_file), str(photo_file), "-o", str(target)]
    assert cli.main(words) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert load_image(target).shape == (64, 64, 3)
    for inputs, output, complaint in (
        ([photo_file, photo_file], "out.png", "2 inputs; name a folder"),
        ([photo_file], "out.jpg", "ends in .png"),
    ):
        words = ["stylize", str(bundle_file), *map(str, inputs), "-o", str(tmp_path / output)]
        assert cli.main(words) == 1
        assert complaint in _errors(capsys)[0]


def test_a_folder_of_photos_becomes_a_folder_of_pictures(
    stylize, photo_file: Path, grace_hopper: Picture, tmp_path: Path, capsys
) -> None:
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    for name in ("a.jpg", "b.PNG", "c.webp", "deeper/d.png", "e.jfif", "f.avif"):
        Image.fromarray(grace_hopper).save(folder / name)
    _make_video(folder / "a.mp4", [grace_hopper[:400]] * 2)
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden.png").write_text("not a picture either")
    assert stylize(folder, photo_file) == 0
    names = ["a.mp4", "a.png", "b.png", "c.png", "e.png", "f.png", "grace.png"]
    assert _names(tmp_path / "out") == names
    assert (
        f"task-bundle: warning: {folder}: left out, because they are neither pictures nor videos:"
        " deeper/, notes.txt"
    ) in _errors(capsys)


def test_files_that_fail_do_not_stop_the_others(
    stylize, photo_file: Path, tmp_path: Path, capfd
) -> None:
    Image.new("RGB", (2, 33_000)).save(tmp_path / "long.png")
    foreign = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.mp4"))
    _make_video(tmp_path / "foreign.mp4", [_gray()] * 3)
    (tmp_path / "foreign.mp4").rename(foreign)
    save_png(tmp_path / "empty.png", _gray())
    _make_video(tmp_path / "empty.mp4", [_gray()] * 3)
    (tmp_path / "damaged.mp4").write_bytes((tmp_path / "empty.mp4").read_bytes()[:500])
    (tmp_path / "text.jpg").write_text("hello")
    names = ["empty.png", "empty.mp4", "damaged.mp4", "text.jpg", "none.jpg", "none.mp4"]
    assert stylize(tmp_path / "long.png", foreign, *(tmp_path / n for n in names), photo_file) == 1
    shown = capfd.readouterr()
    assert shown.out == f"{tmp_path}/out/grace.png\n"
    # MediaPipe and LiteRT write their own logs.
    errors = [line for line in shown.err.splitlines() if line.startswith("task-bundle: ")]
    assert errors == [
        f"task-bundle: error: {tmp_path}/long.png has 2 x 33000 pixels; a side may have 32766 at"
        " most: crop or shrink it first",
        f"task-bundle: error: no face was found in {tmp_path}/?.mp4",
        f"task-bundle: error: no face was found in {tmp_path}/empty.png",
        f"task-bundle: error: no face was found in {tmp_path}/empty.mp4",
        f"task-bundle: error: {tmp_path}/damaged.mp4 is not a video in a known format, or is"
        " damaged",
        f"task-bundle: error: {tmp_path}/text.jpg is not a picture in a known format",
        f"task-bundle: error: {tmp_path}/none.jpg does not exist",
        f"task-bundle: error: {tmp_path}/none.mp4 does not exist",
    ]
    assert _names(tmp_path / "out") == ["grace.png"]


def test_animations_and_names_that_the_terminal_cannot_show(
    bundle_file: Path, grace_hopper: Picture, tmp_path: Path
) -> None:
    frames = [Image.fromarray(grace_hopper), Image.new("RGB", (512, 600))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "\u5199\u771f.png")
    foreign = os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.jpg")
    frames[0].save(foreign)
    sources = (foreign, tmp_path / "\u5199\u771f.png", tmp_path / "a.gif")
    arguments = ["stylize", bundle_file, *sources, "-o", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-m", "task_bundle", *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode("cp1252").splitlines()
    assert [Path(line).name for line in lines] == ["\\udce9.png", "\\u5199\\u771f.png", "a.png"]
    said = [line for line in done.stderr.decode("cp1252").splitlines() if "warning: " in line]
    assert said == [
        f"task-bundle: warning: {tmp_path}/a.gif has several frames; only the first is used"
    ]


def test_existing_files_are_replaced_only_when_told(
    stylize, photo_file: Path, grace_hopper: Picture, tmp_path: Path, capsys
) -> None:
    save_png(tmp_path / "first.png", grace_hopper)
    out = tmp_path / "out"
    out.mkdir()
    (out / "grace.png").write_bytes(b"mine")
    assert stylize(tmp_path / "first.png", photo_file) == 1
    assert _errors(capsys) == [
        f"task-bundle: error: {out}/grace.png already exists; pass --overwrite to replace it"
    ]
    # This is checked before anything is written.
    assert _names(out) == ["grace.png"] and (out / "grace.png").read_bytes() == b"mine"
    (out / "grace.png").rename(out / "grace-2.png")
    assert stylize(photo_file, "--num-faces", "2") == 1
    assert "grace-2.png already exists" in _errors(capsys)[0]
    assert stylize(photo_file, "--num-faces", "2", "--overwrite") == 0


def test_a_missing_input_is_told_before_an_existing_output(
    bundle_file: Path, photo_file: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "out.png").touch()
    for bundle, photo in ((tmp_path / "none.task", photo_file), (bundle_file, "none.jpg")):
        words = ["stylize", str(bundle), str(photo), "-o", str(tmp_path / "out.png")]
        assert cli.main(words) == 1
        (error,) = _errors(capsys)
        assert error.endswith("does not exist") and "none." in error


def test_outputs_that_would_overwrite_inputs_or_each_other_are_refused(
    stylize, photo_file: Path, tmp_path: Path, capsys
) -> None:
    Image.open(photo_file).save(tmp_path / "grace.jpg")
    assert stylize(photo_file, tmp_path / "grace.jpg") == 1
    assert _errors(capsys)[0].endswith(
        f"{photo_file} and {tmp_path}/grace.jpg would both be written to {tmp_path}/out/grace.png"
    )
    (tmp_path / "out").mkdir()
    own = tmp_path / "out" / "own.png"
    photo_file.rename(own)
    before = own.read_bytes()
    assert stylize(own, "--overwrite") == 1
    assert "would replace the input" in _errors(capsys)[0]
    assert own.read_bytes() == before


def test_links_that_lead_to_themselves(stylize, photo_file: Path, tmp_path: Path, capsys) -> None:
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop.name)
    assert stylize(loop, photo_file) == 1
    assert f"{loop} does not exist" in _errors(capsys)[0]
    # The others are stylized all the same.
    assert _names(tmp_path / "out") == ["grace.png"]


def test_a_name_that_is_too_long(stylize, photo_file: Path, tmp_path: Path, capsys) -> None:
    name = 300 * "a" + ".jpg"
    assert stylize(tmp_path / name, photo_file) == 1
    assert _errors(capsys)[0].endswith(f"{name}: File name too long")
    assert _names(tmp_path / "out") == ["grace.png"]


def test_a_terminal_gets_no_control_characters(
    stylize, photo_file: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = photo_file.rename(tmp_path / "a\n\x1b[31mb.png")
    assert stylize(photo) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out/a\n\x1b[31mb.png\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert stylize(photo, "--overwrite") == 0
    assert capsys.readouterr().out == f"{tmp_path}/out/a??[31mb.png\n"


def test_unusable_paths_are_refused(stylize, photo_file: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "nothing").mkdir()
    assert stylize(tmp_path / "nothing") == 1
    assert "no pictures or videos" in _errors(capsys)[0]
    (tmp_path / "out").write_text("a file")
    assert stylize(photo_file) == 1
    assert "out is a file" in _errors(capsys)[-1]


def test_wrong_usage(stylize, photo_file: Path, capsys) -> None:
    for words, reason in (
        (("--color-match",), "--color-match needs"),
        (("--num-faces", "0"), "--num-faces"),
        (("--composite", "--cutout"), "not allowed"),
    ):
        with pytest.raises(SystemExit) as caught:
            stylize(photo_file, *words)
        assert caught.value.code == 2
        assert reason in capsys.readouterr().err


def test_debug_shows_the_tracebacks_of_single_inputs(
    stylize, photo_file: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    assert stylize(tmp_path / "bad.png", photo_file) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert stylize(tmp_path / "bad.png", photo_file, "--overwrite", "--debug") == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "task-bundle: error: " in shown


def test_a_composite_of_a_video(stylize, grace_hopper: Picture, tmp_path: Path, capsys) -> None:
    photo, empty = grace_hopper[:400, :400], _gray(400, 400)
    _make_video(tmp_path / "a.mp4", [photo, photo, empty, empty, photo])
    # A second video, whose timestamps start at 0 again.
    _make_video(tmp_path / "b.mp4", [photo] * 3)
    assert stylize(tmp_path / "a.mp4", tmp_path / "b.mp4", "--composite") == 0
    # A video that never had sound does not lack it.
    assert not [line for line in _errors(capsys) if "sound" in line or "ffmpeg" in line]
    before, after = _read_video(tmp_path / "a.mp4"), _read_video(tmp_path / "out" / "a.mp4")
    assert len(after) == 5
    face = (slice(140, 200), slice(190, 240))
    for i in (0, 1, 4):
        assert after[i][face].mean() < 0.5 * before[i][face].mean()
        assert np.abs(after[i][:40].astype(int) - before[i][:40]).mean() < 6
    for i in (2, 3):
        assert np.abs(after[i].astype(int) - before[i]).mean() < 6
    assert len(_read_video(tmp_path / "out" / "b.mp4")) == 3


@pytest.mark.parametrize(("options", "expected"), [((), SOURCE_TYPE), (("--unmarked",), None)])
def test_videos_say_what_made_them(
    stylize, grace_hopper: Picture, tmp_path: Path, options, expected
) -> None:
    save_video(tmp_path / "in.mp4", [Frame(grace_hopper, 40.0 * i) for i in range(2)], 25)
    assert stylize(tmp_path / "in.mp4", *options) == 0
    assert source_type(tmp_path / "out" / "in.mp4") == expected


def test_a_video_of_the_face_alone(stylize, grace_hopper: Picture, tmp_path: Path, capsys) -> None:
    photo, empty = grace_hopper[:400, :400], _gray(400, 400)
    _make_video(tmp_path / "a.mp4", [empty, photo, photo, empty])
    assert stylize(tmp_path / "a.mp4") == 0
    frames = _read_video(tmp_path / "out" / "a.mp4")
    assert [frame.shape for frame in frames] == [(64, 64, 3)] * 4
    assert frames[0].mean() < 8
    assert frames[1].mean() > 15
    # In frames without a face, the last picture is repeated.
    assert np.abs(frames[3].astype(int) - frames[2]).mean() < 4
    assert stylize(tmp_path / "a.mp4", "--overwrite", "--cutout") == 1
    assert "cannot be transparent" in _errors(capsys)[-1]
    assert stylize(tmp_path / "a.mp4", "--overwrite", "--num-faces", "2") == 1
    assert "--composite" in _errors(capsys)[-1]


def test_sound_comes_from_the_input(stylize, grace_hopper: Picture, tmp_path: Path, capsys) -> None:
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as output:
        pictures = output.add_stream("mpeg4", 25, width=400, height=400)
        sound = output.add_stream("aac", 48000)
        picture = av.VideoFrame.from_ndarray(grace_hopper[:400, :400], "rgb24")
        output.mux(pictures.encode(picture))
        output.mux(pictures.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), "fltp", "stereo")
        silence.sample_rate = 48000
        output.mux(sound.encode(silence))
        output.mux(sound.encode(None))
    assert stylize(source, "--composite") == 0
    with av.open(str(tmp_path / "out" / "a.mp4")) as container:
        assert [stream.codec.name for stream in container.streams.audio] == ["aac"]
    assert not [line for line in _errors(capsys) if "warning" in line]
    assert _names(tmp_path / "out") == ["a.mp4"]


def test_an_interrupted_video_leaves_nothing(
    stylize, grace_hopper: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    _make_video(tmp_path / "a.mp4", [grace_hopper[:400, :400]] * 4)
    seen = []

    def interrupt(*arguments: object, **options: object) -> Picture:
        seen.append(_names(tmp_path / "out"))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return grace_hopper[:400, :400]

    monkeypatch.setattr(stylize_command, "composite", interrupt)
    assert stylize(tmp_path / "a.mp4", "--composite") == 130
    # While the video is being written, the file has a temporary name.
    assert len(seen[-1]) == 1 and seen[-1] != ["a.mp4"]
    assert _names(tmp_path / "out") == []
    assert _errors(capsys)[-1].startswith("task-bundle: interrupted; nothing half-written")


def _start(bundle_file: Path, video: Path, out: Path) -> "subprocess.Popen[str]":
    words = ["-m", "task_bundle.cli", "stylize", bundle_file, video, "-o", out]
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=_REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )


def test_ffmpeg_does_not_complain_on_its_own(bundle_file: Path, tmp_path: Path) -> None:
    _make_video(tmp_path / "a.mp4", [_gray()])
    (tmp_path / "a.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:500])
    process = _start(bundle_file, tmp_path / "a.mp4", tmp_path / "out")
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    assert f"{tmp_path}/a.mp4 is not a video" in errors.splitlines()[-1]
    assert "moov" not in errors and "VIDEOIO" not in errors


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_the_program(bundle_file: Path, grace_hopper: Picture, tmp_path: Path) -> None:
    _make_video(tmp_path / "a.mp4", [grace_hopper[:400, :400]] * 600)
    out = tmp_path / "out"
    process = _start(bundle_file, tmp_path / "a.mp4", out)
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        if out.is_dir() and os.listdir(out):
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.02)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1].startswith("task-bundle: interrupted; nothing half-written")
    assert "Traceback" not in errors
    assert os.listdir(out) == []
