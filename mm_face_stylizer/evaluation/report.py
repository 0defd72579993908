"""Results of an evaluation: the format of `evaluation.json`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from task_bundle.result import CONFIG, Count, Instant, Result, Sha256, Text

FORMAT: Final = "mm-face-stylizer-evaluation"
VERSION: Final = 1

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Interval = tuple[float, float]
# A file's name without folders: where a picture lies is nobody's business.
FileName = Annotated[str, Field(pattern=r"^[^/\\]+$")]


@dataclass(frozen=True, config=CONFIG)
class SubjectFacts:
    """What was evaluated.

    Attributes:
      name: a preset's name, a bundle's file.
      kind: 'preset' or 'bundle'.
      sha256: of a preset's weights, of a bundle.
      side: side in pixels of the portraits that it takes.
    """

    name: Text
    kind: Literal["preset", "bundle"]
    sha256: Sha256
    side: Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=CONFIG)
class FaceModelFacts:
    """What faces and landmarks were found with.

    Attributes:
      source: where the models come from.
      detector_sha256: of the detector.
      landmarks_sha256: of the face mesh.
    """

    source: Text
    detector_sha256: Sha256
    landmarks_sha256: Sha256


@dataclass(frozen=True, config=CONFIG)
class FacesFacts:
    """The people.

    Attributes:
      count: portraits that were evaluated.
      only_held_out: whether pictures that presets are trained on were left out.
      rule: how they are told apart.
      aligned_here: whether faces were found in photos and cropped, or pictures were crops already.
      without_face: files left out, since no face was found to align.
    """

    count: Annotated[int, Field(ge=1)]
    only_held_out: bool
    rule: Text
    aligned_here: bool
    without_face: tuple[FileName, ...] = ()


@dataclass(frozen=True, config=CONFIG)
class IdentityFacts:
    """How identity was judged.

    Attributes:
      space: the feature space, in words.
      sha256: of its weights.
      dimensions: of an embedding.
      gallery: portraits among which the right one is to be the nearest.
      people: size of the galleries that rank-1 shares are for: galleries of so many are drawn from
        all, and the share is the expectation over them.
      sources_left_out: sources of portraits that took no part, since their people may be in others,
        too.
    """

    space: Text
    sha256: Sha256
    dimensions: Annotated[int, Field(ge=1)]
    gallery: Count
    people: Count
    sources_left_out: tuple[str, ...] = ()


@dataclass(frozen=True, config=CONFIG)
class Measure:
    """One number for all people.

    Attributes:
      name: see `MEASURES`.
      mean: of all people; of a ratio, the ratio of the sums.
      interval: 95% bootstrap interval of the mean.
      count: people that have a value.
    """

    name: Text
    mean: float
    interval: Interval
    count: Count


@dataclass(frozen=True, config=CONFIG)
class GroupMean:
    """People with a label in common.

    Attributes:
      name: the label.
      count: how many of them have a value.
      mean: of theirs.
    """

    name: Text
    count: Count
    mean: float


@dataclass(frozen=True, config=CONFIG)
class FairnessGap:
    """A line of the fairness table: one measure, by one kind of group.

    Attributes:
      measure: a `Measure.name` of the evaluation.
      by: 'gender', 'age', 'race' or 'skin_tone'.
      groups: all groups, by name, those too small to be compared as well.
      low: the group with the least mean, among those compared.
      high: the group with the greatest.
      gap: difference of their means.
      interval: 95% bootstrap interval of the gap of these two groups.
      by_chance: mean largest gap with labels shuffled among the people: groups of these sizes would
        differ by so much anyway.
      p_value: share of shuffles with a gap at least as large.
      relative_gap: the gap by the mean of all people; None where that is zero.
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
    """The style pictures.

    Attributes:
      files: their names, without the extension.
      photos_distance: mean distance of the unstylized photos, which the style measures are relative
        to; in standard deviations of patches and colours.
      between_styles: distance of each style picture from the others by `photos_distance`: what
        pictures of the style would have; None if there is one only.
    """

    files: tuple[FileName, ...]
    photos_distance: Annotated[float, Field(ge=0.0)]
    between_styles: Annotated[float, Field(ge=0.0)] | None = None


