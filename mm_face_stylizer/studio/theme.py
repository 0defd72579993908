"""How the studio's page looks and what its browser does on its own."""

from __future__ import annotations

import importlib.resources

import gradio as gr


def theme() -> gr.themes.Base:
    """The page's colors and shapes; fonts are the system's, so that none is fetched."""
    sans = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
    base = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_lg,
        font=sans,
        font_mono=["ui-monospace", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"],
    )
    # Gradio's own gray, and white on its own teal, have a contrast of 2.5; texts need 4.5.
    return base.set(
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
    )


def style_sheet() -> str:
    """The page's style sheet."""
    return _resource("studio.css")


def script() -> str:
    """What runs in the browser when the page has been loaded."""
    return _resource("clock.js")


def _resource(name: str) -> str:
    file = importlib.resources.files("mm_face_stylizer").joinpath("studio", name)
    return file.read_text(encoding="utf-8")
