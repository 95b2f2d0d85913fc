"""Style sheet, fonts and script of the page."""

from __future__ import annotations

from typing import Any

import gradio as gr

CSS = """
.status { min-height: 1.5em; }
.status progress { width: 100%; }
.status ul { margin: 0; padding-left: 1.2em; }
.swatch { display: inline-block; width: 1em; height: 1em; border: 1px solid #888;
          vertical-align: -0.1em; margin: 0 .3em 0 .6em; }
#photos .wrap { max-height: 12em; }
#canvas img, #confidence img { max-height: 560px; }
@media (max-width: 480px) { .tab-container button { padding: 0 7px; font-size: 13px; } }
#variants .grid-wrap { min-height: 0; height: auto; }
#compare .outer:focus-visible .icon-wrap { outline: 3px solid #2563eb; }
footer { display: none !important; }
"""
SCRIPT = """() => {
  const alts = {
    "#canvas img": "the colored photo", "#confidence img": "where the network is unsure"
  };
  const nudge = (handle, step) => {
    const box = handle.getBoundingClientRect();
    const x = box.left + box.width / 2, y = box.top + box.height / 2;
    const fire = (target, kind, at) => target.dispatchEvent(new MouseEvent(
      kind, {clientX: at, clientY: y, bubbles: true, cancelable: true, view: window}));
    fire(handle, "mousedown", x);
    fire(window, "mousemove", x + step);
    fire(window, "mouseup", x + step);
  };
  const name = () => {
    document.querySelectorAll("#compare img").forEach((image, n) => {
      image.alt = n ? "after: the colored photo" : "before: the photo as it was";
    });
    for (const [where, alt] of Object.entries(alts))
      document.querySelectorAll(where).forEach((image) => { image.alt = alt; });
    const handle = document.querySelector("#compare .outer");
    if (handle && !handle.hasAttribute("tabindex")) {
      handle.tabIndex = 0;
      handle.setAttribute("role", "group");
      handle.setAttribute("aria-label", "divider of before and after: arrow keys move it");
      handle.addEventListener("keydown", (event) => {
        const step = {ArrowLeft: -20, ArrowRight: 20}[event.key];
        if (step) { event.preventDefault(); nudge(handle, step); }
      });
    }
  };
  new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
  name();
}"""
"""Adds texts for screen readers, and arrow keys for the divider: gradio has neither."""
_FONTS = ("system-ui", "sans-serif")
_MONOSPACED = ("ui-monospace", "monospace")


def build_theme() -> Any:
    """Gradio's default theme with system fonts: others would be loaded from the web.

    The explanations beside the settings are darker, so that they have a contrast of 4.5 : 1.
    """
    theme = gr.themes.Default(font=_FONTS, font_mono=_MONOSPACED)
    return theme.set(body_text_color_subdued="*neutral_500")
