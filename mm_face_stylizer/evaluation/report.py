"""Results of an evaluation, in the format of `evaluation.json`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from task_bundle.result import CONFIG, Count, Instant, Result, Sha256, Text

FORMAT: Final = "mm-face-stylizer-evaluation"
VERSION: Final = 1

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Interval = tuple[float, float]
# A file name without folders. Reports leave out folders because they can reveal private paths.
FileName = Annotated[str, Field(pattern=r"^[^/\\]+$")]


@dataclass(frozen=True, config=CONFIG)
class SubjectFacts:
    """The preset or bundle that was evaluated.

    Attributes:
      name: the name of a preset, or the file name of a bundle.
      kind: 'preset' or 'bundle'.
      sha256: SHA-256 of a preset's weights or of a bundle's file, in hexadecimal.
      side: side of the input portraits in pixels.
    """

    name: Text
    kind: Literal["preset", "bundle"]
    sha256: Sha256
    side: Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=CONFIG)
class FaceModelFacts:
    """The models that found faces and landmarks.

    Attributes:
      source: the file or package that the models were read from.
      detector_sha256: SHA-256 of the face detector, in hexadecimal.
      landmarks_sha256: SHA-256 of the landmark model, in hexadecimal.
    """

    source: Text
    detector_sha256: Sha256
    landmarks_sha256: Sha256


@dataclass(frozen=True, config=CONFIG)
class FacesFacts:
    """The portraits of an evaluation.

    Attributes:
      count: number of portraits that were evaluated.
      only_held_out: whether pictures that presets are trained on were left out.
      rule: the rule that decides which pictures are held out of training, in words.
      aligned_here: True if faces were found and cropped in photos; False if the pictures were
        cropped already.
      without_face: names of the files that were left out because no face was found in them.
    """

    count: Annotated[int, Field(ge=1)]
    only_held_out: bool
    rule: Text
    aligned_here: bool
    without_face: tuple[FileName, ...] = ()


@dataclass(frozen=True, config=CONFIG)
class IdentityFacts:
    """How identity was measured.

    Attributes:
      space: short description of the identity embedding.
      sha256: SHA-256 of the weights of the embedding, in hexadecimal.
      dimensions: number of dimensions of the embedding.
      gallery: number of portraits that took part in the identity measures.
      people: number of people in each gallery of the rank-1 test; `rank1_identity` is the expected
        share over all galleries of this size.
      sources_left_out: sources of portraits that were left out of the identity measures, because
        the same people may appear in other sources.
    """

    space: Text
    sha256: Sha256
    dimensions: Annotated[int, Field(ge=1)]
    gallery: Count
    people: Count
    sources_left_out: tuple[str, ...] = ()


@dataclass(frozen=True, config=CONFIG)
class Measure:
    """The mean of one measure over all people.

    Attributes:
      name: a key of `MEASURES`.
      mean: the mean over all people; for measures that are ratios, the ratio of the sums.
      interval: 95% bootstrap interval of the mean.
      count: number of people that have a value.
    """

    name: Text
    mean: float
    interval: Interval
    count: Count


@dataclass(frozen=True, config=CONFIG)
class GroupMean:
    """The mean of one measure over the people that share a label.

    Attributes:
      name: the label.
      count: number of people in the group that have a value.
      mean: the mean of their values.
    """

    name: Text
    count: Count
    mean: float


@dataclass(frozen=True, config=CONFIG)
class FairnessGap:
    """The largest gap between groups for one measure and one kind of label.

    Attributes:
      measure: name of a measure of the evaluation.
      by: kind of label: 'gender', 'age', 'race' or 'skin_tone'.
      groups: all groups, sorted by name, including those too small to be compared.
      low: name of the group with the smallest mean, among the groups that are compared.
      high: name of the group with the largest mean, among the groups that are compared.
      gap: mean of `high` minus mean of `low`.
      interval: 95% bootstrap interval of the gap between these two groups.
      by_chance: mean of the largest gap when labels are shuffled among the people, which is the gap
        to expect between groups of these sizes without any real difference.
      p_value: share of shuffles with a gap at least as large.
      relative_gap: `gap` divided by the absolute mean over all people; None if that mean is zero.
    """

    measure: Text
    by: Text
    groups: tuple[GroupMean, ...]
    low: Text
    high: Text
    gap: Annotated[float, Field(ge=0.0)]
    interval: Interval
    by_chance: Annotated[float, Field(ge=0.0)]
    p_value: Share
    relative_gap: float | None = None


@dataclass(frozen=True, config=CONFIG)
class StyleFacts:
    """The style pictures of a stylization.

    Attributes:
      files: file names without extension.
      photos_distance: mean distance of the photos from the style before stylization, in standard
        deviations of patches and colors. The style measures are relative to it.
      between_styles: mean distance of each style picture from the others, divided by
        `photos_distance`. An output in exactly this style has about this `style_distance`. None if
        there is only one style picture.
      photos_feature_distance: mean distance of the photos from the nearest style picture in the
        features of EfficientNet-Lite0, which `style_feature_distance` is relative to. None if it
        was not measured.
    """

    files: tuple[FileName, ...]
    photos_distance: Annotated[float, Field(ge=0.0)]
    between_styles: Annotated[float, Field(ge=0.0)] | None = None
    photos_feature_distance: Annotated[float, Field(ge=0.0)] | None = None


@dataclass(frozen=True, config=CONFIG)
class NotMeasured:
    """Measures that were left out because something is not installed.

    Attributes:
      measures: keys of `MEASURES`.
      reason: what is missing, and how to install it.
    """

    measures: tuple[Text, ...]
    reason: Text


@dataclass(frozen=True, config=CONFIG)
class GeneratedFaces:
    """Random faces that a preset generated.

    Attributes:
      drawn_by: where the latents come from: 'mapping' for w+ latents of the mapping network, or
        'prior' for latents of the face prior, as in few-shot training.
      count: number of faces.
      face_found: share of the generated pictures in which a face is found.
      face_found_interval: 95% Wilson interval of `face_found`.
      frechet_distance: squared Fréchet distance from the portraits, in the identity embedding.
      portraits: number of portraits that the faces were compared with.
      truncation: truncation of the mapping network's latents; None for the prior.
    """

    drawn_by: Literal["mapping", "prior"]
    count: Count
    face_found: Share
    face_found_interval: Interval
    frechet_distance: Annotated[float, Field(ge=0.0)]
    portraits: Count
    truncation: Share | None = None


@dataclass(frozen=True, config=CONFIG)
class Person:
    """The labels and values of one portrait.

    Attributes:
      file: file name of the portrait.
      labels: labels by kind: those of the CSV file, and the measured skin tone.
      values: values by the name of the measure; measures without a value are left out.
      typology_angle: individual typology angle of the cheeks in degrees; None if it could not be
        measured.
    """

    file: FileName
    labels: dict[str, str]
    values: dict[str, float]
    typology_angle: float | None = None


@dataclass(frozen=True, config=CONFIG)
class Evaluation(Result):
    """All results of an evaluation.

    Attributes:
      began: start time in UTC.
      seconds: duration of the evaluation in seconds.
      options: the settings, by their names in `EvaluationOptions`.
      subject: the preset or bundle that was evaluated.
      task: 'reconstruction', or 'stylization' if style pictures were given.
      face_models: the models that found faces and landmarks.
      faces: the portraits.
      identity: how identity was measured.
      measures: the mean of each measure.
      fairness: the gaps between groups.
      people: the values of each portrait.
      style: the style pictures; None for a reconstruction.
      generated: the random faces of a preset; empty for a bundle.
      not_measured: the measures that were left out because something is not installed.
      format: `FORMAT`.
      version: `VERSION`, which increases when the format changes incompatibly.
    """

    kind: ClassVar[str] = "an evaluation"

    began: Instant
    seconds: Annotated[float, Field(ge=0.0)]
    options: dict[str, Any]
    subject: SubjectFacts
    task: Literal["reconstruction", "stylization"]
    face_models: FaceModelFacts
    faces: FacesFacts
    identity: IdentityFacts
    measures: tuple[Measure, ...]
    fairness: tuple[FairnessGap, ...]
    people: tuple[Person, ...]
    style: StyleFacts | None = None
    generated: tuple[GeneratedFaces, ...] = ()
    not_measured: tuple[NotMeasured, ...] = ()
    format: Literal["mm-face-stylizer-evaluation"] = FORMAT
    version: Literal[1] = VERSION

    def __post_init__(self) -> None:
        """Checks that the results are consistent.

        Raises:
          ValueError: a measure is unknown, listed twice, or both listed and left out, a gap refers
            to a measure that is not listed, or the number of people is not that of the portraits.
        """
        names = [measure.name for measure in self.measures]
        if unknown := sorted(set(names) - set(MEASURES)):
            raise ValueError(f"unknown measure {unknown[0]!r}")
        if len(set(names)) < len(names):
            raise ValueError("a measure is listed twice")
        for left_out in self.not_measured:
            if unknown := sorted(set(left_out.measures) - (set(MEASURES) - set(names))):
                raise ValueError(f"{unknown[0]!r} cannot be among the measures left out")
        for line in self.fairness:
            if line.measure not in names:
                raise ValueError(f"a gap refers to {line.measure!r}, which was not measured")
        if len(self.people) != self.faces.count:
            raise ValueError(
                f"there are {len(self.people)} people, not {self.faces.count} as faces.count says"
            )

    def measure(self, name: str) -> Measure:
        """Returns the result of a measure.

        Args:
          name: a key of `MEASURES`.

        Raises:
          KeyError: the evaluation does not have this measure.
        """
        for measure in self.measures:
            if measure.name == name:
                return measure
        raise KeyError(name)


# Unit and meaning of each measure. People in whose photo no face is found are left out of
# face_found and landmark_error.
MEASURES: Final = {
    "psnr": ("dB", "peak signal-to-noise ratio of the reconstruction; higher is better"),
    "ms_ssim": ("1", "multi-scale structural similarity; 1 is equal"),
    "feature_distance": ("1", "L1 of face mesh features relative to the photo's; lower is better"),
    "sharpness": (
        "1",
        "energy of the finest Laplacian level relative to the photo's; 1 is as sharp",
    ),
    "face_found": ("share", "outputs in which a face is found; higher is better"),
    "landmark_error": (
        "% of the inter-ocular distance",
        "mean distance of the 468 landmarks; lower is better",
    ),
    "rank1_identity": ("share", "outputs whose nearest portrait is their own; higher is better"),
    "identity_similarity": ("1", "cosine with the own portrait; 1 is equal, others have about 0"),
    "dlib_rank1_identity": (
        "share",
        "outputs whose nearest portrait is their own by dlib's network; higher is better",
    ),
    "dlib_identity_distance": (
        "1",
        "distance from the own portrait by dlib's network; below 0.45 for the same person",
    ),
    "style_distance": ("1", "mean of patches and color, relative to the photo's; lower is better"),
    "style_patches": ("1", "sliced Wasserstein distance of patches relative to the photo's"),
    "style_colour": ("1", "sliced Wasserstein distance of colors relative to the photo's"),
    "style_feature_distance": (
        "1",
        "distance from the nearest style picture by a trained network's features, relative to the "
        "photo's; 1 if no style has arrived, lower is better",
    ),
    "residue": (
        "1",
        "correlation with the photo's finest detail; a filter over the photo has 0.8 and more, "
        "independent strokes 0.2",
    ),
}
