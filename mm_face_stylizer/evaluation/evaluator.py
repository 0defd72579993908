"""Evaluates a preset or a bundle on portraits: computes all measures and contact sheets."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.dataset import Dataset
from mm_face_stylizer.errors import InvalidArgumentError, MissingWeightsError
from mm_face_stylizer.evaluation import report, sheets
from mm_face_stylizer.evaluation.fairness import PersonalValues, largest_gap
from mm_face_stylizer.evaluation.frechet import frechet_distance
from mm_face_stylizer.evaluation.identity import (
    IdentitySpace,
    own_distance,
    own_similarity,
    rank_one,
    rank_one_by_distance,
)
from mm_face_stylizer.evaluation.landmarks import find_faces, landmark_error
from mm_face_stylizer.evaluation.picture_quality import Numbers, Pictures, detail_energy, psnr
from mm_face_stylizer.evaluation.portrait_set import HELD_OUT_RULE, PortraitSet
from mm_face_stylizer.evaluation.residue import residue
from mm_face_stylizer.evaluation.skin_tone import tone, typology_angle
from mm_face_stylizer.evaluation.style_distance import StyleMeter
from mm_face_stylizer.evaluation.subject import BundleSubject, PresetSubject
from task_bundle.errors import ImageError
from task_bundle.faces.alignment import Face
from task_bundle.faces.face_models import FaceModels
from task_bundle.file_names import as_text
from task_bundle.files import already_exists

RESULT_FILE = "evaluation.json"
_SHEET_SIDE = 192
_SKIN_TONE = "skin_tone"


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """Settings of an evaluation.

    Attributes:
      samples: Number of faces that a preset generates with mapping network latents, and again with
        latents of the face prior; at least 2.
      truncation: Truncation of the mapping network's latents, in [0, 1]; 1 means none.
      people: Number of people in each gallery of the rank-1 identity test, at least 2; all people
        if there are fewer.
      sources_left_out: Sources that are left out of the identity measures, because the same people
        may appear in other sources.
      bootstrap: Rounds of bootstrap resampling and of label shuffling, at least 100.
      smallest_group: Groups with fewer people are listed but not compared; at least 2.
      seed: Seed of all random draws, at least 0.
    """

    samples: int = 1000
    truncation: float = 0.7
    people: int = 300
    sources_left_out: tuple[str, ...] = ("voteview",)
    bootstrap: int = 2000
    smallest_group: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          ValueError: A value is out of its range.
        """
        # A Fréchet distance needs two samples, a gallery two people, and a group two members.
        for name, least in (
            ("samples", 2), ("people", 2), ("bootstrap", 100), ("smallest_group", 2), ("seed", 0)
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise InvalidArgumentError(
                    f"{name} is {getattr(self, name)}; it must be at least {least}"
                )
        if not 0.0 <= self.truncation <= 1.0:
            raise InvalidArgumentError(f"truncation is {self.truncation}; it must be in [0, 1]")


@dataclasses.dataclass(frozen=True)
class EvaluationResult:
    """The results of `evaluate`.

    Attributes:
      evaluation: The numbers, which `save` writes to `evaluation.json`.
      sheets: The contact sheets, keyed by file name.
    """

    evaluation: report.Evaluation
    sheets: Mapping[str, ContactSheet]

    def save(self, folder: str | os.PathLike[str], overwrite: bool = False) -> list[Path]:
        """Writes `evaluation.json` and the contact sheets.

        Args:
          folder: Output folder; it is created if it is missing.
          overwrite: Whether existing files may be replaced.

        Returns:
          The paths of the written files, `evaluation.json` first.

        Raises:
          FileExistsError: A file exists and `overwrite` is False; nothing is written in this case.
          OSError: A file cannot be written.
        """
        place = Path(folder)
        files = [place / name for name in (RESULT_FILE, *self.sheets)]
        if not overwrite:
            check_missing(files)
        place.mkdir(parents=True, exist_ok=True)
        for file, sheet in zip(files[1:], self.sheets.values(), strict=True):
            sheet.save(file, _SHEET_SIDE, overwrite=overwrite)
        self.evaluation.save(files[0], overwrite)
        return files


def check_missing(files: Sequence[Path]) -> None:
    """Checks that no file exists yet.

    Args:
      files: Paths of the files to be written.

    Raises:
      FileExistsError: One of the files exists.
    """
    for file in files:
        if file.exists():
            raise already_exists(file)


def sheet_names(kind: str, stylized: bool) -> tuple[str, ...]:
    """Returns the file names of the contact sheets that an evaluation makes.

    Args:
      kind: 'preset' or 'bundle'.
      stylized: Whether style pictures are given.
    """
    first = "stylized.png" if stylized else "reconstructions.png"
    drawn = ("samples_mapping.png", "samples_prior.png") if kind == "preset" else ()
    return (first, "worst.png", *drawn)


def evaluate(
    subject: PresetSubject | BundleSubject,
    portraits: PortraitSet,
    styles: Dataset | None = None,
    options: EvaluationOptions | None = None,
    *,
    only_held_out: bool = True,
    aligned_here: bool = False,
    face_models: FaceModels,
) -> EvaluationResult:
    """Evaluates a preset or a bundle on portraits.

    Example:
    ```python
    from mm_face_stylizer.evaluation.evaluator import evaluate
    from mm_face_stylizer.evaluation.portrait_set import PortraitSet
    from mm_face_stylizer.evaluation.subject import find_subject
    from task_bundle.faces.face_models import find_face_models

    face_models = find_face_models()
    subject = find_subject("face_stylizer.task")
    portraits = PortraitSet.load("portraits", subject.side)
    result = evaluate(subject, portraits, face_models=face_models)
    print(result.evaluation.measure("landmark_error").mean)
    result.save("evaluation")
    ```

    Args:
      subject: The preset or bundle to evaluate.
      portraits: Aligned portraits, with `subject.side` pixels a side.
      styles: Aligned style pictures of the same side. If they are given, the outputs are measured
        as stylizations in this style; if None, as reconstructions of the portraits.
      options: Settings; the defaults of `EvaluationOptions` if None.
      only_held_out: Whether the portraits are held out of training. It is only recorded in the
        result.
      aligned_here: Whether the portraits were cropped from photos by `PortraitSet.load`. It is only
        recorded in the result.
      face_models: The models that find faces and landmarks.

    Returns:
      The numbers and the contact sheets. `style_feature_distance` and the measures of dlib's
      network are left out with a warning if the extra `evaluation` is not installed.

    Raises:
      BundleError: The bundle's stylizer fails.
      ImageError: No face is found in any of the portraits.
    """
    options = options or EvaluationOptions()
    clock, began = time.perf_counter(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    photo_faces = find_faces(portraits.photos, face_models)
    if not any(photo_faces):
        raise ImageError(f"no face was found in any of the {len(portraits)} portraits")
    pictures = subject.pictures(portraits.photos)
    picture_faces = find_faces(pictures, face_models)
    space = IdentitySpace.load()
    embedded = space.embed(portraits.photos)
    values = faces_values(photo_faces, picture_faces)
    in_gallery = np.array([source not in options.sources_left_out for source in portraits.sources])
    gallery = int(in_gallery.sum())
    if gallery > 1:
        pair = embedded[in_gallery], space.embed(pictures[in_gallery])
        values["rank1_identity"] = _of_gallery(rank_one(*pair, options.people), in_gallery)
        values["identity_similarity"] = _of_gallery(own_similarity(*pair), in_gallery)
    style: report.StyleFacts | None = None
    not_measured: list[report.NotMeasured] = []
    if styles is None:
        values |= _reconstruction_values(portraits.photos, pictures, face_models)
    else:
        meter = StyleMeter(styles.images, styles.masks, portraits.photos, options.seed)
        features = _if_installed(
            not_measured,
            ("style_feature_distance",),
            lambda: _style_feature_values(styles, portraits.photos, pictures),
        )
        style, more = _style_values(meter, styles, portraits.photos, pictures, features)
        values |= more
        if gallery > 1:
            values |= _if_installed(
                not_measured,
                ("dlib_rank1_identity", "dlib_identity_distance"),
                lambda: _dlib_values(portraits.photos, pictures, in_gallery, options.people),
            )
    made = "reconstructions" if styles is None else "stylized"
    drawn: list[report.GeneratedFaces] = []
    errors = values["landmark_error"].values
    lost = np.flatnonzero(values["face_found"].values == 0.0).tolist()
    images = [] if styles is None else list(styles.images)
    shown = [
        sheets.pairs_sheet(portraits.photos, pictures, made, images),
        sheets.worst_sheet(portraits.photos, pictures, errors, lost, made),
    ]
    if isinstance(subject, PresetSubject):
        for truncation in (options.truncation, None):
            faces = subject.generated(options.samples, options.seed, truncation)
            drawn.append(_generated(faces, truncation, space, embedded, face_models))
            shown.append(sheets.faces_sheet(faces, _caption(truncation)))
    labels, angles = _labels(portraits, photo_faces)
    random = np.random.default_rng(options.seed)
    values = {name: values[name] for name in report.MEASURES if name in values}
    evaluation = report.Evaluation(
        began=began,
        seconds=time.perf_counter() - clock,
        options=dataclasses.asdict(options) | {"sources_left_out": list(options.sources_left_out)},
        subject=report.SubjectFacts(subject.name, subject.kind, subject.sha256, subject.side),
        task="reconstruction" if styles is None else "stylization",
        face_models=report.FaceModelFacts(
            face_models.source,
            hashlib.sha256(face_models.detector).hexdigest(),
            hashlib.sha256(face_models.landmarks).hexdigest(),
        ),
        faces=report.FacesFacts(
            len(portraits), only_held_out, HELD_OUT_RULE, aligned_here, portraits.without_face
        ),
        identity=report.IdentityFacts(
            space.description,
            space.sha256,
            space.dimensions,
            gallery,
            min(options.people, gallery),
            tuple(sorted(set(portraits.sources) & set(options.sources_left_out))),
        ),
        measures=_measures(values, random, options),
        fairness=_fairness(values, labels, random, options),
        people=_people(portraits.files, labels, angles, values),
        style=style,
        generated=tuple(drawn),
        not_measured=tuple(not_measured),
    )
    names = sheet_names(subject.kind, styles is not None)
    return EvaluationResult(evaluation, dict(zip(names, shown, strict=True)))


def faces_values(
    photo_faces: Sequence[Face | None], picture_faces: Sequence[Face | None]
) -> dict[str, PersonalValues]:
    """Measures for each person whether a face is found in the output, and its landmark error.

    Args:
      photo_faces: The face in each photo, or None.
      picture_faces: The face in each output, or None, in the same order.

    Returns:
      `face_found`, which is 1 or 0, and `landmark_error` in percent of the inter-ocular distance.
      Both are NaN where no face was found in the photo; the error also where none was found in the
      output.
    """
    count = len(photo_faces)
    found, errors = np.full(count, np.nan), np.full(count, np.nan)
    for index, (wanted, seen) in enumerate(zip(photo_faces, picture_faces, strict=True)):
        if wanted is not None:
            found[index] = seen is not None
            if seen is not None:
                errors[index] = 100.0 * landmark_error(wanted, seen)
    return {
        "face_found": PersonalValues.equal(found),
        "landmark_error": PersonalValues.equal(errors),
    }


def _reconstruction_values(
    photos: Pictures, pictures: Pictures, face_models: FaceModels
) -> dict[str, PersonalValues]:
    # These functions need TensorFlow, which measuring a style does not.
    from mm_face_stylizer.evaluation.feature_distance import feature_distances
    from mm_face_stylizer.evaluation.picture_quality import ms_ssim

    return {
        "psnr": PersonalValues.equal(psnr(photos, pictures)),
        "ms_ssim": PersonalValues.equal(ms_ssim(photos, pictures)),
        "feature_distance": PersonalValues.equal(
            feature_distances(photos, pictures, face_models.landmarks)
        ),
        "sharpness": _ratio(detail_energy(pictures), detail_energy(photos)),
    }


def _style_values(
    meter: StyleMeter,
    styles: Dataset,
    photos: Pictures,
    pictures: Pictures,
    features: Mapping[str, PersonalValues],
) -> tuple[report.StyleFacts, dict[str, PersonalValues]]:
    before, after = meter.measure(photos), meter.measure(pictures)
    between = meter.between()
    distance = float(before.both.mean())
    by_features = features.get("style_feature_distance")
    facts = report.StyleFacts(
        files=tuple(styles.label_names),
        photos_distance=distance,
        between_styles=None if between is None or not distance else between / distance,
        # The weights are the distances of the photos, see `_ratio`.
        photos_feature_distance=None if by_features is None else float(by_features.weights.mean()),
    )
    return facts, {
        "style_distance": _ratio(after.both, before.both),
        "style_patches": _ratio(after.patches, before.patches),
        "style_colour": _ratio(after.color, before.color),
        "residue": PersonalValues.equal(residue(photos, pictures)),
        **features,
    }


def _style_feature_values(
    styles: Dataset, photos: Pictures, pictures: Pictures
) -> dict[str, PersonalValues]:
    # This module needs TensorFlow and the extra `perceptual`.
    from mm_face_stylizer.evaluation.style_features import StyleFeatureMeter

    meter = StyleFeatureMeter(styles.images)
    return {"style_feature_distance": _ratio(meter.measure(pictures), meter.measure(photos))}


def _dlib_values(
    photos: Pictures, pictures: Pictures, in_gallery: npt.NDArray[np.bool_], people: int
) -> dict[str, PersonalValues]:
    # This module needs TensorFlow and the extra `evaluation`.
    from mm_face_stylizer.evaluation.dlib_identity import DlibIdentitySpace

    space = DlibIdentitySpace()
    pair = space.embed(photos[in_gallery]), space.embed(pictures[in_gallery])
    return {
        "dlib_rank1_identity": _of_gallery(rank_one_by_distance(*pair, people), in_gallery),
        "dlib_identity_distance": _of_gallery(own_distance(*pair), in_gallery),
    }


def _if_installed(
    not_measured: list[report.NotMeasured],
    names: tuple[str, ...],
    measure: Callable[[], dict[str, PersonalValues]],
) -> dict[str, PersonalValues]:
    """Measures if everything is installed; otherwise lists the names, and warns."""
    try:
        return measure()
    except MissingWeightsError as error:
        reason = str(error)
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "tf_keras"):
            raise
        reason = "TensorFlow is not installed; run pip install 'mm-face-stylizer[train]'"
    warnings.warn(f"not measured: {', '.join(names)}: {reason}", stacklevel=3)
    not_measured.append(report.NotMeasured(names, reason))
    return {}


def _of_gallery(scores: Numbers, in_gallery: npt.NDArray[np.bool_]) -> PersonalValues:
    """Values of the people in the gallery; NaN for everybody else."""
    everybody = np.full(len(in_gallery), np.nan)
    everybody[in_gallery] = scores
    return PersonalValues.equal(everybody)


def _ratio(values: Numbers, references: Numbers) -> PersonalValues:
    """Ratios weighted so that their mean is the ratio of the sums; NaN where a reference is 0."""
    known = references > 0
    ratios = np.divide(values, references, out=np.full(len(values), np.nan), where=known)
    return PersonalValues(ratios, references)


def _generated(
    faces: Pictures,
    truncation: float | None,
    space: IdentitySpace,
    embedded: Numbers,
    face_models: FaceModels,
) -> report.GeneratedFaces:
    found = sum(face is not None for face in find_faces(faces, face_models))
    distance = frechet_distance(space.embed(faces), embedded) if len(embedded) > 1 else 0.0
    return report.GeneratedFaces(
        drawn_by="prior" if truncation is None else "mapping",
        truncation=truncation,
        count=len(faces),
        face_found=found / len(faces),
        face_found_interval=wilson_interval(found, len(faces)),
        frechet_distance=distance,
        portraits=len(embedded),
    )


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """Computes the 95% Wilson score interval of a share.

    Unlike a bootstrap interval, it does not shrink to a single point if all or none succeed.
    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927).

    Args:
      successes: Number of successes, in [0, count].
      count: Number of trials, at least 1.

    Returns:
      Lower and upper bound, in [0, 1].
    """
    z = 1.959964
    share = successes / count
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _caption(truncation: float | None) -> str:
    if truncation is None:
        return "faces from the face prior"
    return f"faces from the mapping network, truncation {truncation:g}"


def _labels(
    portraits: PortraitSet, faces: Sequence[Face | None]
) -> tuple[dict[str, tuple[str, ...]], list[float]]:
    """Returns the labels of all people by kind, and their typology angles in degrees.

    The last kind of label is the skin tone, which is derived from the angles.
    """
    angles = [
        float("nan") if face is None else typology_angle(photo, face)
        for photo, face in zip(portraits.photos, faces, strict=True)
    ]
    return {**portraits.labels, _SKIN_TONE: tuple(map(tone, angles))}, angles


def _measures(
    values: Mapping[str, PersonalValues], random: np.random.Generator, options: EvaluationOptions
) -> tuple[report.Measure, ...]:
    return tuple(
        report.Measure(
            name,
            measured.mean(),
            measured.interval(random, options.bootstrap),
            int(measured.usable.sum()),
        )
        for name, measured in values.items()
        if measured.usable.any()
    )


def _fairness(
    values: Mapping[str, PersonalValues],
    labels: Mapping[str, Sequence[str]],
    random: np.random.Generator,
    options: EvaluationOptions,
) -> tuple[report.FairnessGap, ...]:
    lines = []
    for by, names in labels.items():
        for measure, measured in values.items():
            found = largest_gap(measured, names, random, options.bootstrap, options.smallest_group)
            if found is None:
                continue
            mean = measured.mean()
            lines.append(
                report.FairnessGap(
                    measure=measure,
                    by=by,
                    groups=tuple(
                        report.GroupMean(group.name, group.count, group.mean)
                        for group in found.groups
                    ),
                    low=found.low,
                    high=found.high,
                    gap=found.gap,
                    relative_gap=found.gap / abs(mean) if mean else None,
                    interval=found.interval,
                    by_chance=found.by_chance,
                    p_value=found.p_value,
                )
            )
    return tuple(lines)


def _people(
    files: Sequence[str],
    labels: Mapping[str, Sequence[str]],
    angles: Sequence[float],
    values: Mapping[str, PersonalValues],
) -> tuple[report.Person, ...]:
    return tuple(
        report.Person(
            file=as_text(file),
            labels={by: names[index] for by, names in labels.items() if names[index]},
            typology_angle=angles[index] if math.isfinite(angles[index]) else None,
            values={
                name: float(measured.values[index])
                for name, measured in values.items()
                if math.isfinite(measured.values[index])
            },
        )
        for index, file in enumerate(files)
    )
