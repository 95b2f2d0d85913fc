"""The page's layout and what its parts do; all work is the session's."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from pix2color.app import calls, values
from pix2color.app.calls import told
from pix2color.app.session import VARIANTS, Entry, Session
from pix2color.app.visitors import Sessions
from pix2color.config import Decode
from pix2color.errors import Pix2ColorError

_ABOUT = """# Colour old photos

**The colours are guesses.** A network has learned from many photos what colour such things usually
are; it cannot know what colour they were. A photo's lightness, size and metadata stay."""
_HINT_HELP = (
    "Pick a colour, then click on the photo: it spreads to what belongs together. More hints make"
    " it surer."
)
_VARIANTS_HELP = "All are plausible, the likeliest comes first. Press one to take it."
_SURE_HELP = "Dyed pink: places where the network is not sure of the colour. Gray: where it is."
_PARTS = 18  # of the page, that a new photo changes
_FIRST, _WORKING = "No photo yet.", "Reading the photos …"


def build(sessions: Sessions, decode: Decode) -> gr.Blocks:
    """The page.

    Args:
        sessions: of the visitors.
        decode: the weights' default settings, where the sliders stand at first.
    """
    page = gr.Blocks(title="pix2color: colour old photos", analytics_enabled=False)
    with page:
        gr.Markdown(_ABOUT)
        parts = _Parts(decode)
        calls.offer(sessions)  # before the page's own, which have the same names
        _Acts(sessions, parts, decode).wire()
        page.unload(_leaving(sessions))
    return page


