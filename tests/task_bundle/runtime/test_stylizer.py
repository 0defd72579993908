"""Tests of task_bundle.runtime.stylizer."""

import math
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import cv2
import numpy as np
import PIL.Image
import pytest
from native import HAS_NATIVE, native

from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError, ImageError
from task_bundle.faces.alignment import FaceCrop, FaceFinder
from task_bundle.faces.face_models import FaceModels
from task_bundle.mediapipe_import import import_mediapipe
from task_bundle.runtime.stylizer import FaceStylizer, FaceStylizerOptions
from task_bundle.runtime.stylizer_model import StylizerModel
from task_bundle.tflite import metadata

_BACKENDS = ["portable", pytest.param("native", marks=native)]


def _options(left=None, top=0.0, right=1.0, bottom=1.0, rotation=0) -> SimpleNamespace:
    """Has the attributes of MediaPipe's ImageProcessingOptions."""
    roi = None
    if left is not None:
        roi = SimpleNamespace(left=left, top=top, right=right, bottom=bottom)
    return SimpleNamespace(region_of_interest=roi, rotation_degrees=rotation)


@pytest.fixture(scope="module")
def bundle(make_stylizer, face_models) -> TaskBundle:
    """A bundle whose stylizer is the identity, so that its pictures are the crops."""
    return TaskBundle.build(make_stylizer(256), face_models)


@pytest.fixture(scope="module")
def portable(bundle: TaskBundle) -> Iterator[FaceStylizer]:
    with FaceStylizer.create_from_bundle(bundle, FaceStylizerOptions(backend="portable")) as made:
        yield made


@pytest.fixture(scope="module")
def google(bundle: TaskBundle):
    """Google's own task."""
    tasks = import_mediapipe().tasks
    base = tasks.BaseOptions(model_asset_buffer=bundle.to_bytes())
    options = tasks.vision.FaceStylizerOptions(base_options=base)
    with tasks.vision.FaceStylizer.create_from_options(options) as made:
        yield made


@pytest.fixture(scope="module")
def two_faces(grace_hopper: np.ndarray) -> np.ndarray:
    """A photo, [640, 1152, 3], the smaller face on the right. Its quarters are whole pixels."""
    canvas = np.full((640, 1152, 3), 90, np.uint8)
    canvas[20:620, 30:542] = grace_hopper
    small = cv2.resize(grace_hopper, (384, 450), interpolation=cv2.INTER_AREA)
    canvas[100:550, 680:1064] = small[:, ::-1]
    return canvas


@pytest.fixture(scope="module")
def generated_faces() -> np.ndarray:
    """Faces that the preset generated, [6, side, side, 3] uint8."""
    from mm_face_stylizer.practice_faces import practice_pictures

    return practice_pictures(256, 6)


def _turned(image: np.ndarray, degrees: float) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((265, 200), degrees, 1.0)
    matrix[:, 2] += [135, 200]
    return np.asarray(cv2.warpAffine(image, matrix, (800, 800), borderValue=(90, 90, 90)))


def _scaled(image: np.ndarray, scale: float) -> np.ndarray:
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def _assert_same_picture(found: np.ndarray, wanted: np.ndarray) -> None:
    """Checks that pictures differ by less than a gray level on average, and 0.1 pixels in place."""
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).mean() <= 1.0
    gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float) for image in (found, wanted)]
    shift, _ = cv2.phaseCorrelate(*gray)
    assert max(map(abs, shift)) < 0.1


_PHOTOS = {
    "as it is": lambda image: image,
    "a quarter": lambda image: _scaled(image, 0.25),
    "half": lambda image: _scaled(image, 0.5),
    "threefold": lambda image: _scaled(image, 3.0),
    "odd size": lambda image: image[:599, :511],
    **{
        f"turned by {degrees}": lambda image, degrees=degrees: _turned(image, degrees)
        for degrees in (-90, -60, -30, -10, 20, 45, 75, 90)
    },
    "cut on the left": lambda image: image[:, 240:],
    "cut on the right": lambda image: image[:, :300],
    "cut at the top": lambda image: image[170:],
    "cut at the chin": lambda image: image[:260],
    "gray": lambda image: cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
    "opaque": lambda image: np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]),
}


