"""What a notebook asks of the page that shows it: pictures, a photo, a live preview, downloads.

Everything works in Colab and in Jupyter. In Colab it can also ask for uploads and the webcam.
"""

import base64
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mm_face_stylizer.contact_sheet import ContactSheet
from task_bundle.errors import ImageError
from task_bundle.media.images import save_png

if TYPE_CHECKING:
    import PIL.Image

    from mm_face_stylizer.face_stylizer import FaceStylizer

WEBCAM = "webcam"

_STANDARD_ERROR = 2
# A camera's first pictures are dark.
_WARM_UP_FRAMES = 10
# Shows the camera with two buttons, and answers with a JPEG as a data URL, or with nothing.
_TAKE_PHOTO = """
(async () => {
  const box = document.createElement("div");
  const video = document.createElement("video");
  const photograph = document.createElement("button");
  const decline = document.createElement("button");
  photograph.textContent = "Take the photo";
  decline.textContent = "Choose a file instead";
  video.style.display = "block";
  box.append(video, photograph, decline);
  document.body.append(box);
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    video.srcObject = stream;
    await video.play();
    google.colab.output.setIframeHeight(document.documentElement.scrollHeight, true);
    const taken = await new Promise((resolve) => {
      photograph.onclick = () => resolve(true);
      decline.onclick = () => resolve(false);
    });
    if (!taken) return "";
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    return canvas.toDataURL("image/jpeg", 0.95);
  } catch (error) {
    return "";
  } finally {
    stream?.getTracks().forEach((track) => track.stop());
    box.remove();
  }
})()
"""


def pick_pictures(files: Sequence[str | os.PathLike[str]], folder: Path) -> list[Path]:
    """Returns the user's style pictures.

    Args:
      files: pictures that the user has named.
      folder: where uploads are kept; it must exist.

    Returns:
      `files`; if there are none, what the user uploads, in Colab; an empty list otherwise.
    """
    if files:
        return [Path(file) for file in files]
    return _uploads(folder)


def pick_photo(choice: str | os.PathLike[str], folder: Path) -> Path | None:
    """Returns the photo that the user wants to see stylized.

    Args:
      choice: a file, WEBCAM, or an empty string for a question in Colab: webcam or upload.
      folder: where a photo of the webcam or an upload is kept; it must exist.

    Returns:
      The photo's file; None if the user gave none.

    Raises:
      ImageError: the webcam was asked for, and there is none, or it may not be used.
    """
    if choice not in ("", WEBCAM):
        return Path(choice)
    photo = None
    if _in_colab():
        photo = _colab_webcam(folder)
    elif choice == WEBCAM:
        photo = _webcam(folder)
    if photo is None and choice == WEBCAM:
        raise ImageError("the webcam gave no picture; name the file of a photo instead")
    return photo or next(iter(_uploads(folder)), None)


def log_native_messages(file: str | os.PathLike[str]) -> None:
    """Sends what native libraries write to standard error to a file, for good.

    TensorFlow and MediaPipe write dozens of lines there that say nothing to a user, and Jupyter
    shows each. Python's own messages and progress bars, which Jupyter gets otherwise, stay.

    Args:
      file: appended to, or made; its folder must exist.

    Raises:
      OSError: the file cannot be written.
    """
    with open(file, "ab") as log:
        os.dup2(log.fileno(), _STANDARD_ERROR)


def show(picture: npt.NDArray[np.uint8]) -> None:
    """Shows a picture below the cell.

    Args:
      picture: [height, width, 3] uint8 RGB.
    """
    from IPython.display import display

    display(_as_pillow(picture))  # type: ignore[no-untyped-call]


def download(file: str | os.PathLike[str]) -> None:
    """Sends a file to the user's computer in Colab, and shows a link to it elsewhere.

    Args:
      file: the file; in Jupyter it must be in the notebook's folder or below it.
    """
    if _in_colab():
        importlib.import_module("google.colab.files").download(str(file))
        return
    from IPython.display import FileLink, display

    display(FileLink(file))  # type: ignore[no-untyped-call]


class LivePreview:
    """Style, photo, and what the stylizer makes of it by now, in one sheet below the cell.

    An instance is what `FaceStylizer.create` takes as `preview`.
    """

    def __init__(
        self, style: npt.NDArray[np.uint8], face: npt.NDArray[np.uint8], every: int = 10
    ) -> None:
        """Prepares the sheet.

        Args:
          style: an aligned style picture, [side, side, 3] uint8 RGB.
          face: the face to watch, aligned, of the same shape.
          every: after how many steps the sheet is drawn anew; at least 1.
        """
        self._style, self._face, self._every = style, face, every
        self._handle: Any = None

    def __call__(self, step: int, stylizer: "FaceStylizer") -> None:
        """Draws the sheet after the first step, and whenever `every` steps have passed.

        Args:
          step: number of steps done.
          stylizer: the stylizer as it is by then.
        """
        if step > 1 and step % self._every:
            return
        from IPython.display import display

        stylized = stylizer.stylize_images(self._face[None])[0]
        caption = f"style, photo, and the photo stylized after step {step}"
        sheet = _as_pillow(ContactSheet([[self._style, self._face, stylized]], [caption]).image())
        if self._handle is None:
            self._handle = display(sheet, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(sheet)


def _as_pillow(picture: npt.NDArray[np.uint8]) -> "PIL.Image.Image":
    from PIL import Image

    return Image.fromarray(picture)


def _in_colab() -> bool:
    try:
        importlib.import_module("google.colab")
    except ImportError:
        return False
    return True


def _uploads(folder: Path) -> list[Path]:
    if not _in_colab():
        return []
    # Colab leaves copies in the working folder, under names that may be others.
    contents = importlib.import_module("google.colab.files").upload()
    files = []
    for name, content in contents.items():
        file = folder / Path(name).name
        file.write_bytes(content)
        files.append(file)
    return files


def _colab_webcam(folder: Path) -> Path | None:
    url = importlib.import_module("google.colab.output").eval_js(_TAKE_PHOTO)
    if not url:
        return None
    file = folder / "webcam.jpg"
    file.write_bytes(base64.b64decode(url.partition(",")[2]))
    return file


def _webcam(folder: Path) -> Path | None:
    import cv2

    camera = cv2.VideoCapture(0)
    try:
        frame = None
        for _ in range(_WARM_UP_FRAMES):
            taken, picture = camera.read()
            frame = picture if taken else frame
    finally:
        camera.release()
    if frame is None:
        return None
    file = folder / "webcam.png"
    save_png(file, np.ascontiguousarray(frame[..., ::-1]), overwrite=True)
    return file
