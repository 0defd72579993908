"""Builds, checks, opens and runs `.task` bundles of face stylizers, without TensorFlow."""

from task_bundle.archive import TaskArchive
from task_bundle.bundle import TaskBundle
from task_bundle.errors import (
    BundleError,
    FaceModelsError,
    ImageError,
    InvalidArgumentError,
    MissingDependencyError,
    NoFaceError,
    TaskBundleError,
    VideoError,
)
from task_bundle.faces.alignment import Face, FaceCrop, FaceFinder
from task_bundle.faces.face_models import FaceModels, download_face_landmarker, find_face_models
from task_bundle.inspection import EntryReport, inspect_archive
from task_bundle.media.images import load_image, save_png
from task_bundle.runtime.compositing import composite, cutout, face_mask, head_mask
from task_bundle.runtime.stylized_face import StylizedFace
from task_bundle.runtime.stylizer import FaceStylizer, FaceStylizerOptions
from task_bundle.tflite.metadata import read_metadata, stylizer_metadata
from task_bundle.tflite.model import (
    ModelInfo,
    TensorInfo,
    check_stylizer,
    describe,
)

__all__ = [
    "BundleError",
    "EntryReport",
    "Face",
    "FaceCrop",
    "FaceFinder",
    "FaceModels",
    "FaceModelsError",
    "FaceStylizer",
    "FaceStylizerOptions",
    "ImageError",
    "InvalidArgumentError",
    "MissingDependencyError",
    "ModelInfo",
    "NoFaceError",
    "StylizedFace",
    "TaskArchive",
    "TaskBundle",
    "TaskBundleError",
    "TensorInfo",
    "VideoError",
    "check_stylizer",
    "composite",
    "cutout",
    "describe",
    "download_face_landmarker",
    "face_mask",
    "find_face_models",
    "head_mask",
    "inspect_archive",
    "load_image",
    "read_metadata",
    "save_png",
    "stylizer_metadata",
]