@native
@pytest.mark.parametrize("name", _PHOTOS)
def test_the_portable_backend_equals_the_native(
    name: str, portable, google, grace_hopper: np.ndarray
) -> None:
    photo = np.ascontiguousarray(_PHOTOS[name](grace_hopper))
    mediapipe = import_mediapipe()
    # Google's task does not accept gray pictures.
    given = photo if photo.ndim == 3 else np.ascontiguousarray(np.stack([photo] * 3, axis=2))
    kind = mediapipe.ImageFormat.SRGBA if given.shape[2] == 4 else mediapipe.ImageFormat.SRGB
    wanted = google.stylize(mediapipe.Image(image_format=kind, data=given))
    found = portable.stylize(photo)
    _assert_same_picture(found.numpy_view(), wanted.numpy_view()[..., :3])


@native
@pytest.mark.parametrize("rotation", [-90, 0, 90, 180, 270])
@pytest.mark.parametrize(
    "edges", [None, (0, 0, 0.5, 1), (0.5, 0, 1, 1), (0, 0, 0.75, 0.75), (0.5, 0.125, 1, 0.875)]
)
def test_the_backends_are_equal_in_a_region(
    edges, rotation: int, portable, google, two_faces: np.ndarray
) -> None:
    mediapipe = import_mediapipe()
    containers = mediapipe.tasks.components.containers
    photo = np.ascontiguousarray(np.rot90(two_faces, rotation // 90))
    roi = None
    if edges is not None:
        for _ in range(rotation // 90 % 4):
            edges = edges[1], 1 - edges[2], edges[3], 1 - edges[0]
        roi = containers.Rect(**dict(zip(("left", "top", "right", "bottom"), edges, strict=True)))
    options = mediapipe.tasks.vision.ImageProcessingOptions(roi, rotation)
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=photo)
    wanted, found = google.stylize(image, options), portable.stylize(photo, options)
    _assert_same_picture(found.image, wanted.numpy_view())


def _boxes(rng: np.random.Generator, crop: FaceCrop, height: int, width: int) -> Iterator[list]:
    """Yields relative edges of regions, some of which cut the crop."""
    half = crop.side / 2
    for inset in ((-0.4, 0.0), (-0.1, 0.15), (0.05, 0.3)):
        insets = rng.uniform(*inset, 4) * crop.side
        left, right = crop.center_x - half + insets[0], crop.center_x + half - insets[1]
        top, bottom = crop.center_y - half + insets[2], crop.center_y + half - insets[3]
        edges = np.array([left, top, right, bottom])
        if rng.random() < 0.5:  # Boxes of other detectors are in whole pixels.
            edges = np.round(edges)
        yield np.clip(edges / [width, height, width, height], 0, 1).tolist()


def _region_errors(portable, google, photo: np.ndarray, seed: int) -> list[float]:
    """Returns mean differences to the native backend, for regions of a photo and rotations."""
    mediapipe = import_mediapipe()
    rect = mediapipe.tasks.components.containers.Rect
    errors = []
    rng = np.random.default_rng(seed)
    height, width = photo.shape[:2]
    for edges in _boxes(rng, portable.stylize(photo).crop, height, width):
        turns = int(rng.integers(4))
        turned = np.ascontiguousarray(np.rot90(photo, turns))
        for _ in range(turns):
            edges = [edges[1], 1 - edges[2], edges[3], 1 - edges[0]]
        roi = rect(**dict(zip(("left", "top", "right", "bottom"), edges, strict=True)))
        options = mediapipe.tasks.vision.ImageProcessingOptions(roi, 90 * turns)
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=turned)
        found, wanted = portable.stylize(turned, options), google.stylize(image, options)
        assert (found is None) == (wanted is None)
        if found is not None:
            errors.append(np.abs(found.image.astype(int) - wanted.numpy_view()).mean())
    return errors


@native
def test_the_backends_are_equal_in_any_region(portable, google, grace_hopper: np.ndarray) -> None:
    errors = []
    for seed, name in enumerate(_PHOTOS):
        photo = np.ascontiguousarray(_PHOTOS[name](grace_hopper))
        if photo.ndim == 3 and photo.shape[2] == 3:
            errors += _region_errors(portable, google, photo, seed)
    assert len(errors) >= 40
    assert max(errors) <= 1.0
    # Most of the pictures are almost or exactly the same.
    assert np.median(errors) < 0.1


@native
def test_the_backends_are_equal_in_regions_of_generated_faces(
    portable, google, generated_faces
) -> None:
    errors = []
    for seed, face in enumerate(generated_faces):
        photo = np.full((420, 500, 3), 90, np.uint8)
        photo[60:380, 90:410] = _scaled(face, 320 / face.shape[0])
        if portable.stylize(photo) is not None:
            errors += _region_errors(portable, google, photo, seed)
    assert len(errors) >= 6
    assert max(errors) <= 1.0


@native
def test_the_backends_are_equal_on_generated_faces(portable, bundle, generated_faces) -> None:
    rng = np.random.default_rng(0)
    found = 0
    with FaceStylizer(bundle, FaceStylizerOptions(backend="native")) as google:
        for face in generated_faces:
            for side in (120, 256, 500):
                photo = rng.integers(60, 120, (700, 640, 3), np.uint8)
                x, y = rng.integers(0, 640 - side), rng.integers(0, 700 - side)
                photo[y : y + side, x : x + side] = _scaled(face, side / face.shape[0])
                pictures = portable.stylize(photo), google.stylize(photo)
                assert (pictures[0] is None) == (pictures[1] is None)
                if pictures[0] is not None:
                    found += 1
                    _assert_same_picture(pictures[0].image, pictures[1].image)
    assert found >= 9


@native
def test_the_native_backend_equals_googles_task(
    bundle: TaskBundle, google, grace_hopper: np.ndarray
) -> None:
    mediapipe = import_mediapipe()
    with FaceStylizer.create_from_bundle(bundle) as stylizer:
        assert stylizer.backend == "native"
        for turns in (0, 1, 2):
            photo = np.ascontiguousarray(np.rot90(grace_hopper, turns))
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=photo)
            options = mediapipe.tasks.vision.ImageProcessingOptions(rotation_degrees=90 * turns)
            wanted = google.stylize(image, options).numpy_view()
            np.testing.assert_array_equal(stylizer.stylize(image, options).numpy_view(), wanted)


