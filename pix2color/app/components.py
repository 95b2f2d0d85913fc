"""The components of the HTML page, and the HTML of its status lines."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import gradio as gr

from pix2color.app import validation
from pix2color.app.session import VARIANTS, Session
from pix2color.config import DecodeConfig

_HINT_HELP = (
    "Pick a color, then click on the photo: it spreads to what belongs together. More hints make"
    " it surer."
)
_VARIANTS_HELP = "All are plausible, the most probable comes first. Press one to select it."
_SURE_HELP = "Pink: places where the network is not sure of the color. Gray: where it is."
NO_PHOTO, READING = "No photo yet.", "Reading the photos …"


class Components:
    """The page's components from top to bottom; screen readers read the labels, too."""

    def __init__(self, decode: DecodeConfig, *, calibrated: bool) -> None:
        self.files = gr.File(
            label="Photos or zip files of photos",
            file_count="multiple",
            type="filepath",
            elem_id="photos",
            height=150,
        )
        self.status = gr.HTML(status_html(NO_PHOTO), elem_id="status")
        self.photo = gr.Dropdown(label="Photo shown", visible=False, elem_id="photo")
        with gr.Group(visible=False) as self.settings:
            self._settings(decode, calibrated)
        self._tabs()
        with gr.Row(visible=False) as self.downloads:
            self.download = gr.DownloadButton(
                "Download this photo", variant="primary", elem_id="download"
            )
            self.clear = gr.Button("Start over", elem_id="clear")
        with gr.Row(visible=False) as self.many:
            self.recolor_all = gr.Button("These settings for all photos", elem_id="again")
            self.zip = gr.Button("Prepare a zip of all", elem_id="zip")
            self.zip_file = gr.DownloadButton(
                "Download the zip", visible=False, variant="primary", elem_id="zip-file"
            )

    def _settings(self, decode: DecodeConfig, calibrated: bool) -> None:
        self.preset = gr.Radio(
            [(name.capitalize(), name) for name in validation.presets(decode)],
            value=validation.NATURAL, label="Preset", elem_id="preset",
            info="natural: the weights' own settings; faithful: a calmer average",
        )  # fmt: skip
        with gr.Row():
            self.temperature = gr.Slider(
                0.05, 1.5, value=decode.temperature, step=0.01, label="Temperature",
                info="low: decided colors; high: cautious ones", elem_id="temperature",
                min_width=260,
            )  # fmt: skip
            self.vividness = gr.Slider(
                0, max(1, decode.vividness), value=decode.vividness, step=0.01, label="Vividness",
                info="0: probable colors; high: rarer ones", elem_id="vividness",
                min_width=260,
            )  # fmt: skip
            self.saturation = gr.Slider(
                0, 2, value=decode.saturation, step=0.01, label="Saturation",
                info="0: gray; 1: as predicted", elem_id="saturation", min_width=260,
            )  # fmt: skip
            self.calibration = gr.Slider(
                0, 1, value=decode.calibration, step=0.01, label="Calibration",
                info="0: as predicted; 1: as colorful as photos are", elem_id="calibration",
                min_width=260, visible=calibrated,
            )  # fmt: skip

    def _tabs(self) -> None:
        with gr.Tabs(visible=False) as self.tabs:
            with gr.Tab("Compare", id="compare"):
                self.compare = gr.ImageSlider(
                    label="Before (left) and after (right)", interactive=False, elem_id="compare",
                    max_height=640, buttons=["fullscreen"],
                )  # fmt: skip
            with gr.Tab("Hints", id="hints") as self.hints_tab:
                self._hints()
            with gr.Tab("Variants", id="variants") as self.variants_tab:
                gr.Markdown(_VARIANTS_HELP)
                self.variants = gr.Gallery(
                    label="Variants", show_label=False, columns=VARIANTS, allow_preview=False,
                    interactive=False, elem_id="variants", buttons=[], height="auto",
                    object_fit="contain",
                )  # fmt: skip
            with gr.Tab("Confidence", id="confidence") as self.confidence_tab:
                gr.Markdown(_SURE_HELP)
                self.confidence = gr.Image(
                    label="How sure the network is", interactive=False, elem_id="confidence",
                    buttons=["fullscreen"],
                )  # fmt: skip

    def _hints(self) -> None:
        gr.Markdown(_HINT_HELP)
        self.color = gr.ColorPicker(label="Color of the hint", value="#c03030", elem_id="color")
        self.canvas = gr.Image(
            label="Colored photo: click where the color belongs", interactive=False,
            elem_id="canvas", buttons=[],
        )  # fmt: skip
        with gr.Accordion("By numbers, without a mouse", open=False), gr.Row():
            self.x = gr.Number(label="Pixels from the left", value=0, precision=0, min_width=120)
            self.y = gr.Number(label="Pixels from the top", value=0, precision=0, min_width=120)
            self.add = gr.Button("Add the hint", elem_id="add-hint")
        self.hints = gr.HTML(hints_html(()), elem_id="hints")
        with gr.Row():
            self.undo = gr.Button("Undo the last hint", elem_id="undo")
            self.save = gr.Button("Prepare hints.json", elem_id="save-hints")
            self.hints_file = gr.DownloadButton(
                "Download hints.json", visible=False, variant="primary", elem_id="hints-file"
            )


def status_html(text: str, more: str = "") -> str:
    """The line that screen readers follow."""
    return f'<div class="status" role="status" aria-live="polite">{html.escape(text)}{more}</div>'


def progress_html(text: str, share: float | None = None) -> str:
    value = "" if share is None else f' value="{share:.3f}"'
    return status_html(text, f'<progress aria-label="progress"{value}></progress>')


def report_html(session: Session, *, done: int | None = None, total: int | None = None) -> str:
    """Progress, and every photo that was refused or failed, by name."""
    if done is not None and total is not None and done < total:
        return progress_html(f"{done} of {total} photos …", done / total)
    failed = [*session.refused, *((e.name, e.failure) for e in session.entries if e.failure)]
    count = sum(1 for entry in session.entries if entry.done)
    text = "1 photo colored." if count == 1 else f"{count} photos colored."
    if not failed:
        return status_html(text)
    items = "".join(
        f"<li><b>{html.escape(name)}</b>: {html.escape(why)}</li>" for name, why in failed
    )
    return status_html(f"{text} {len(failed)} not:", f"<ul>{items}</ul>")


def hints_html(hints: Sequence[Any]) -> str:
    if not hints:
        return "<div>No hint yet.</div>"
    items = "".join(
        f'<span class="swatch" style="background:{html.escape(one["color"])}"></span>'
        f"{html.escape(one['color'])} at {one['x']:g}, {one['y']:g}"
        for one in hints
    )
    count = "1 hint" if len(hints) == 1 else f"{len(hints)} hints"
    return f"<div>{count}:{items}</div>"