class _Parts:
    """What is seen, from top to bottom; labels are read by screen readers, too."""

    def __init__(self, decode: Decode) -> None:
        self.files = gr.File(
            label="Photos or zip files of photos",
            file_count="multiple",
            type="filepath",
            elem_id="photos",
            height=150,
        )
        self.status = gr.HTML(_status(_FIRST), elem_id="status")
        self.photo = gr.Dropdown(label="Photo shown", visible=False, elem_id="photo")
        with gr.Group(visible=False) as self.settings:
            self._settings(decode)
        self._tabs()
        with gr.Row(visible=False) as self.downloads:
            self.download = gr.DownloadButton(
                "Download this photo", variant="primary", elem_id="download"
            )
            self.clear = gr.Button("Start over", elem_id="clear")
        with gr.Row(visible=False) as self.many:
            self.again = gr.Button("These settings for all photos", elem_id="again")
            self.zip = gr.Button("Prepare a zip of all", elem_id="zip")
            self.zip_file = gr.DownloadButton(
                "Download the zip", visible=False, variant="primary", elem_id="zip-file"
            )

    def _settings(self, decode: Decode) -> None:
        self.preset = gr.Radio(
            [(name.capitalize(), name) for name in values.presets(decode)], value=values.NATURAL,
            label="Preset", elem_id="preset",
            info="natural: the weights' own settings; faithful: the most probable, calmer colours",
        )  # fmt: skip
        with gr.Row():
            self.temperature = gr.Slider(
                0.05, 1.5, value=decode.temperature, step=0.01, label="Temperature",
                info="low: decided colours; high: cautious ones", elem_id="temperature",
                min_width=260,
            )  # fmt: skip
            self.vividness = gr.Slider(
                0, max(1, decode.vividness), value=decode.vividness, step=0.01, label="Vividness",
                info="0: probable colours; high: rarer, stronger ones", elem_id="vividness",
                min_width=260,
            )  # fmt: skip
            self.saturation = gr.Slider(
                0, 2, value=decode.saturation, step=0.01, label="Saturation",
                info="0: gray; 1: as predicted", elem_id="saturation", min_width=260,
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
        self.color = gr.ColorPicker(label="Colour of the hint", value="#c03030", elem_id="color")
        self.canvas = gr.Image(
            label="Coloured photo: click where the colour belongs", interactive=False,
            elem_id="canvas", buttons=[],
        )  # fmt: skip
        with gr.Accordion("By numbers, without a mouse", open=False), gr.Row():
            self.x = gr.Number(label="Pixels from the left", value=0, precision=0, min_width=120)
            self.y = gr.Number(label="Pixels from the top", value=0, precision=0, min_width=120)
            self.add = gr.Button("Add the hint", elem_id="add-hint")
        self.hints = gr.HTML(_hints(()), elem_id="hints")
        with gr.Row():
            self.undo = gr.Button("Undo the last hint", elem_id="undo")
            self.save = gr.Button("Prepare hints.json", elem_id="save-hints")
            self.hints_file = gr.DownloadButton(
                "Download hints.json", visible=False, variant="primary", elem_id="hints-file"
            )


class _Acts:
    """What happens when a part of the page is used."""

    def __init__(self, sessions: Sessions, parts: _Parts, decode: Decode) -> None:
        self.sessions, self.parts, self.decode = sessions, parts, decode

    def wire(self) -> None:
        """Tie the parts to the functions below."""
        p = self.parts
        shown = [p.status, p.compare, p.canvas, p.download, p.hints]
        beside = [p.variants, p.confidence, p.zip_file, p.hints_file]
        sliders = [p.temperature, p.vividness, p.saturation]
        whole = [p.photo, p.preset, *sliders, p.settings, p.tabs, p.downloads, p.many]
        everything = [*shown, *beside, *whole]
        many: dict[str, Any] = {"concurrency_id": "many", "concurrency_limit": 2}
        one: dict[str, Any] = {"concurrency_id": "one", "concurrency_limit": 2}
        hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        many, one = many | hidden, one | hidden
        p.files.upload(
            self.take, [p.files, *sliders], [p.files, *everything], trigger_mode="once", **many
        )
        p.again.click(self.again, [p.photo, *sliders], everything, **many)
        p.photo.input(self.look, p.photo, everything, **one)
        for slider in sliders:
            slider.input(
                self.settings, [p.photo, *sliders], [*shown, *beside, p.preset],
                trigger_mode="always_last", **one,
            )  # fmt: skip
        p.preset.input(
            self.apply_preset, [p.photo, p.preset], [*shown, *beside, p.preset, *sliders], **one
        )
        p.hints_tab.select(self.canvas, p.photo, p.canvas, **one)
        p.canvas.select(self.point, [p.photo, p.color], [*shown, *beside], **one)
        p.add.click(self.hint, [p.photo, p.x, p.y, p.color], [*shown, *beside], **one)
        p.undo.click(self.undo, p.photo, [*shown, *beside], **one)
        p.save.click(self.save_hints, None, p.hints_file, **one)
        one["show_progress"] = "minimal"
        p.variants_tab.select(self.vary, p.photo, p.variants, **one)
        p.variants.select(self.choose, p.photo, shown, **one)
        p.confidence_tab.select(self.confidence, p.photo, p.confidence, **one)
        p.zip.click(self.zip, None, p.zip_file, **one)
        p.clear.click(self.clear, None, everything, **one)

    def take(
        self,
        files: list[str] | None,
        temperature: float,
        vividness: float,
        saturation: float,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Photos were dropped: colour them, show the first at once."""
        if not files:
            return
        yield None, _working(_WORKING), *_keep(_PARTS - 1)
        with told():
            settings = values.settings(temperature, vividness, saturation, decode=self.decode)
            uploaded = [self.sessions.uploaded(file) for file in files]
            session = self.sessions.get_or_create(request.session_hash or "")
            new = session.add(uploaded, settings)
            for update in self._progress(session, new):
                yield _keep(1) + update

    def again(
        self,
        photo: int | None,
        temperature: float,
        vividness: float,
        saturation: float,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """All photos once more, with the settings of the sliders."""
        with told():
            session = self._session(request)
            for entry in session.entries:
                entry.settings = values.settings(
                    temperature,
                    vividness,
                    saturation,
                    hints=entry.settings.hints,
                    decode=self.decode,
                )
            shown = self._entry(session, photo)
            rest = [entry for entry in session.entries if entry is not shown]
            yield from self._progress(session, [shown, *rest])

    def _progress(self, session: Session, entries: Sequence[Entry]) -> Iterator[tuple[Any, ...]]:
        shown: Entry | None = None
        for number, entry in enumerate(session.colour(entries), start=1):
            report = _report(session, done=number, total=len(entries))
            if shown is None and entry.done:
                shown = entry
                yield self._everything(session, entry, report)
            else:
                yield report, *_keep(_PARTS - 1)
        final = _report(session)
        if shown is None:
            yield final, *_keep(_PARTS - 1)
        elif len(entries) > 1:
            yield self._everything(session, shown, final)
        else:
            yield final, *_keep(_PARTS - 1)

    def look(self, photo: int | None, request: gr.Request) -> tuple[Any, ...]:
        """Another photo was chosen."""
        with told():
            session = self._session(request)
            return self._everything(session, self._entry(session, photo), _report(session))

    def settings(
        self,
        photo: int | None,
        temperature: float,
        vividness: float,
        saturation: float,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """A slider moved."""
        with told():
            session = self._session(request)
            chosen = values.settings(temperature, vividness, saturation, decode=self.decode)
            entry = session.change(
                self._entry(session, photo),
                temperature=chosen.temperature,
                vividness=chosen.vividness,
                saturation=chosen.saturation,
            )
            return *self._changed(session, entry), self._decode_values(entry)[0]

    def apply_preset(
        self, photo: int | None, preset: str | None, request: gr.Request
    ) -> tuple[Any, ...]:
        """A preset was chosen: it moves all sliders."""
        with told():
            presets = values.presets(self.decode)
            if preset not in presets:
                raise Pix2ColorError(f"there is no such preset; there are {', '.join(presets)}")
            *changed, _ = self.settings(photo, *presets[preset], request)
            return *changed, preset, *presets[preset]

    def canvas(self, photo: int | None, request: gr.Request) -> str:
        """The tab of hints was opened: gradio forgets pictures for a tab that was never open."""
        with told():
            session = self._session(request)
            return str(session.show(self._entry(session, photo))[1])

    def point(
        self, photo: int | None, color: str, request: gr.Request, event: gr.SelectData
    ) -> tuple[Any, ...]:
        """The photo was clicked."""
        x, y = event.index
        return self.hint(photo, x, y, color, request)

    def hint(
        self, photo: int | None, x: float, y: float, color: str, request: gr.Request
    ) -> tuple[Any, ...]:
        """Pin a colour to a place."""
        with told():
            session = self._session(request)
            entry = session.hint(
                self._entry(session, photo),
                values.number(x, "x"),
                values.number(y, "y"),
                values.hex_color(color),
            )
            return self._changed(session, entry)

    def undo(self, photo: int | None, request: gr.Request) -> tuple[Any, ...]:
        """Take the last hint away."""
        with told():
            session = self._session(request)
            return self._changed(session, session.undo(self._entry(session, photo)))

    def save_hints(self, request: gr.Request) -> Any:
        """Make hints.json."""
        with told():
            return gr.update(value=str(self._session(request).hints_file()), visible=True)

    def vary(self, photo: int | None, request: gr.Request) -> list[Any]:
        """Fill the strip of variants."""
        with told():
            session = self._session(request)
            found = session.vary(self._entry(session, photo))
            return [(str(path), f"variant {n}") for n, path in enumerate(found, start=1)]

    def choose(
        self, photo: int | None, request: gr.Request, event: gr.SelectData
    ) -> tuple[Any, ...]:
        """A variant was pressed."""
        with told():
            session = self._session(request)
            entry = session.choose(self._entry(session, photo), int(event.index))
            note = f"Variant {entry.chosen + 1} is taken."
            return self._shown(session, entry, _status(note))

    def confidence(self, photo: int | None, request: gr.Request) -> str:
        """Show the map of confidence."""
        with told():
            session = self._session(request)
            return str(session.confidence(self._entry(session, photo)))

    def zip(self, request: gr.Request) -> Any:
        """Make the zip of all results."""
        with told():
            return gr.update(value=str(self._session(request).all_files()), visible=True)

    def clear(self, request: gr.Request) -> tuple[Any, ...]:
        """Forget everything."""
        with told():
            if session := self.sessions.find(request.session_hash or ""):
                session.clear()
        away = gr.update(visible=False)
        gone = (None, None, None, _hints(()))
        natural = (values.NATURAL, *values.presets(self.decode)[values.NATURAL])
        photo = gr.update(choices=[], value=None, visible=False)
        return _status(_FIRST), *gone, [], None, away, away, photo, *natural, *(away,) * 4

    def _session(self, request: gr.Request) -> Session:
        return self.sessions.get(request.session_hash or "")

    def _entry(self, session: Session, photo: int | None) -> Entry:
        """The photo of that number; it comes from the client, and may be anything."""
        if not isinstance(photo, int) or not 0 <= photo < len(session.entries):
            raise Pix2ColorError("that photo is not here any more")
        entry = session.entries[photo]
        if not entry.done:
            raise Pix2ColorError(f"{entry.name}: {entry.failure or 'is not coloured yet'}")
        return entry

    def _decode_values(self, entry: Entry) -> tuple[Any, ...]:
        """A photo's preset (None where its settings are of none) and positions of the sliders."""
        sliders = tuple(
            getattr(self.decode, name) if chosen is None else chosen
            for name in ("temperature", "vividness", "saturation")
            for chosen in [getattr(entry.settings, name)]
        )
        named = {position: name for name, position in reversed(values.presets(self.decode).items())}
        return named.get(sliders), *sliders

    def _shown(self, session: Session, entry: Entry, status: str) -> tuple[Any, ...]:
        before, after = (str(path) for path in session.show(entry))
        download = gr.update(value=str(entry.result), label=f"Download {entry.result.name}")
        return status, (before, after), after, download, _hints(entry.settings.hints)

    def _changed(self, session: Session, entry: Entry) -> tuple[Any, ...]:
        """After new colours: the strip and prepared files are of the former ones."""
        away = gr.update(visible=False)
        return *self._shown(session, entry, _status("Coloured.")), [], gr.skip(), away, away

    def _everything(self, session: Session, entry: Entry, status: str) -> tuple[Any, ...]:
        away, here = gr.update(visible=False), gr.update(visible=True)
        done = [(e.name, n) for n, e in enumerate(session.entries) if e.done]
        several = len(session.entries) > 1
        photo = gr.update(choices=done, value=session.entries.index(entry), visible=several)
        return (
            *self._shown(session, entry, status),
            *([], None, away, away),
            photo,
            *self._decode_values(entry),
            *(here, here, here, gr.update(visible=several)),
        )


def _keep(count: int) -> tuple[Any, ...]:
    """So many parts left as they are."""
    return (gr.skip(),) * count


def _leaving(sessions: Sessions) -> Callable[[gr.Request], None]:
    def leave(request: gr.Request) -> None:
        sessions.end(request.session_hash or "")

    return leave


def _status(text: str, more: str = "") -> str:
    """The line that screen readers follow."""
    return f'<div class="status" role="status" aria-live="polite">{html.escape(text)}{more}</div>'


def _working(text: str, share: float | None = None) -> str:
    value = "" if share is None else f' value="{share:.3f}"'
    return _status(text, f'<progress aria-label="progress"{value}></progress>')


def _report(session: Session, *, done: int | None = None, total: int | None = None) -> str:
    """How far it is, and every photo that was refused or failed, by name."""
    if done is not None and total is not None and done < total:
        return _working(f"{done} of {total} photos …", done / total)
    failed = [*session.refused, *((e.name, e.failure) for e in session.entries if e.failure)]
    count = sum(1 for entry in session.entries if entry.done)
    text = "1 photo coloured." if count == 1 else f"{count} photos coloured."
    if not failed:
        return _status(text)
    items = "".join(
        f"<li><b>{html.escape(name)}</b>: {html.escape(why)}</li>" for name, why in failed
    )
    return _status(f"{text} {len(failed)} not:", f"<ul>{items}</ul>")


def _hints(hints: Sequence[Any]) -> str:
    if not hints:
        return "<div>No hint yet.</div>"
    items = "".join(
        f'<span class="swatch" style="background:{html.escape(one["color"])}"></span>'
        f"{html.escape(one['color'])} at {one['x']:g}, {one['y']:g}"
        for one in hints
    )
    count = "1 hint" if len(hints) == 1 else f"{len(hints)} hints"
    return f"<div>{count}:{items}</div>"