@pytest.mark.parametrize("backend", _BACKENDS)
def test_every_way_to_open_a_bundle(backend, bundle, tmp_path, grace_hopper) -> None:
    bundle.save(tmp_path / "x.task")
    base = import_mediapipe().tasks.BaseOptions
    options = FaceStylizerOptions(backend=backend)
    by_path = FaceStylizerOptions(base(model_asset_path=str(tmp_path / "x.task")), backend)
    by_content = FaceStylizerOptions(base(model_asset_buffer=bundle.to_bytes()), backend)
    pictures = []
    for stylizer in (
        FaceStylizer.create_from_model_path(str(tmp_path / "x.task"), options),
        FaceStylizer.create_from_model_buffer(bundle.to_bytes(), options),
        FaceStylizer.create_from_bundle(bundle, options),
        FaceStylizer.create_from_options(by_path),
        FaceStylizer.create_from_options(by_content),
    ):
        with stylizer:
            assert stylizer.backend == backend
            pictures.append(stylizer.stylize(grace_hopper).image)
            assert stylizer.stylize(np.full((200, 200, 3), 80, np.uint8)) is None
            with pytest.raises(ImageError, match="float64"):
                stylizer.stylize(grace_hopper.astype(float))
    for picture in pictures[1:]:
        np.testing.assert_array_equal(picture, pictures[0])


