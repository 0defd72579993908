"""Input and output in notebooks: file pickers, the webcam, image display, a preview, downloads.

All functions work in Colab and in Jupyter. Uploads are available in Colab only.
"""

import base64
import importlib
import os
import shutil
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
_DRIVE = Path("/content/drive")
# The first frames of a webcam are dark, so the photo is the last of this many frames.
_WARM_UP_FRAMES = 10
# JavaScript that shows the camera with two buttons. It returns a JPEG as a data URL, or an empty
# string if the user declines or the camera cannot be used.
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
    """Returns the style images that the user chose or uploads.

    Args:
      files: image files that the user chose; may be empty.
      folder: existing folder in which uploaded files are saved.

    Returns:
      `files` if it is not empty. Otherwise, in Colab, the files that the user uploads; elsewhere,
      an empty list.
    """
    if files:
        return [Path(file) for file in files]
    return _uploads(folder)


def pick_photo(choice: str | os.PathLike[str], folder: Path) -> Path | None:
    """Returns the file of the photo to stylize.

    Args:
      choice: a file, WEBCAM, or an empty string. For an empty string, Colab asks the user for a
        photo from the webcam or an upload.
      folder: existing folder in which a webcam photo or an upload is saved.

    Returns:
      The photo's file, or None if the user chose none.

    Raises:
      ImageError: `choice` is WEBCAM, and there is no webcam or no permission to use it.
    """
    if choice not in ("", WEBCAM):
        return Path(choice)
    photo = None
    if _in_colab():
        photo = _colab_webcam(folder)
    elif choice == WEBCAM:
        photo = _webcam(folder)
    if photo is None and choice == WEBCAM:
        raise ImageError("the webcam returned no image; pass the file of a photo instead")
    return photo or next(iter(_uploads(folder)), None)


def log_native_messages(file: str | os.PathLike[str]) -> None:
    """Redirects the standard error of native libraries to a file until the process ends.

    TensorFlow and MediaPipe write dozens of lines there that do not help users, and Jupyter shows
    each of them. Messages and progress bars from Python code are still shown, because Jupyter does
    not read them from the native standard error.

    Args:
      file: log file. It is created if it does not exist, otherwise appended to. Its folder must
        exist.

    Raises:
      OSError: the file cannot be written.
    """
    with open(file, "ab") as log:
        os.dup2(log.fileno(), _STANDARD_ERROR)


def show(picture: npt.NDArray[np.uint8]) -> None:
    """Displays an image below the notebook cell.

    Args:
      picture: [height, width, 3] uint8 RGB in [0, 255].
    """
    from IPython.display import display

    display(_as_pillow(picture))  # type: ignore[no-untyped-call]


def download(file: str | os.PathLike[str]) -> None:
    """Downloads a file to the user's computer in Colab; elsewhere, displays a link to the file.

    Args:
      file: the file. In Jupyter, it must be in the notebook's folder or in a subfolder of it.
    """
    if _in_colab():
        importlib.import_module("google.colab.files").download(str(file))
        return
    from IPython.display import FileLink, display

    display(FileLink(file))  # type: ignore[no-untyped-call]


def copy_to_drive(folder: str | os.PathLike[str], name: str) -> Path:
    """Copies a folder to the user's Google Drive, which asks for permission; in Colab only.

    Args:
      folder: the folder. Files in it whose names start with a dot are left out.
      name: name of the folder in the Drive; it is created, and files in it are replaced.

    Returns:
      The copy's path, below the place where the Drive is mounted.

    Raises:
      RuntimeError: this is not Colab.
    """
    if not _in_colab():
        raise RuntimeError(f"Drive is there in Colab only; the results are in {folder}")
    importlib.import_module("google.colab.drive").mount(str(_DRIVE))
    target = _DRIVE / "MyDrive" / name
    hidden = shutil.ignore_patterns(".*")
    shutil.copytree(folder, target, ignore=hidden, dirs_exist_ok=True)
    return target


class LivePreview:
    """A live preview of the fine-tuning, for the argument `preview` of `FaceStylizer.create`.

    It displays the style image, a face, and the face as stylized after the current step, side by
    side below the notebook cell.
    """

    def __init__(
        self, style: npt.NDArray[np.uint8], face: npt.NDArray[np.uint8], every: int = 10
    ) -> None:
        """Stores the images; nothing is displayed before the first step.

        Args:
          style: an aligned style image, [side, side, 3] uint8 RGB in [0, 255].
          face: the aligned face to stylize, with the same shape and type as `style`.
          every: number of steps between updates of the display; at least 1.
        """
        self._style, self._face, self._every = style, face, every
        self._handle: Any = None

    def __call__(self, step: int, stylizer: "FaceStylizer") -> None:
        """Updates the display if `step` is 1 or a multiple of `every`.

        Args:
          step: number of completed steps.
          stylizer: the stylizer with the weights after this step.
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
    # Colab also saves the files in the working folder, but may rename them there. So the contents
    # are written to `folder` under the original names.
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
    save_png(file, np.ascontiguousarray(frame[..., ::-1]), overwrite=True, marked=False)
    return file
