"""The studio's page: what is on it, and what happens when it is used."""

from __future__ import annotations

import dataclasses
import functools
import html
import importlib.resources
import pathlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
import numpy as np

from mm_face_stylizer.ready_styles import ready_styles
from mm_face_stylizer.studio.code_lines import CODE_LINES
from mm_face_stylizer.studio.markup import HEADER, bar, bar_of, message, step_heading
from mm_face_stylizer.studio.tuner import TuningJob
from mm_face_stylizer.studio.tuning import Tuning, TuningState, can_tune
from mm_face_stylizer.studio.workshop import FINE_SIDE, MOST_STYLES, QUICK_SIDE, Look, Workshop
from mm_face_stylizer.style_pictures import draw_style
from task_bundle.errors import UserError
from task_bundle.media.images import load_image, save_png
from task_bundle.sample_photo import sample_photo

_PAINTING, _MINE, _READY = "painting", "mine", "ready:"
_SAMPLE_STYLE, _SAMPLE_PICTURES = "ink", 3
_COLORS = [("The style's", "style"), ("The person's own", "photo")]
HOST = "127.0.0.1"
# Of an uploaded file. Pictures of more are refused anyway, with 50 megapixels.
_MAX_UPLOAD = "320mb"
_STEPS = 100
# Shown first, on the sample photo.
_FIRST_STYLE = "oil"
# The least side of pictures in the page, in pixels.
_SHOWN_SIDE = 768
# Gradio's page misses an event now and then that begins while another one ends: its answer waits
# for the next event. So the page asks for news all the time, and misses nothing for long.
_SECONDS_BETWEEN_LOOKS = 1.0
_NEEDS_TRAINING = (
    "Making a stylizer needs TensorFlow, which is not installed: "
    "<code>pip install 'mm-face-stylizer[train]'</code>, then start the studio again."
)


@dataclasses.dataclass
class _Watch:
    """A tuning that a page watches.

    Attributes:
      tuning: The tuning.
      face: The face that shows the progress, as `Workshop.aligned` returns it.
      bar: The progress as the page shows it.
      step: The step of the picture that the page shows; 0 before the first.
    """

    tuning: Tuning
    face: np.ndarray
    bar: str = ""
    step: int = 0


@dataclasses.dataclass
class _Session:
    """What one open page has, beside what its components show.

    Attributes:
      look: `painting`, `mine` or `ready:` and the name of a style.
      likeness: What the user chose; None for what suits the style.
      bundle: The stylizer that was made; None before.
      watch: The tuning that goes on; None if none does.
      wishes: Number of pictures that were asked for: only the last one is shown.
      given: Photo, style pictures and colors, as they were last.
    """

    look: str = f"{_READY}{_FIRST_STYLE}"
    likeness: float | None = None
    bundle: pathlib.Path | None = None
    watch: _Watch | None = None
    wishes: int = 0
    given: tuple[str | None, Any, str] = (None, None, "style")


