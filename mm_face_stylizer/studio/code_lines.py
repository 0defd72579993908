"""The lines of code that run a bundle on each platform, for the user to copy."""

from __future__ import annotations

import dataclasses

BUNDLE_NAME = "face_stylizer.task"


@dataclasses.dataclass(frozen=True)
class CodeLines:
    """What an app needs to run a bundle.

    Attributes:
      platform: Its name.
      language: The language's name in Gradio's code view; None if that does not know it.
      text: The lines. They expect the bundle under the name `BUNDLE_NAME`.
    """

    platform: str
    language: str | None
    text: str


_PYTHON = f"""\
# pip install mm-face-stylizer
from task_bundle import FaceStylizer, composite, save_png

with FaceStylizer.create_from_model_path("{BUNDLE_NAME}") as stylizer:
    faces = stylizer.stylize_all("photo.jpg")
save_png("portrait.png", faces[0].image)
save_png("in_the_photo.png", composite("photo.jpg", faces))
"""

_WEB = f"""\
// npm install @mediapipe/tasks-vision@0.10.21, and serve its wasm folder
import {{ FaceStylizer, FilesetResolver }} from "@mediapipe/tasks-vision";

const files = await FilesetResolver.forVisionTasks("/wasm");
const stylizer = await FaceStylizer.createFromModelPath(files, "/{BUNDLE_NAME}");
stylizer.stylize(photo, (face) => {{
  if (face) context.putImageData(face.getAsImageData(), 0, 0);
}});
"""

_ANDROID = f"""\
// build.gradle.kts: implementation("com.google.mediapipe:tasks-vision:0.10.26")
val base = BaseOptions.builder().setModelAssetPath("{BUNDLE_NAME}").build()
val options = FaceStylizer.FaceStylizerOptions.builder().setBaseOptions(base).build()
FaceStylizer.createFromOptions(context, options).use {{ stylizer ->
    val image = BitmapImageBuilder(bitmap).build()  // ARGB_8888
    stylizer.stylize(image).stylizedImage().ifPresent {{ face ->
        val pixels = ByteBufferExtractor.extract(face)  // rows of RGB or RGBA, face.width wide
    }}
}}
"""

_IOS = f"""\
// Podfile: pod 'MediaPipeTasksVision', '0.10.21'
import MediaPipeTasksVision

let path = Bundle.main.path(forResource: "{BUNDLE_NAME.partition(".")[0]}", ofType: "task")!
let stylizer = try FaceStylizer(modelPath: path)
let result = try stylizer.stylize(image: try MPImage(uiImage: photo))  // with an alpha channel
let face: UIImage? = result.stylizedImage?.image
"""

CODE_LINES = (
    CodeLines("Android", None, _ANDROID),
    CodeLines("iOS", None, _IOS),
    CodeLines("Web", "javascript", _WEB),
    CodeLines("Python", "python", _PYTHON),
)
