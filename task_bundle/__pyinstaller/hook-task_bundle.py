"""PyInstaller's hook: what `task_bundle` imports by name, and the files that it reads."""

from PyInstaller.utils.hooks import collect_data_files, collect_dynamic_libs, copy_metadata

# `import_mediapipe` takes names, so that MediaPipe is imported late and without TensorFlow.
hiddenimports = [
    "ai_edge_litert.schema_py_generated",
    "mediapipe",
    "mediapipe.tasks.python.vision",
]
# MediaPipe 0.10 imports TensorFlow if it is there; `import_mediapipe` keeps it from that.
excludedimports = ["tensorflow"]
datas = [
    # The static files of the web page.
    *collect_data_files("task_bundle"),
    # MediaPipe's face models and graphs, and the classes of the metadata's schema, which are loaded
    # from their file.
    *collect_data_files(
        "mediapipe",
        include_py_files=True,
        includes=["modules/face_*/*", "tasks/metadata/*"],
    ),
    # The version of LiteRT decides which checks of models are remembered.
    *copy_metadata("ai-edge-litert"),
]
# MediaPipe 1.x loads its library by ctypes.
binaries = collect_dynamic_libs("mediapipe")