class StudioPage:
    """The page, as Gradio blocks."""

    def __init__(self, workshop: Workshop, folder: pathlib.Path, steps: int = _STEPS):
        """Builds the page.

        Args:
          workshop: What makes the pictures.
          folder: Existing folder for bundles and drawn pictures; the caller deletes it.
          steps: Number of training steps of a stylizer.
        """
        self._workshop = workshop
        self._folder = folder
        self._steps = steps
        # Gradio serves the files of temporary folders alone.
        self._sample_file = folder / f"sample{sample_photo().suffix}"
        shutil.copyfile(sample_photo(), self._sample_file)
        self._making = threading.Lock()
        # By page, as Gradio numbers them.
        self._tunings: dict[str | None, Tuning] = {}
        with gr.Blocks(title="Face stylizer studio", analytics_enabled=False) as self.blocks:
            self._lay_out()
            self._connect()

    def launch(self, port: int, share: bool = False, in_browser: bool = False) -> tuple[str, str]:
        """Serves the page to browsers on this computer until `close` is called.

        Args:
          port: The port to listen on.
          share: Whether to make a public address, too.
          in_browser: Whether to open the page.

        Returns:
          The local address, and the public one or an empty string.

        Raises:
          OSError: The port is in use.
        """
        self.blocks.queue(api_open=False)
        _, local, public = self.blocks.launch(
            server_name=HOST,
            server_port=port,
            share=share,
            inbrowser=in_browser,
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            footer_links=[],
            max_file_size=_MAX_UPLOAD,
            theme=_theme(),
            css=_css(),
        )
        return local, public or ""

    def close(self) -> None:
        """Ends the server, and tunings that go on."""
        for tuning in list(self._tunings.values()):
            tuning.close()
        self.blocks.close(verbose=False)

    # --- What is on the page

    def _lay_out(self) -> None:
        self._session = gr.State(_Session())
        self._clock = gr.Timer(_SECONDS_BETWEEN_LOOKS)
        gr.HTML(HEADER, elem_id="top", padding=False)
        self._message = gr.HTML(message(), elem_id="message", padding=False)
        with gr.Row(elem_id="main", equal_height=False):
            with gr.Column(scale=7, min_width=300, elem_id="stage"):
                self._result = gr.ImageSlider(
                    label="Before and after",
                    show_label=False,
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="result",
                    max_height=720,
                    format="png",
                )
                self._caption = gr.HTML("", elem_id="caption", padding=False)
                with gr.Row(elem_id="knobs", visible=False) as self._knobs:
                    self._likeness = gr.Slider(
                        0, 1, 0.5, step=0.05, label="Likeness", elem_id="likeness",
                        info="0: the style's own features. 1: the photo's light and shade.",
                    )  # fmt: skip
                    self._colors = gr.Radio(
                        _COLORS, value="style", label="Colors", elem_id="colors",
                        info="Whose skin, hair and clothes?",
                    )  # fmt: skip
                with gr.Row(elem_id="downloads"):
                    self._picture_file = gr.DownloadButton(
                        "Download picture", size="md", elem_id="picture-file"
                    )
                    self._bundle_file = gr.DownloadButton(
                        "Download .task", size="md", elem_id="bundle-file", interactive=False
                    )
                with (
                    gr.Accordion("Use the .task in an app", open=False, elem_id="code"),
                    gr.Tabs(),
                ):
                    for lines in CODE_LINES:
                        with gr.Tab(lines.platform):
                            gr.Code(
                                lines.text,
                                lines.language,  # type: ignore[arg-type]
                                label=lines.platform,
                                show_label=False,
                                interactive=False,
                                buttons=["copy"],
                                wrap_lines=True,
                                show_line_numbers=False,
                            )
            with gr.Column(scale=5, min_width=300, elem_id="side"):
                gr.HTML(step_heading(1, "A photo"), padding=False)
                self._photo = gr.Image(
                    str(self._sample_file),
                    label="Photo",
                    show_label=False,
                    type="filepath",
                    image_mode=None,
                    sources=["upload", "webcam", "clipboard"],
                    buttons=[],
                    height=220,
                    elem_id="photo",
                    placeholder="Drop a selfie here\n– or –\nclick to choose one",
                )
                # The workshop reads the file itself: it knows more formats than Gradio, refuses
                # pictures that are too big before they are decoded, and names what is wrong.
                self._photo.preprocess = _path_of  # type: ignore[method-assign]
                self._sample = gr.Button("Use the sample photo", size="sm", elem_id="sample")
                gr.HTML(step_heading(2, "A style"), padding=False)
                with gr.Tabs(elem_id="style-tabs") as self._tabs:
                    with gr.Tab("Ready styles", id="ready"):
                        self._ready = gr.Gallery(
                            label="Ready styles", show_label=False, columns=4, height="auto",
                            allow_preview=False, interactive=False, buttons=[], elem_id="ready",
                            object_fit="cover", format="png",
                        )  # fmt: skip
                    with gr.Tab("My pictures", id="mine"):
                        self._styles = gr.Gallery(
                            label="Style pictures", show_label=False, columns=3, height=220,
                            interactive=True, type="filepath", sources=["upload", "clipboard"],
                            buttons=[], elem_id="styles", allow_preview=False, object_fit="cover",
                        )  # fmt: skip
                        self._samples = gr.Button(
                            "Use sample drawings", size="sm", elem_id="sample-styles"
                        )
                        gr.HTML(
                            f"<p class='note'>One to {MOST_STYLES} pictures of one style, each "
                            "with a face. A painting comes in seconds, without training.</p>",
                            padding=False,
                        )
                gr.HTML(step_heading(3, "A stylizer of your own"), padding=False)
                with gr.Column(elem_id="make-box"):
                    gr.HTML(
                        "<p class='note'>Learns the style of your pictures into a "
                        "<code>.task</code> for phones, browsers and Python.</p>"
                        if can_tune()
                        else f"<p class='note'>{_NEEDS_TRAINING}</p>",
                        padding=False,
                    )
                    self._progress = gr.HTML("", elem_id="progress", padding=False)
                    with gr.Row():
                        self._make = gr.Button(
                            "Make my stylizer",
                            variant="primary",
                            size="md",
                            elem_id="make",
                            interactive=can_tune(),
                        )
                        self._stop = gr.Button(
                            "Stop and keep it", size="md", elem_id="stop", visible=False
                        )

    # --- What happens

    def _connect(self) -> None:
        shown = [
            self._result, self._caption, self._message, self._knobs, self._likeness,
            self._picture_file, self._bundle_file,
        ]  # fmt: skip
        given = [self._session, self._photo, self._styles, self._colors]
        # A newer wish takes the place of one that is still being painted: see `_show`.
        options: dict[str, Any] = {
            "trigger_mode": "multiple",
            "concurrency_limit": None,
            "show_progress": "minimal",
            "show_progress_on": self._result,
            "api_visibility": "private",
        }

        def show_on(event: Any, prepare: Any, inputs: Sequence[Any]) -> None:
            """Shows the result again after an event, for which `prepare` changes the session."""

            def handle(*values: Any) -> Iterator[dict[Any, Any]]:
                session, photo, styles, colors, *rest = values
                prepare(session, *rest)
                yield from self._show(session, photo, styles, colors)

            event(handle, [*given, *inputs], shown, **options)

        def choose_ready(session: _Session, selected: gr.SelectData) -> None:
            session.look = f"{_READY}{ready_styles()[selected.index]}"

        def on_ready(
            session: _Session, photo: str, styles: Any, colors: str, event: gr.SelectData
        ) -> Iterator[dict[Any, Any]]:
            choose_ready(session, event)
            yield from self._show(session, photo, styles, colors)

        def new_styles(session: _Session) -> None:
            session.look, session.likeness = _PAINTING, None

        def new_likeness(session: _Session, value: float) -> None:
            session.look, session.likeness = _PAINTING, value

        def nothing(session: _Session) -> None:
            """The session stays as it is."""

        show_on(self.blocks.load, nothing, [])
        show_on(self._photo.change, nothing, [])
        show_on(self._styles.change, new_styles, [])
        show_on(self._likeness.input, new_likeness, [self._likeness])
        show_on(self._colors.input, nothing, [])
        self._ready.select(on_ready, given, shown, **options)
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        gr.on(
            [self.blocks.load, self._photo.change], self._thumbnails, [self._photo], [self._ready],
            trigger_mode="always_last", **quiet,
        )  # fmt: skip
        self._sample.click(lambda: str(self._sample_file), None, self._photo, **quiet)
        self._samples.click(self._draw_samples, None, self._styles, **quiet)
        making = [self._progress, self._make, self._stop]
        self._make.click(self._begin_tuning, given, [self._message, *making], **quiet)
        self._clock.tick(
            self._look_at_tuning, [self._session], [*shown, *making], trigger_mode="multiple",
            show_progress_on=self._progress, **quiet,
        )  # fmt: skip
        self._stop.click(self._stop_tuning, [self._session], [self._stop], **quiet)
        self.blocks.unload(self._leave)

    def _show(
        self, session: _Session, photo: str | None, styles: Any, colors: str
    ) -> Iterator[dict[Any, Any]]:
        """Shows the photo in the chosen look; a painting first quickly, then finely."""
        session.wishes += 1
        mine = session.wishes
        session.given = photo, styles, colors
        if session.watch is not None:
            yield {self._message: message("The picture is shown when the tuning has ended.")}
            return
        if photo is None:
            yield {self._message: message("Drop a photo, or use the sample."), self._result: None}
            return
        paths = _paths(styles)
        if session.look == _PAINTING and not paths:
            session.look = f"{_READY}{_FIRST_STYLE}"
        try:
            for make, is_final in self._pictures(session, pathlib.Path(photo), paths, colors):
                with self._making:
                    # Wishes wait here while a slider is drawn; all but the last are dropped.
                    if session.wishes != mine:
                        return
                    look = make()
                shown = self._shown(session, look, is_final)
                # A tuning does not wait for paintings, and they are not to cover its pictures.
                if session.wishes == mine:
                    yield shown
        except UserError as error:
            yield {self._message: message(str(error), is_error=True), self._result: None,
                   self._caption: ""}  # fmt: skip

    def _pictures(
        self, session: _Session, photo: pathlib.Path, styles: list[pathlib.Path], colors: str
    ) -> Iterator[tuple[Callable[[], Look], bool]]:
        """Ways to make the picture, each better than the one before; and whether it is the best."""
        workshop, likeness = self._workshop, session.likeness
        if session.look == _PAINTING:
            for side in (QUICK_SIDE, FINE_SIDE):
                paint = functools.partial(workshop.paint, styles, photo, likeness, colors, side)
                yield paint, side == FINE_SIDE
        elif session.look == _MINE and session.bundle is not None:
            yield functools.partial(workshop.with_bundle, session.bundle, photo), True
        else:
            name = session.look.removeprefix(_READY)
            yield functools.partial(workshop.in_ready_style, name, photo), True

    def _shown(self, session: _Session, look: Look, is_final: bool) -> dict[Any, Any]:
        picture = self._new_folder() / "picture.png"
        save_png(picture, look.after)
        painting = session.look == _PAINTING
        title = {_PAINTING: "Painted in your style", _MINE: "Your stylizer"}.get(
            session.look, session.look.removeprefix(_READY).capitalize()
        )
        facts = f"{look.seconds:.1f} s" + ("" if is_final else ", and finer in a moment")
        if look.likeness is not None:
            chosen = "" if session.likeness is not None else ", chosen for this style"
            facts += f" · likeness {look.likeness:g}{chosen}"
        bundle = self._bundle_of(session)
        return {
            self._result: (_large(look.before), _large(look.after)),
            self._caption: f"<p><b>{html.escape(title)}</b><span>{facts}</span></p>",
            self._message: message(),
            self._knobs: gr.Row(visible=painting),
            self._likeness: look.likeness if painting else gr.skip(),
            self._picture_file: gr.DownloadButton(value=str(picture)),
            self._bundle_file: gr.DownloadButton(
                value=None if bundle is None else str(bundle), interactive=bundle is not None
            ),
        }

    def _bundle_of(self, session: _Session) -> pathlib.Path | None:
        """The bundle that draws what is shown; a painting has none until it is learned."""
        if session.look == _MINE:
            return session.bundle
        if session.look == _PAINTING:
            return None
        name = session.look.removeprefix(_READY)
        folder = self._folder / "ready" / name
        path = folder / f"{name}.task"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            self._workshop.ready(name).save(path, overwrite=True)
        return path

    def _thumbnails(self, photo: str | None) -> list[tuple[np.ndarray, str]]:
        try:
            return self._workshop.in_all_ready_styles(
                pathlib.Path(photo) if photo else self._sample_file
            )
        except UserError:
            # The message is shown beside the large picture.
            return self._workshop.in_all_ready_styles(self._sample_file)

    def _draw_samples(self) -> list[str]:
        folder = self._folder / "samples"
        folder.mkdir(exist_ok=True)
        paths = [folder / f"{_SAMPLE_STYLE}_{index + 1}.png" for index in range(_SAMPLE_PICTURES)]
        for seed, path in enumerate(paths):
            if not path.exists():
                save_png(path, draw_style(_SAMPLE_STYLE, seed=seed), overwrite=True)
        return [str(path) for path in paths]

    # --- The tuning

    def _begin_tuning(
        self, session: _Session, photo: str | None, styles: Any, colors: str, request: gr.Request
    ) -> dict[Any, Any]:
        """Begins to make a stylizer; `_look_at_tuning` shows how it learns."""
        if session.watch is not None:
            return {self._message: message("A stylizer is being made already.")}
        # A picture that is being painted is not to take the place of those of the tuning.
        session.wishes += 1
        paths = _paths(styles)
        folder = self._new_folder()
        try:
            self._workshop.check_styles(paths)
            face = self._workshop.aligned(pathlib.Path(photo) if photo else self._sample_file)
            job = self._job(paths, face, session.likeness, colors, folder)
        except UserError as error:
            return {self._message: message(str(error), is_error=True)}
        session.given = photo or str(self._sample_file), styles, colors
        tuning = Tuning(job, folder)
        self._tunings[request.session_hash] = tuning
        session.watch = _Watch(tuning, face, bar_of(tuning.state))
        return {
            self._message: message(),
            self._progress: session.watch.bar,
            self._make: gr.Button(visible=False),
            self._stop: gr.Button(visible=True, interactive=True),
        }

    def _look_at_tuning(self, session: _Session, request: gr.Request) -> Any:
        """Shows how far the tuning is, if one goes on, and what has come of it at its end."""
        watch = session.watch
        if watch is None:
            return gr.skip()
        state = watch.tuning.state
        if not state.running:
            session.watch = None
            watch.tuning.close()
            self._tunings.pop(request.session_hash, None)
            return self._ended(session, state)
        changes: dict[Any, Any] = {}
        if (news := bar_of(state)) != watch.bar:
            changes[self._progress] = watch.bar = news
        if state.preview is not None and state.preview_step != watch.step:
            watch.step = state.preview_step
            after = f"after {watch.step} step{'s' if watch.step != 1 else ''}"
            changes[self._result] = (_large(watch.face), _large(load_image(state.preview)))
            changes[self._caption] = f"<p><b>Learning</b><span>{after}</span></p>"
            changes[self._knobs] = gr.Row(visible=False)
        return changes or gr.skip()

    def _ended(self, session: _Session, state: TuningState) -> dict[Any, Any]:
        changes: dict[Any, Any] = {
            self._make: gr.Button("Make it again", visible=True),
            self._stop: gr.Button(visible=False),
        }
        if state.bundle is None:
            reason = state.error or "It was stopped before its first step; nothing was made."
            changes[self._progress] = ""
            changes[self._message] = message(reason, is_error=state.error is not None)
            return changes
        session.look, session.bundle = _MINE, state.bundle
        kept = f"after {state.step} of {state.steps} steps" if state.step < state.steps else ""
        changes[self._progress] = bar(1.0, f"Done {kept}".strip(), "")
        for shown in self._show(session, *session.given):
            changes |= shown
        return changes

    def _leave(self, request: gr.Request) -> None:
        """Ends the tuning of a page that is closed: nobody would see what comes of it."""
        tuning = self._tunings.pop(request.session_hash, None)
        if tuning is not None:
            tuning.close()

    def _job(
        self, paths: Sequence[pathlib.Path], face: np.ndarray, likeness: float | None, colors: str,
        folder: pathlib.Path,
    ) -> TuningJob:  # fmt: skip
        photo, models = folder / "photo.png", folder / "face_models.task"
        save_png(photo, face)
        models.write_bytes(self._workshop.face_models.landmarker_task())
        copies = []
        # The page's own files may be exchanged while the process starts.
        for index, path in enumerate(paths):
            # A folder for each: bundles say the names of the pictures that they were made from.
            copies.append(folder / f"style_{index + 1}" / path.name)
            copies[-1].parent.mkdir()
            shutil.copyfile(path, copies[-1])
        return TuningJob(
            styles=tuple(map(str, copies)), photo=str(photo), likeness=likeness, colors=colors,
            steps=self._steps, seed=0, face_models=str(models),
        )  # fmt: skip

    def _stop_tuning(self, session: _Session) -> Any:
        if session.watch is not None:
            session.watch.tuning.stop()
        return gr.Button(interactive=False)

    def _new_folder(self) -> pathlib.Path:
        return pathlib.Path(tempfile.mkdtemp(dir=self._folder))


def _theme() -> gr.themes.Base:
    """The page's colors and shapes; fonts are the system's, so that none is fetched."""
    sans = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_lg,
        font=sans,
        font_mono=["ui-monospace", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"],
    )


def _css() -> str:
    """The page's style sheet."""
    return (
        importlib.resources.files("mm_face_stylizer")
        .joinpath("studio", "studio.css")
        .read_text(encoding="utf-8")
    )


def _paths(gallery: Any) -> list[pathlib.Path]:
    """Files of a gallery's pictures, which come with captions."""
    return [pathlib.Path(path) for path, _ in gallery or []]


def _large(picture: np.ndarray) -> np.ndarray:
    """Enlarges a small picture smoothly; browsers show single pixels."""
    import cv2

    factor = -(-_SHOWN_SIDE // picture.shape[0])
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def _path_of(payload: Any) -> str | None:
    """The file of a picture, as it was uploaded."""
    return None if payload is None else payload.path