def test_every_form_of_a_photo(portable, grace_hopper_file, grace_hopper) -> None:
    mediapipe = import_mediapipe()
    wanted = portable.stylize(grace_hopper).image
    for photo in (
        grace_hopper_file,
        str(grace_hopper_file),
        PIL.Image.fromarray(grace_hopper),
        mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.array(grace_hopper)),
    ):
        np.testing.assert_array_equal(portable.stylize(photo).image, wanted)


def test_the_result_is_the_crop_of_the_face(portable, face_models, grace_hopper) -> None:
    result = portable.stylize(grace_hopper)
    with FaceFinder(face_models, max_faces=1) as finder:
        (face,) = finder.find(grace_hopper)
    assert result.crop == face.crop
    np.testing.assert_array_equal(result.landmarks, face.landmarks)
    np.testing.assert_array_equal(result.image, face.crop.crop(grace_hopper, 256))
    np.testing.assert_array_equal(portable.align(grace_hopper), result.image)
    assert (result.width, result.height) == (256, 256)
    view = result.numpy_view()
    np.testing.assert_array_equal(view, result.image)
    assert not view.flags.writeable and result.image.flags.writeable
    matrix = result.matrix @ [face.crop.center_x, face.crop.center_y, 0, 1]
    np.testing.assert_allclose(matrix, [128, 128, 0, 1], atol=1e-9)


@native
@pytest.mark.parametrize("size", [(192, 128), (96, 160)])
def test_stylizers_need_not_be_square(size, make_stylizer, face_models, grace_hopper):
    oblong = TaskBundle.build(make_stylizer(shape=[1, *size, 3]), face_models)
    pictures = {}
    for backend in ("portable", "native"):
        with FaceStylizer(oblong, FaceStylizerOptions(backend=backend)) as stylizer:
            for degrees in (0, 25):
                pictures[backend, degrees] = stylizer.stylize(_turned(grace_hopper, degrees)).image
    for degrees in (0, 25):
        assert pictures["portable", degrees].shape == (*size, 3)
        _assert_same_picture(pictures["portable", degrees], pictures["native", degrees])


@pytest.mark.parametrize("backend", _BACKENDS)
def test_align_has_the_stylizers_input_size(backend, make_stylizer, face_models, grace_hopper):
    small = TaskBundle.build(make_stylizer(96), face_models)
    with FaceStylizer(small, FaceStylizerOptions(backend=backend)) as stylizer:
        aligned = stylizer.align(grace_hopper)
        result = stylizer.stylize(grace_hopper)
        np.testing.assert_array_equal(aligned, result.crop.crop(grace_hopper, 96))
        assert stylizer.align(np.zeros((99, 99, 3), np.uint8)) is None
        assert stylizer.align(grace_hopper, _options(0, 0.8, 0.2, 1)) is None


def test_only_the_face_in_the_region_is_stylized(portable, two_faces: np.ndarray) -> None:
    left = portable.stylize(two_faces, _options(0, 0, 0.5, 1))
    right = portable.stylize(two_faces, _options(0.5, 0, 1, 1))
    assert left.crop.center_x == pytest.approx(30 + 265, abs=5)
    assert right.crop.center_x == pytest.approx(1064 - 265 * 0.75, abs=5)
    assert portable.stylize(two_faces, _options(0.9, 0.8, 1, 1)) is None
    with pytest.raises(ValueError, match="multiple of 90"):
        portable.stylize(two_faces, _options(rotation=30))


def test_several_faces_are_stylized(bundle: TaskBundle, two_faces: np.ndarray) -> None:
    with FaceStylizer(bundle, FaceStylizerOptions(num_faces=3)) as stylizer:
        assert stylizer.backend == "portable"
        big, small = stylizer.stylize_all(two_faces)
        assert stylizer.stylize(two_faces).crop == big.crop
        assert stylizer.stylize_all(np.zeros((99, 99, 3), np.uint8)) == []
        for moment in (0, 40, 80):
            frames = stylizer.stylize_all(two_faces, None, moment)
    assert big.crop.side > 1.2 * small.crop.side
    assert big.crop.center_x < 576 < small.crop.center_x
    for found in (big, small):
        np.testing.assert_array_equal(found.image, found.crop.crop(two_faces, 256))
    assert [f.crop.center_x for f in frames] == pytest.approx(
        [big.crop.center_x, small.crop.center_x], abs=8
    )


