"""`mm-face-stylizer evaluate`, from the arguments to the files."""

import json
import os
import shutil
from pathlib import Path

import conv_model
import numpy as np
import pytest
import tiny
from PIL import Image

from mm_face_stylizer.cli import main
from mm_face_stylizer.evaluation.evaluator import wilson_interval
from mm_face_stylizer.evaluation.landmarks import find_faces, landmark_error
from mm_face_stylizer.evaluation.portrait_set import PortraitSet
from mm_face_stylizer.evaluation.report import MEASURES, Evaluation
from mm_face_stylizer.models import efficientnet_lite, face_recognition
from task_bundle.bundle import TaskBundle
from task_bundle.errors import ResultError
from task_bundle.media.images import load_image

pytestmark = pytest.mark.usefixtures("face_models")


@pytest.fixture(scope="module")
def faces(tmp_path_factory, grace_hopper):
    """60 portraits of which six are held out."""
    return tiny.write_portraits(tmp_path_factory.mktemp("data") / "faces", grace_hopper, 60)


@pytest.fixture(scope="module")
def face_list(faces):
    path = faces.parent / "faces.csv"
    rows = [
        f"{n:05d}.png,{'voteview' if n == 60 else 'lab'},{'Female' if n % 20 else 'Male'}"
        for n in range(1, 61)
    ]
    path.write_text("\n".join(["file,source,gender", *rows]))
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, face_models):
    """A stylizer of 64 px that hardly changes anything."""
    path = tmp_path_factory.mktemp("bundles") / "same.task"
    TaskBundle.build(conv_model.make_stylizer(64), face_models).save(path)
    return path