@dataclass(frozen=True, config=CONFIG)
class GeneratedFaces:
    """Faces that a preset makes up.

    Attributes:
      drawn_by: 'mapping', w+ latents of the mapping network; or 'prior', all latents, as few-shot
        training draws them.
      count: how many.
      face_found: share in which a face is found.
      face_found_interval: its 95% interval (Wilson).
      frechet_distance: to the portraits, in the space of identities.
      portraits: how many portraits they were compared with.
      truncation: of the mapping network's latents; None for the prior, which has its own.
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
    """One portrait.

    Attributes:
      file: its name.
      labels: what the list says, and the measured skin tone.
      values: by a measure's name; measures without a value are left out.
      typology_angle: individual typology angle of the cheeks, degrees; None where it could not be
        measured.
    """

    file: FileName
    labels: dict[str, str]
    values: dict[str, float]
    typology_angle: float | None = None


@dataclass(frozen=True, config=CONFIG)
class Evaluation(Result):
    """All results.

    Attributes:
      began: when, UTC.
      seconds: how long it took.
      options: what decides the numbers, by name: seeds, counts, truncation.
      subject: what was evaluated.
      task: 'reconstruction', or 'stylization' where style pictures were given.
      face_models: what judged the faces.
      faces: the people.
      identity: how identity was judged.
      measures: the results.
      fairness: the results by group.
      people: the results by person.
      style: the style pictures, of a stylization.
      generated: what a preset makes up.
      format: `FORMAT`.
      version: `VERSION`, which grows when old readers would misunderstand.
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
    format: Literal["mm-face-stylizer-evaluation"] = FORMAT
    version: Literal[1] = VERSION

    def __post_init__(self) -> None:
        """Checks that names are known and that lines refer to what is there.

        Raises:
          ValueError: they are not, or do not.
        """
        names = [measure.name for measure in self.measures]
        if unknown := sorted(set(names) - set(MEASURES)):
            raise ValueError(f"there is no measure {unknown[0]!r}")
        if len(set(names)) < len(names):
            raise ValueError("a measure is there twice")
        for line in self.fairness:
            if line.measure not in names:
                raise ValueError(f"a gap is of {line.measure!r}, which was not measured")
        if len(self.people) != self.faces.count:
            raise ValueError(f"there are {len(self.people)} people, not {self.faces.count}")

    def measure(self, name: str) -> Measure:
        """Returns a measure by its name.

        Raises:
          KeyError: it was not measured.
        """
        for measure in self.measures:
            if measure.name == name:
                return measure
        raise KeyError(name)


# Every measure, its unit, and what it means; faces are looked for in the output alone where one is
# found in the photo.
MEASURES: Final = {
    "psnr": ("dB", "peak signal-to-noise ratio of the reconstruction; more is better"),
    "ms_ssim": ("1", "multi-scale structural similarity; 1 is equal"),
    "feature_distance": ("1", "L1 of face-mesh features relative to the photo's; less is better"),
    "sharpness": ("1", "energy of the finest Laplacian level, of the photo's; 1 is as sharp"),
    "face_found": ("share", "outputs in which a face is found; more is better"),
    "landmark_error": ("% of the inter-ocular distance", "mean distance of the 468 landmarks"),
    "rank1_identity": ("share", "outputs whose nearest portrait is their own; more is better"),
    "identity_similarity": ("1", "cosine with the own portrait; 1 is equal, strangers have 0"),
    "style_distance": ("1", "patches and colour together, of the photo's; less is better"),
    "style_patches": ("1", "sliced Wasserstein distance of patches, of the photo's"),
    "style_colour": ("1", "sliced Wasserstein distance of colours, of the photo's"),
}