def test_strength_blends_with_the_aligned_face(make_stylizer, face_models, grace_hopper) -> None:
    darker = TaskBundle.build(make_stylizer(128, gain=0.5), face_models)
    pictures = {}
    for strength in (0.0, 0.25, 1.0):
        options = FaceStylizerOptions(backend="portable", strength=strength)
        with FaceStylizer(darker, options) as stylizer:
            pictures[strength] = stylizer.stylize(grace_hopper).image
            aligned = stylizer.align(grace_hopper)
    np.testing.assert_array_equal(pictures[0.0], aligned)
    np.testing.assert_allclose(pictures[1.0], aligned / 2, atol=0.51)
    np.testing.assert_allclose(pictures[0.25], aligned * 0.875, atol=1.01)


@pytest.mark.parametrize("backend", _BACKENDS)
def test_pixels_are_normalized_as_the_metadata_say(
    backend, make_stylizer, face_models, grace_hopper, monkeypatch
) -> None:
    monkeypatch.setattr(metadata, "NORM_MEAN", 127.5)
    monkeypatch.setattr(metadata, "NORM_STD", 127.5)
    other = TaskBundle.build(make_stylizer(256), face_models)
    with FaceStylizer(other, FaceStylizerOptions(backend=backend)) as stylizer:
        result = stylizer.stylize(grace_hopper)
        aligned = stylizer.align(grace_hopper)
    wanted = np.clip(aligned.astype(float) * 2 - 255, 0, 255)
    assert np.abs(result.image - wanted).mean() < 0.6


@pytest.mark.parametrize("backend", _BACKENDS)
def test_a_closed_stylizer_says_so(backend, bundle, grace_hopper) -> None:
    stylizer = FaceStylizer(bundle, FaceStylizerOptions(backend=backend))
    picture = stylizer.stylize(grace_hopper).image
    before = picture.copy()
    stylizer.stylize_for_video(grace_hopper, 0)
    stylizer.close()
    stylizer.close()
    np.testing.assert_array_equal(picture, before)
    for call in (
        lambda: stylizer.stylize(grace_hopper),
        lambda: stylizer.stylize_all(grace_hopper),
        lambda: stylizer.stylize_for_video(grace_hopper, 40),
        lambda: stylizer.align(grace_hopper),
    ):
        with pytest.raises(ValueError, match="stylizer is closed"):
            call()