@pytest.fixture(scope="module")
def style(tmp_path_factory, grace_hopper):
    path = tmp_path_factory.mktemp("styles") / "style.png"
    Image.fromarray(grace_hopper // 2 + np.array([110, 60, 0], np.uint8)).save(path)
    return path


OF_EXTRAS = ("style_feature_distance", "dlib_rank1_identity", "dlib_identity_distance")
FEW = ["--samples", "4", "--bootstrap", "100", "--smallest-group", "2"]


@pytest.fixture(scope="module")
def of_preset(tmp_path_factory, tiny_preset, faces, face_list):
    out = tmp_path_factory.mktemp("out") / "preset"
    arguments = ["evaluate", str(tiny_preset), "--faces", str(faces), "--face-list", str(face_list)]
    assert main([*arguments, "-o", str(out), *FEW]) == 0
    return out


def _error(capsys):
    """The one line of an error."""
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1 and lines[0].startswith("mm-face-stylizer: error: "), lines
    return lines[0]


def test_a_preset_s_results(of_preset, tiny_preset):
    evaluation = Evaluation.load(of_preset / "evaluation.json")
    assert (evaluation.subject.name, evaluation.subject.kind) == ("tiny", "preset")
    assert (
        evaluation.subject.sha256 == json.loads((tiny_preset / "card.json").read_text())["sha256"]
    )
    assert evaluation.task == "reconstruction" and evaluation.style is None
    assert evaluation.faces.only_held_out and evaluation.faces.count == 6
    assert [person.file for person in evaluation.people] == [
        f"{number:05d}.png" for number in range(10, 61, 10)
    ]
    # An untrained network draws no faces, so there are no landmarks to compare.
    assert {measure.name for measure in evaluation.measures} == {
        "psnr", "ms_ssim", "feature_distance", "sharpness", "face_found", "rank1_identity",
        "identity_similarity",
    }  # fmt: skip
    assert evaluation.measure("face_found").mean == 0
    assert 0 < evaluation.measure("psnr").mean < 20
    # Nor does it draw anything as sharp as a photo.
    assert evaluation.measure("sharpness").mean < 0.5


def test_who_takes_part_in_the_retrieval(of_preset):
    evaluation = Evaluation.load(of_preset / "evaluation.json")
    assert evaluation.identity.sources_left_out == ("voteview",)
    assert evaluation.identity.gallery == evaluation.identity.people == 5
    assert evaluation.measure("rank1_identity").count == 5
    assert "rank1_identity" not in evaluation.people[-1].values


def test_groups_are_compared(of_preset):
    evaluation = Evaluation.load(of_preset / "evaluation.json")
    gap = next(g for g in evaluation.fairness if (g.by, g.measure) == ("gender", "psnr"))
    assert {group.name: group.count for group in gap.groups} == {"Female": 3, "Male": 3}
    means = {group.name: group.mean for group in gap.groups}
    values = {p.file: p.values["psnr"] for p in evaluation.people if p.labels["gender"] == "Male"}
    assert means["Male"] == pytest.approx(np.mean(list(values.values())))
    assert gap.gap == pytest.approx(abs(means["Male"] - means["Female"]))
    assert all("skin_tone" in person.labels for person in evaluation.people)


def test_generated_faces(of_preset):
    evaluation = Evaluation.load(of_preset / "evaluation.json")
    drawn = [(g.drawn_by, g.truncation, g.count, g.face_found) for g in evaluation.generated]
    assert drawn == [("mapping", 0.7, 4, 0), ("prior", None, 4, 0)]
    assert all(faces.frechet_distance > 0 for faces in evaluation.generated)


def test_sheets_are_drawn(of_preset):
    assert sorted(path.name for path in of_preset.iterdir()) == [
        "evaluation.json",
        "reconstructions.png",
        "samples_mapping.png",
        "samples_prior.png",
        "worst.png",
    ]
    # A row of six portraits and a row of six pictures.
    height, width, _ = load_image(of_preset / "reconstructions.png").shape
    assert 384 < height < 480 and 1152 < width < 1200


def test_the_json_is_of_its_schema_and_changes_are_noticed(of_preset):
    text = (of_preset / "evaluation.json").read_text()
    assert Evaluation.from_json(text).to_json() == text
    assert set(json.loads(text)) <= set(Evaluation.json_schema()["properties"])
    for change, words in [
        ({"version": 99}, "version 99 .* version 1"),
        ({"format": "other"}, "not an evaluation"),
        ({"surprise": 1}, "surprise"),
        ({"people": []}, "there are 0 people, not 6"),
        ({"measures": []}, "which was not measured"),
        ({"seconds": -1}, "seconds"),
    ]:
        with pytest.raises(ResultError, match=words):
            Evaluation.from_json(json.dumps(json.loads(text) | change))
    with pytest.raises(ResultError, match="is not JSON"):
        Evaluation.from_json("{")
    with pytest.raises(ResultError, match="not an evaluation"):
        Evaluation.from_json("[]")


def test_the_same_seed_gives_the_same_numbers(of_preset, tiny_preset, faces, face_list, tmp_path):
    arguments = ["evaluate", str(tiny_preset), "--faces", str(faces), "--face-list", str(face_list)]
    assert main([*arguments, "-o", str(tmp_path / "again"), *FEW]) == 0
    first, again = (
        json.loads((folder / "evaluation.json").read_text())
        for folder in (of_preset, tmp_path / "again")
    )
    for result in (first, again):
        del result["began"], result["seconds"]
        # Every test has a cache of its own, where face models may come from.
        result["face_models"]["source"] = Path(result["face_models"]["source"]).name
    assert first == again


def test_a_bundle_that_changes_nothing_reconstructs_perfectly(bundle, faces, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(["evaluate", str(bundle), "--faces", str(faces), "-o", str(out), "--all", *FEW]) == 0
    )
    printed = capsys.readouterr().out
    evaluation = Evaluation.load(out / "evaluation.json")
    assert not evaluation.faces.only_held_out and evaluation.faces.count == 60
    assert evaluation.subject.kind == "bundle" and evaluation.generated == ()
    assert evaluation.measure("face_found").mean == 1
    assert evaluation.measure("landmark_error").mean < 1
    assert evaluation.measure("sharpness").mean == pytest.approx(1, abs=0.1)
    assert evaluation.measure("ms_ssim").mean > 0.98
    assert evaluation.measure("identity_similarity").mean > 0.98
    assert "landmark_error" in printed and str(out / "evaluation.json") in printed
    assert set(MEASURES) >= {measure.name for measure in evaluation.measures}


def test_names_that_are_not_utf8(bundle, faces, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for index, face in enumerate(sorted(faces.iterdir())[:6]):
        shutil.copy(face, photos / os.fsdecode(b"%d\xe9.png" % index))
    named = shutil.copy(bundle, tmp_path / os.fsdecode(b"\xe9.task"))
    words = ["evaluate", str(named), "--faces", str(photos), "-o", str(out), "--all", *FEW]
    assert main(words) == 0
    evaluation = Evaluation.load(out / "evaluation.json")
    assert evaluation.subject.name == "\ufffd.task"
    assert [person.file for person in evaluation.people] == [f"{i}\ufffd.png" for i in range(6)]


def test_a_stylizer_that_changes_nothing_has_the_photos_style(bundle, faces, style, tmp_path):
    out = tmp_path / "out"
    arguments = ["evaluate", str(bundle), "--faces", str(faces), "-o", str(out), *FEW]
    assert main([*arguments, "--style", str(style)]) == 0
    evaluation = Evaluation.load(out / "evaluation.json")
    assert evaluation.task == "stylization"
    assert evaluation.style.files == ("style",) and evaluation.style.between_styles is None
    for name in ("style_distance", "style_patches", "style_colour"):
        assert evaluation.measure(name).mean == pytest.approx(1, abs=0.05)
    assert "psnr" not in {measure.name for measure in evaluation.measures}
    assert evaluation.measure("residue").mean > 0.9
    assert sorted(path.name for path in out.iterdir()) == [
        "evaluation.json",
        "stylized.png",
        "worst.png",
    ]
    # Whatever is not installed is listed instead.
    measured = {measure.name for measure in evaluation.measures}
    left_out = {name for line in evaluation.not_measured for name in line.measures}
    assert measured.isdisjoint(left_out) and measured | left_out >= set(OF_EXTRAS)
    if "style_feature_distance" in measured:
        assert evaluation.measure("style_feature_distance").mean == pytest.approx(1, abs=0.05)
        assert evaluation.style.photos_feature_distance > 0
    if "dlib_identity_distance" in measured:
        assert evaluation.measure("dlib_identity_distance").mean < 0.2
        assert evaluation.measure("dlib_rank1_identity").count == evaluation.identity.gallery


def test_what_is_not_installed_is_left_out_and_named(
    bundle, faces, style, tmp_path, capsys, monkeypatch
):
    for module in (efficientnet_lite, face_recognition):
        monkeypatch.setattr(module, "_PACKAGE", "not_installed_anywhere")
    out = tmp_path / "out"
    arguments = ["evaluate", str(bundle), "--faces", str(faces), "-o", str(out), *FEW]
    assert main([*arguments, "--style", str(style)]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "not measured" in line]
    assert len(lines) == 2
    assert "style_feature_distance" in lines[0] and "[perceptual]" in lines[0]
    assert "dlib_identity_distance" in lines[1] and "[evaluation]" in lines[1]
    evaluation = Evaluation.load(out / "evaluation.json")
    assert {name for line in evaluation.not_measured for name in line.measures} == set(OF_EXTRAS)
    assert {measure.name for measure in evaluation.measures}.isdisjoint(OF_EXTRAS)
    assert evaluation.style.photos_feature_distance is None
    assert evaluation.measure("residue").count == 6
    text = json.loads((out / "evaluation.json").read_text())
    text["not_measured"][0]["measures"] = ["residue"]
    with pytest.raises(ResultError, match="'residue' cannot be among the measures left out"):
        Evaluation.from_json(json.dumps(text))


def test_a_stylizer_that_does_what_the_style_does(
    grace_hopper, face_models, faces, tmp_path, capsys
):
    """Style and stylizer halve all values."""
    bundle, style, out = tmp_path / "half.task", tmp_path / "style.png", tmp_path / "out"
    TaskBundle.build(conv_model.make_stylizer(64, gain=0.5), face_models).save(bundle)
    Image.fromarray(grace_hopper // 2).save(style)
    Image.fromarray(grace_hopper[:, ::-1] // 2).save(tmp_path / "other.png")
    styles = ["--style", str(style), str(tmp_path / "other.png")]
    assert (
        main(["evaluate", str(bundle), "--faces", str(faces), *styles, "-o", str(out), *FEW]) == 0
    )
    evaluation = Evaluation.load(out / "evaluation.json")
    assert evaluation.style.files == ("style", "other")
    between = evaluation.style.between_styles
    assert 0 < between < evaluation.measure("style_distance").mean
    assert f"style picture from the others: {between:.3f}" in capsys.readouterr().out
    assert evaluation.measure("style_colour").mean < 0.8
    assert evaluation.measure("style_patches").mean < 0.8
    assert evaluation.style.photos_distance > 0
    photos = PortraitSet.load(faces, 64).photos
    found, again = (find_faces(pictures, face_models) for pictures in (photos, photos // 2))
    wanted = [100 * landmark_error(a, b) for a, b in zip(found, again, strict=True)]
    errors = [person.values["landmark_error"] for person in evaluation.people]
    assert errors == pytest.approx(wanted, abs=0.5) and min(errors) > 0


def test_nothing_is_overwritten_unasked(bundle, faces, tmp_path, capsys):
    (tmp_path / "worst.png").write_text("mine")
    arguments = ["evaluate", str(bundle), "--faces", str(faces), "-o", str(tmp_path), *FEW]
    assert main(arguments) == 1
    assert "worst.png already exists; pass --overwrite" in _error(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["worst.png"]
    assert (tmp_path / "worst.png").read_text() == "mine"
    assert main([*arguments, "--overwrite"]) == 0
    assert load_image(tmp_path / "worst.png").size


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--samples", "1"], ["samples", "1", "2"]),
        (["--truncation", "1.5"], ["truncation", "1.5", "[0, 1]"]),
        (["--people", "1"], ["people", "1"]),
        (["--seed", "-1"], ["seed", "-1"]),
        (["--bootstrap", "5"], ["bootstrap", "5", "100"]),
        (["--face-list", "/nowhere.csv"], ["/nowhere.csv"]),
        (["--style", "/nowhere.png"], ["/nowhere.png"]),
        (["--face-landmarker", "/nowhere.task"], ["/nowhere.task"]),
    ],
)
def test_bad_options_are_named(options, words, bundle, faces, tmp_path, capsys):
    arguments = ["evaluate", str(bundle), "--faces", str(faces), "-o", str(tmp_path / "out")]
    assert main([*arguments, *options]) == 1
    error = _error(capsys)
    assert all(word in error for word in words), error
    assert not (tmp_path / "out").exists()


def test_unusable_subjects_are_named(tiny_preset, faces, style, tmp_path, capsys):
    (tmp_path / "broken.task").write_bytes(b"no archive")
    rest = ["--faces", str(faces), "-o", str(tmp_path / "out")]
    for subject, more, words in [
        ("no_such_preset", [], "no preset 'no_such_preset'"),
        (str(tmp_path / "none.task"), [], "none.task"),
        (str(tmp_path / "broken.task"), [], "broken.task"),
        (str(tiny_preset), ["--style", str(style)], "tiny is a preset, which has no style"),
    ]:
        assert main(["evaluate", subject, *rest, *more]) == 1
        assert words in _error(capsys)


def test_two_folders_of_faces(bundle, faces, tmp_path, capsys):
    twice = ["--faces", str(faces), "--faces", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(bundle), *twice, "-o", str(tmp_path / "out")])
    assert stop.value.code == 2
    assert "--faces: can only be given once" in capsys.readouterr().err


def test_pictures_without_a_face(bundle, tmp_path, capsys):
    faceless = tmp_path / "faces"
    faceless.mkdir()
    Image.new("RGB", (64, 64), "gray").save(faceless / "10.png")
    arguments = ["evaluate", str(bundle), "--faces", str(faceless), "-o", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "no face was found in any of the 1 portraits" in _error(capsys)
    assert not (tmp_path / "out").exists()


def test_a_share_s_interval():
    """Wilson's interval of 8 in 10, from his formula by hand."""
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-3)
    low, high = wilson_interval(1000, 1000)
    assert high == 1 and low == pytest.approx(0.9962, abs=1e-3)
