"""Tests of task_bundle.faces.face_graph: what MediaPipe's own tasks find, number by number."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from native import HAS_NATIVE, native

from task_bundle.errors import BundleError
from task_bundle.faces import face_graph
from task_bundle.faces.alignment import FaceFinder, _faces
from task_bundle.faces.face_graph import FaceGraph
from task_bundle.faces.face_models import FaceModels
from task_bundle.faces.region import Region
from task_bundle.mediapipe_import import import_mediapipe

# MediaPipe 0.10.21 and this package compute the same numbers. MediaPipe 1.x differs a little from
# 0.10.21.
_PIXELS = 2e-3 if HAS_NATIVE else 0.3


@pytest.fixture(scope="module")
def graph(face_models: FaceModels) -> FaceGraph:
    return FaceGraph(face_models, max_faces=4)


@pytest.fixture(scope="module")
def finder(face_models: FaceModels):
    with FaceFinder(face_models, max_faces=4) as made:
        yield made


def _three_faces(portrait: np.ndarray) -> np.ndarray:
    """Returns [720, 760, 3]: a big head at the upper left, smaller ones to its right and below."""
    head = portrait[50:410, 85:445]
    small = cv2.resize(head, (300, 300), interpolation=cv2.INTER_AREA)
    canvas = np.full((720, 760, 3), 90, np.uint8)
    canvas[:360, :360] = head
    canvas[20:320, 440:740] = small[:, ::-1]
    canvas[400:700, 20:320] = cv2.GaussianBlur(small, (5, 5), 0)
    return canvas


_PHOTOS = {
    "as it is": lambda image: image,
    "small, of odd size": lambda image: cv2.resize(image, (131, 157), None, 0, 0, cv2.INTER_AREA),
    "wide": lambda image: cv2.resize(image, (1111, 900), None, 0, 0, cv2.INTER_CUBIC),
    "cut on the left": lambda image: image[:, 240:],
    "cut at the top": lambda image: image[150:],
    "three faces": _three_faces,
}


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("name", _PHOTOS)
def test_landmarks_of_whole_photos_are_face_landmarkers(
    name, rotation: int, graph, finder, grace_hopper: np.ndarray
) -> None:
    photo = np.ascontiguousarray(np.rot90(_PHOTOS[name](grace_hopper), rotation // 90))
    region = Region(rotation_degrees=rotation)
    # A face may be detected twice. Sorted by the noses, because the sizes are almost equal.
    found, wanted = (
        sorted((face.landmarks for face in faces), key=lambda points: tuple(points[1]))
        for faces in (_faces(graph.run(photo, region), True), finder.find(photo, region))
    )
    assert len(found) == len(wanted) == (3 if name == "three faces" else 1)
    for points, other in zip(found, wanted, strict=True):
        assert points.shape == (478, 3)
        np.testing.assert_allclose(points, other, rtol=0, atol=_PIXELS)


def test_landmarks_hardly_depend_on_the_region(graph, grace_hopper: np.ndarray) -> None:
    (whole,) = graph.run(grace_hopper, Region())
    first, last = whole[:, :2].min(axis=0), whole[:, :2].max(axis=0)
    middle, half = (first + last) / 2, (last - first) / 2
    for scale in (0.95, 1.1, 1.5):
        edges = np.concatenate([middle - scale * half, middle + scale * half])
        (points,) = graph.run(grace_hopper, Region(*(edges / [512, 600, 512, 600]).tolist()))
        # If the region cut off the input of the landmark model, the difference would be 10 pixels.
        assert np.linalg.norm((points - whole)[:, :2], axis=1).mean() < 3


def test_only_faces_in_the_region(face_models, grace_hopper: np.ndarray) -> None:
    photo = _three_faces(grace_hopper)
    graph = FaceGraph(face_models, max_faces=4)
    for left, top in ((0, 0), (400, 0), (0, 370)):
        region = Region(left / 760, top / 720, (left + 360) / 760, (top + 350) / 720)
        (points,) = graph.run(photo, region)
        assert left < points[1, 0] < left + 360 and top < points[1, 1] < top + 350
    assert len(graph.run(photo, Region(bottom=0.5))) == 2
    assert len(FaceGraph(face_models, max_faces=1).run(photo, Region())) == 1
    assert graph.run(photo, Region(left=0.6, top=0.6)) == []


def test_the_square_of_a_region() -> None:
    photo = np.array([200, 100], np.float32)
    upright = face_graph._Rect.of_region(Region(0.25, 0.1, 0.35, 0.5), photo)
    np.testing.assert_allclose(upright.center, [60, 30], rtol=1e-6)
    np.testing.assert_allclose(upright.size, [40, 40], rtol=1e-6)
    turned = face_graph._Rect.of_region(Region(0.25, 0.1, 0.35, 0.5, 90), photo)
    np.testing.assert_allclose(turned.center, upright.center)
    np.testing.assert_allclose(turned.size, upright.size, rtol=1e-6)
    assert turned.angle == pytest.approx(-np.pi / 2)


@native
def test_the_square_of_a_region_is_mediapipes_to_the_last_bit() -> None:
    mediapipe = import_mediapipe()
    core = import_mediapipe("mediapipe.tasks.python.vision.core.base_vision_task_api")
    rng = np.random.default_rng(0)
    for index in range(200):
        (left, right), (top, bottom) = np.sort(rng.uniform(0, 1, (2, 2)), axis=1).tolist()
        region = Region(left, top, right, bottom, 90 * (index % 4))
        height, width = rng.integers(100, 900, 2).tolist()
        wanted = core.BaseVisionTaskApi.convert_to_normalized_rect(
            None, region.mediapipe_options(mediapipe), SimpleNamespace(height=height, width=width)
        ).to_pb2()
        photo = np.array([width, height], np.float32)
        square = face_graph._Rect.of_region(region, photo)
        center = np.array([wanted.x_center, wanted.y_center], np.float32) * photo
        extent = np.array([wanted.width, wanted.height], np.float32) * photo
        np.testing.assert_array_equal(square.center, center)
        np.testing.assert_array_equal(square.size, extent.max())
        assert square.angle == np.float32(wanted.rotation)


def test_boxes_belong_to_the_cells_of_two_grids() -> None:
    anchors = face_graph._anchors()
    assert anchors.shape == (896, 2)
    np.testing.assert_array_equal(anchors[:3], [[1 / 32] * 2, [1 / 32] * 2, [3 / 32, 1 / 32]])
    np.testing.assert_array_equal(anchors[511:513], [[31 / 32] * 2, [1 / 16] * 2])
    np.testing.assert_array_equal(anchors[-1], [15 / 16] * 2)


def test_boxes_of_a_face_are_averaged() -> None:
    boxes = np.array([[0, 0, 1, 1], [4, 0, 5, 1], [0.2, 0, 1.2, 1], [0, 0.6, 1, 1.6]], np.float32)
    scores = np.array([0.6, 0.9, 0.2, 0.5], np.float32)
    found = face_graph._merged(boxes.reshape(4, 2, 2), scores, limit=9)
    assert len(found) == 3
    np.testing.assert_allclose(found[0], [[4, 0], [5, 1]])
    np.testing.assert_allclose(found[1], [[0.05, 0], [1.05, 1]], atol=1e-6)
    assert len(face_graph._merged(boxes.reshape(4, 2, 2), scores, limit=2)) == 2
    flat = np.zeros((2, 2, 2), np.float32)
    assert face_graph._merged(flat, scores[:2], limit=9) == []


def test_detections_without_an_area_are_no_faces(graph, grace_hopper, monkeypatch) -> None:
    for value in (0.5, 1e38):
        monkeypatch.setattr(graph, "_detect", lambda *_, v=value: [np.full((4, 2), v, np.float32)])
        assert graph.run(grace_hopper, Region()) == []


@pytest.mark.skipif(cv2.__version__ >= "5", reason="this OpenCV warps in another way")
def test_pixels_are_those_of_opencv_to_the_last_bit(grace_hopper: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    target = np.float32([[0, 192], [0, 0], [192, 0], [192, 192]])
    for side in (96, 130, 195, 300, 333, 900):
        for angle in (0, np.pi / 2, -np.pi, 0.3):
            center = np.float32(rng.integers(0, 1000, 2) / 2)
            rect = face_graph._Rect(center, np.float32([side, side]), np.float32(angle))
            degrees = float(rect.angle * np.float32(180)) / np.pi
            box = cv2.boxPoints((rect.center.tolist(), rect.size.tolist(), degrees))
            np.testing.assert_array_equal(rect.corners(), box)
            matrix = cv2.getPerspectiveTransform(rect.corners(), target)
            wanted = cv2.warpPerspective(
                grace_hopper, matrix, (192, 192), borderMode=cv2.BORDER_REPLICATE
            )
            found = rect.read(grace_hopper, 192, cv2.BORDER_REPLICATE)
            np.testing.assert_array_equal(found, wanted)


def test_models_of_another_form(face_models, make_stylizer, monkeypatch) -> None:
    other = make_stylizer(128)
    with pytest.raises(BundleError, match="face detector of nowhere is not MediaPipe's"):
        FaceGraph(FaceModels(other, face_models.landmarks, "nowhere"), 1)
    with pytest.raises(BundleError, match="landmark model of nowhere is not a face landmark"):
        FaceGraph(FaceModels(face_models.detector, other, "nowhere"), 1)
    monkeypatch.setattr(face_graph, "normalization", lambda model: None)
    with pytest.raises(BundleError, match="metadata have no normalization of its input"):
        FaceGraph(face_models, 1)


def test_values_that_are_not_numbers(face_models, grace_hopper: np.ndarray) -> None:
    for part in ("detector", "landmarks"):
        graph = FaceGraph(face_models, 1)
        getattr(graph, f"_{part}")._values[:] = np.nan
        with pytest.raises(BundleError, match="not finite"):
            graph.run(grace_hopper, Region())