@pytest.mark.parametrize("backend", _BACKENDS)
def test_threads_may_share_one(backend, bundle, grace_hopper) -> None:
    photos = [np.ascontiguousarray(grace_hopper[:, ::step]) for step in (1, -1)]
    wrong: list[object] = []
    with FaceStylizer(bundle, FaceStylizerOptions(backend=backend)) as stylizer:
        wanted = [stylizer.stylize(photo).image for photo in photos]

        def work(index: int) -> None:
            try:
                for _ in range(4):
                    found = stylizer.stylize(photos[index % 2]).image
                    np.testing.assert_array_equal(found, wanted[index % 2])
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_calls_wait_for_each_other(bundle, grace_hopper, monkeypatch) -> None:
    inside: list[int] = []
    most: list[int] = []

    def run(model: StylizerModel, crop: np.ndarray) -> np.ndarray:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        return crop

    monkeypatch.setattr(StylizerModel, "run", run)
    with FaceStylizer(bundle, FaceStylizerOptions(backend="portable")) as stylizer:
        threads = [
            threading.Thread(target=stylizer.stylize, args=(grace_hopper,)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == [1, 1, 1, 1]


@pytest.mark.parametrize("backend", _BACKENDS)
def test_a_still_face_gives_a_still_picture(backend, bundle, grace_hopper) -> None:
    rng = np.random.default_rng(0)
    with FaceStylizer(bundle, FaceStylizerOptions(backend=backend)) as stylizer:
        still = [stylizer.stylize_for_video(grace_hopper, 40 * i) for i in range(4)]
        noisy = []
        for i in range(4, 40):
            frame = np.clip(grace_hopper + rng.normal(0, 8, grace_hopper.shape), 0, 255)
            noisy.append(stylizer.stylize_for_video(frame.astype(np.uint8), 40 * i).crop)
        photo = stylizer.stylize(grace_hopper)
    for result in still[1:]:
        np.testing.assert_array_equal(result.image, still[0].image)
    # Noise of the camera moves the crops of single photos by pixels, but not those of a video.
    assert len(set(noisy[5:])) <= 2
    assert noisy[-1].center_x == pytest.approx(photo.crop.center_x, abs=4)
    assert noisy[-1].side == pytest.approx(photo.crop.side, abs=12)


def test_a_moving_face_is_followed(portable, bundle, grace_hopper) -> None:
    with FaceStylizer(bundle, FaceStylizerOptions(backend="portable")) as stylizer:
        for i in range(25):
            turned = _turned(grace_hopper, i)
            frame = np.roll(turned, 4 * i, axis=1)
            result = stylizer.stylize_for_video(frame, 40 * i)
        with pytest.raises(ValueError, match="increase"):
            stylizer.stylize_for_video(frame, 40 * i)
    wanted = portable.stylize(frame)
    assert result.crop.center_x == pytest.approx(wanted.crop.center_x, abs=12)
    assert result.crop.rotation == pytest.approx(wanted.crop.rotation, abs=0.06)
    assert math.degrees(wanted.crop.rotation) < -20


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"backend": "best"}, "auto, native, portable"),
        ({"num_faces": 0}, "num_faces"),
        ({"strength": 1.1}, "strength"),
        ({"strength": float("nan")}, "strength"),
        ({"threads": 0}, "threads"),
        ({"backend": "native", "num_faces": 2}, "one face"),
    ],
)
def test_options_out_of_range(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FaceStylizerOptions(**settings)


def test_options_that_contradict_each_other(bundle: TaskBundle) -> None:
    base = import_mediapipe().tasks.BaseOptions
    gpu = base(model_asset_buffer=bundle.to_bytes(), delegate=base.Delegate.GPU)
    for settings in ({"backend": "portable"}, {"num_faces": 2}):
        with pytest.raises(ValueError, match="GPU"):
            FaceStylizer.create_from_options(FaceStylizerOptions(gpu, **settings))
    with pytest.raises(ValueError, match="create_from_options"):
        FaceStylizer.create_from_bundle(bundle, FaceStylizerOptions(gpu))
    for empty in (None, base()):
        with pytest.raises(ValueError, match="path or content"):
            FaceStylizer.create_from_options(FaceStylizerOptions(empty))


def test_a_file_that_is_no_bundle(tmp_path) -> None:
    (tmp_path / "x.task").write_bytes(b"nonsense")
    with pytest.raises(BundleError, match="x.task"):
        FaceStylizer.create_from_model_path(tmp_path / "x.task")


@pytest.mark.parametrize("backend", _BACKENDS)
def test_face_models_that_find_no_faces(backend, make_stylizer) -> None:
    models = FaceModels(make_stylizer(128), make_stylizer(192), "stand-ins")
    with pytest.raises(BundleError, match="face models of the bundle|in the bundle is not"):
        FaceStylizer(
            TaskBundle.build(make_stylizer(64), models), FaceStylizerOptions(backend=backend)
        )


@pytest.mark.skipif(HAS_NATIVE, reason="this mediapipe has FaceStylizer")
def test_without_the_native_task_the_error_says_what_to_install(bundle) -> None:
    with pytest.raises(ImportError, match="0.10.21"):
        FaceStylizer(bundle, FaceStylizerOptions(backend="native"))
