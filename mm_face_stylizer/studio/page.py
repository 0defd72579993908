"""The studio's page: what is on it, and what happens when it is used."""

from __future__ import annotations

import functools
import html
import pathlib
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
import numpy as np

from mm_face_stylizer.ready_styles import ready_styles
from mm_face_stylizer.studio.code_lines import CODE_LINES
from mm_face_stylizer.studio.makings import Making, Makings, Order
from mm_face_stylizer.studio.markup import HEADER, bar, bar_of, message, step_heading
from mm_face_stylizer.studio.session import (
    FIRST_STYLE,
    MINE,
    PAINTING,
    READY,
    Session,
    Watch,
    paths_of,
)
from mm_face_stylizer.studio.theme import script, style_sheet, theme
from mm_face_stylizer.studio.tuning import TuningState, can_tune
from mm_face_stylizer.studio.workshop import FINE_SIDE, MOST_STYLES, QUICK_SIDE, Look, Workshop
from mm_face_stylizer.style_pictures import draw_style
from task_bundle.errors import UserError
from task_bundle.media.images import load_image, save_png
from task_bundle.sample_photo import sample_photo

_SAMPLE_STYLE, _SAMPLE_PICTURES = "ink", 3
_COLORS = [("The style's", "style"), ("The person's own", "photo")]
HOST = "127.0.0.1"
# Of an uploaded file. Pictures of more are refused anyway, with 50 megapixels.
_MAX_UPLOAD = "320mb"
_STEPS = 100
# The least side of pictures in the page, in pixels.
_SHOWN_SIDE = 768
# Where a browser keeps its name, by which it finds its stylizer again.
_BROWSER_KEY = "mm-face-stylizer-studio"
_NEEDS_TRAINING = (
    "Making a stylizer needs TensorFlow, which is not installed: "
    "<code>pip install 'mm-face-stylizer[train]'</code>, then start the studio again."
)


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
        # Gradio serves the files of temporary folders alone.
        self._sample_file = folder / f"sample{sample_photo().suffix}"
        shutil.copyfile(sample_photo(), self._sample_file)
        self._making = threading.Lock()
        self._makings = Makings(workshop, folder, steps)
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
            theme=theme(),
            css=style_sheet(),
            js=script(),
        )
        return local, public or ""

    def close(self) -> None:
        """Ends the server, and tunings that go on."""
        self._makings.close()
        self.blocks.close(verbose=False)

    # --- What is on the page

    def _lay_out(self) -> None:
        self._session = gr.State(Session())
        self._browser = gr.BrowserState(storage_key=_BROWSER_KEY)
        # In an event that may leave the photo as it is, Gradio would exchange its component for a
        # new one, which does not read files as the workshop does.
        self._order = gr.State(None)
        # `clock.js` presses it.
        self._clock = gr.Button("Look", elem_id="clock")
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
                self._view = gr.Radio(
                    [("Painting", PAINTING), ("Your stylizer", MINE)],
                    show_label=False, container=False, visible=False, elem_id="view",
                )  # fmt: skip
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
            self._result, self._caption, self._message, self._view, self._knobs, self._likeness,
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

        def show_on(event: Any, prepare: Any, inputs: Sequence[Any], by_user: bool = True) -> None:
            """Shows the result again after an event, for which `prepare` changes the session."""

            def handle(*values: Any) -> Iterator[dict[Any, Any]]:
                session, photo, styles, colors, *rest = values
                if not by_user and session.is_restored(photo, styles):
                    yield self._unchanged()
                    return
                prepare(session, *rest)
                yield from self._show(session, photo, styles, colors)

            event(handle, [*given, *inputs], shown, **options)

        def choose_ready(session: Session, selected: gr.SelectData) -> None:
            session.look = f"{READY}{ready_styles()[selected.index]}"

        def on_ready(
            session: Session, photo: str, styles: Any, colors: str, event: gr.SelectData
        ) -> Iterator[dict[Any, Any]]:
            choose_ready(session, event)
            yield from self._show(session, photo, styles, colors)

        def new_styles(session: Session) -> None:
            session.look, session.likeness = PAINTING, None

        def new_likeness(session: Session, value: float) -> None:
            session.look, session.likeness = PAINTING, value

        def new_view(session: Session, value: str) -> None:
            session.look = value

        def use_samples(
            session: Session, photo: str, styles: Any, colors: str
        ) -> Iterator[dict[Any, Any]]:
            files = self._draw_samples()
            new_styles(session)
            yield self._unchanged() | {self._styles: files}
            # Gradio's gallery does not always say that a function has changed it.
            yield from self._show(session, photo, [(file, None) for file in files], colors)

        def nothing(session: Session) -> None:
            """The session stays as it is."""

        making = [self._progress, self._make, self._stop]
        self.blocks.load(
            self._arrive,
            [*given, self._browser],
            [*shown, *making, self._browser, self._order],
            **options,
        )
        self._order.change(
            self._restore, [self._order], [self._photo, self._styles, self._colors, self._tabs],
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip
        show_on(self._photo.change, nothing, [], by_user=False)
        show_on(self._styles.change, new_styles, [], by_user=False)
        show_on(self._likeness.input, new_likeness, [self._likeness])
        show_on(self._colors.input, nothing, [])
        show_on(self._view.input, new_view, [self._view])
        self._ready.select(on_ready, given, shown, **options)
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        gr.on(
            [self.blocks.load, self._photo.change], self._thumbnails, [self._photo], [self._ready],
            trigger_mode="always_last", **quiet,
        )  # fmt: skip
        self._sample.click(lambda: str(self._sample_file), None, self._photo, **quiet)
        self._samples.click(use_samples, given, [self._styles, *shown], **options)
        self._make.click(
            self._begin_tuning, [*given, self._browser], [self._message, *making], **quiet
        )
        self._clock.click(
            self._look_at_tuning, [self._session, self._browser], [*shown, *making],
            trigger_mode="multiple", show_progress_on=self._progress, **quiet,
        )  # fmt: skip
        self._stop.click(self._stop_tuning, [self._session], [self._stop], **quiet)

    def _arrive(
        self, session: Session, photo: str | None, styles: Any, colors: str, browser: str | None
    ) -> Iterator[dict[Any, Any]]:
        """Shows the browser's own stylizer, if one is being made or has been; or the photo."""
        name = browser or uuid.uuid4().hex
        making = self._makings.of(name)
        if making is None:
            yield {self._browser: name}
            yield from self._show(session, photo, styles, colors)
            return
        order = making.order
        session.likeness = order.likeness
        watching = self._watch(session, making)
        session.restore()
        yield watching | {self._browser: name, self._order: session.given}

    def _restore(self, given: tuple[str, Any, str]) -> dict[Any, Any]:
        """Shows what a stylizer is made from."""
        photo, styles, colors = given
        return {
            self._photo: photo,
            self._styles: [path for path, _ in styles],
            self._colors: colors,
            self._tabs: gr.Tabs(selected="mine"),
        }

    def _show(
        self, session: Session, photo: str | None, styles: Any, colors: str
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
        paths = paths_of(styles)
        if session.look == PAINTING and not paths:
            session.look = f"{READY}{FIRST_STYLE}"
        try:
            for make, is_final in self._pictures(session, pathlib.Path(photo), paths, colors):
                with self._making:
                    # Wishes wait here while a slider is drawn; all but the last are dropped.
                    if session.wishes != mine:
                        yield self._unchanged()
                        return
                    look = make()
                shown = self._shown(session, look, is_final)
                # A tuning does not wait for paintings, and they are not to cover its pictures.
                if session.wishes == mine:
                    yield shown
        except UserError as error:
            yield {self._message: message(str(error), is_error=True), self._result: None,
                   self._caption: ""}  # fmt: skip

    def _unchanged(self) -> dict[Any, Any]:
        """What leaves the page as it is. A handler that yields nothing would empty it."""
        return {self._message: gr.skip()}

    def _pictures(
        self, session: Session, photo: pathlib.Path, styles: list[pathlib.Path], colors: str
    ) -> Iterator[tuple[Callable[[], Look], bool]]:
        """Ways to make the picture, each better than the one before; and whether it is the best."""
        workshop, likeness = self._workshop, session.likeness
        if session.look == PAINTING:
            for side in (QUICK_SIDE, FINE_SIDE):
                paint = functools.partial(workshop.paint, styles, photo, likeness, colors, side)
                yield paint, side == FINE_SIDE
        elif session.look == MINE and session.bundle is not None:
            yield functools.partial(workshop.with_bundle, session.bundle, photo), True
        else:
            name = session.look.removeprefix(READY)
            yield functools.partial(workshop.in_ready_style, name, photo), True

    def _shown(self, session: Session, look: Look, is_final: bool) -> dict[Any, Any]:
        picture = self._new_folder() / "picture.png"
        save_png(picture, look.after)
        painting = session.look == PAINTING
        title = {PAINTING: "Painted in your style", MINE: "Your stylizer"}.get(
            session.look, session.look.removeprefix(READY).capitalize()
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
            self._view: gr.Radio(
                value=session.look if session.look in (PAINTING, MINE) else None,
                visible=session.bundle is not None and bool(paths_of(session.given[1])),
            ),
            self._knobs: gr.Row(visible=painting),
            self._likeness: look.likeness if painting else gr.skip(),
            self._picture_file: gr.DownloadButton(value=str(picture)),
            self._bundle_file: gr.DownloadButton(
                value=None if bundle is None else str(bundle), interactive=bundle is not None
            ),
        }

    def _bundle_of(self, session: Session) -> pathlib.Path | None:
        """The bundle that draws what is shown; a painting has none until it is learned."""
        if session.look == MINE:
            return session.bundle
        if session.look == PAINTING:
            return None
        name = session.look.removeprefix(READY)
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
        self, session: Session, photo: str | None, styles: Any, colors: str, browser: str | None
    ) -> dict[Any, Any]:
        """Begins to make a stylizer; `_look_at_tuning` shows how it learns."""
        if session.watch is not None:
            return {self._message: message("A stylizer is being made already.")}
        order = Order(
            pathlib.Path(photo or self._sample_file),
            tuple(paths_of(styles)),
            colors,
            session.likeness,
        )
        try:
            making = self._makings.begin(browser or "", order)
        except UserError as error:
            return {self._message: message(str(error), is_error=True)}
        # A picture that is being painted is not to take the place of those of the tuning.
        session.wishes += 1
        return self._watch(session, making)

    def _watch(self, session: Session, making: Making) -> dict[Any, Any]:
        """Begins to watch a stylizer that is being made, or has been."""
        order = making.order
        session.given = str(order.photo), [(str(path), None) for path in order.styles], order.colors
        session.watch = Watch(making, bar_of(making.tuning.state))
        return {
            self._message: message(),
            self._progress: session.watch.bar,
            self._make: gr.Button(visible=False),
            self._stop: gr.Button(visible=True, interactive=True),
        }

    def _look_at_tuning(self, session: Session, browser: str | None) -> Any:
        """Shows how far the tuning is, if one goes on, and what has come of it at its end."""
        watch = session.watch
        if watch is None:
            return gr.skip()
        state = watch.making.tuning.state
        if not state.running:
            if session.watch is not watch:
                return gr.skip()
            session.watch = None
            if state.bundle is None:
                self._makings.forget(browser or "")
            return self._ended(session, state)
        changes: dict[Any, Any] = {}
        if (news := bar_of(state)) != watch.bar:
            changes[self._progress] = watch.bar = news
        if state.preview is not None and state.preview_step != watch.step:
            watch.step = state.preview_step
            after = f"after {watch.step} step{'s' if watch.step != 1 else ''}"
            changes[self._result] = (_large(watch.making.face), _large(load_image(state.preview)))
            changes[self._caption] = f"<p><b>Learning</b><span>{after}</span></p>"
            changes[self._knobs], changes[self._view] = (
                gr.Row(visible=False),
                gr.Radio(visible=False),
            )
        return changes or gr.skip()

    def _ended(self, session: Session, state: TuningState) -> dict[Any, Any]:
        changes: dict[Any, Any] = {
            self._make: gr.Button("Make it again", visible=True),
            self._stop: gr.Button(visible=False),
        }
        if state.bundle is None:
            reason = state.error or "It was stopped before its first step; nothing was made."
            changes[self._progress] = ""
            changes[self._message] = message(reason, is_error=state.error is not None)
            return changes
        session.look, session.bundle = MINE, state.bundle
        kept = f"after {state.step} of {state.steps} steps" if state.step < state.steps else ""
        changes[self._progress] = bar(1.0, f"Done {kept}".strip(), "")
        for shown in self._show(session, *session.given):
            changes |= shown
        return changes

    def _stop_tuning(self, session: Session) -> Any:
        if session.watch is not None:
            session.watch.making.tuning.stop()
        return gr.Button(interactive=False)

    def _new_folder(self) -> pathlib.Path:
        return pathlib.Path(tempfile.mkdtemp(dir=self._folder))


def _large(picture: np.ndarray) -> np.ndarray:
    """Enlarges a small picture smoothly; browsers show single pixels."""
    import cv2

    factor = -(-_SHOWN_SIDE // picture.shape[0])
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def _path_of(payload: Any) -> str | None:
    """The file of a picture, as it was uploaded."""
    return None if payload is None else payload.path
