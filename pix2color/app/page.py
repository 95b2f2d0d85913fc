"""The HTML page and its event handlers; all work is done by the session."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from pix2color.app import api, validation
from pix2color.app.api import gradio_errors
from pix2color.app.components import (
    NO_PHOTO,
    READING,
    Components,
    hints_html,
    progress_html,
    report_html,
    status_html,
)
from pix2color.app.session import Entry, Session
from pix2color.app.sessions import SessionStore
from pix2color.config import DecodeConfig
from pix2color.errors import Pix2ColorError

_ABOUT = """# Color old photos

**The colors are guesses.** A network has learned from many photos what color such things usually
are; it cannot know what color they were. A photo's lightness, size and metadata stay."""
_OUTPUTS = 19  # components that a new photo changes


def build(sessions: SessionStore, decode: DecodeConfig, *, calibrated: bool) -> gr.Blocks:
    """Build the page.

    Args:
        sessions: the store of all sessions.
        decode: the weights' default settings, the first positions of the sliders.
        calibrated: whether the weights have a calibration, which then has a slider.
    """
    page = gr.Blocks(title="pix2color: color old photos", analytics_enabled=False)
    with page:
        gr.Markdown(_ABOUT)
        components = Components(decode, calibrated=calibrated)
        api.register_api(sessions)  # before the page's own, which have the same names
        _Handlers(sessions, components, decode).connect()
        page.unload(_on_unload(sessions))
    return page


class _Handlers:
    """The event handlers of the page."""

    def __init__(
        self, sessions: SessionStore, components: Components, decode: DecodeConfig
    ) -> None:
        self.sessions, self.components, self.decode = sessions, components, decode

    def connect(self) -> None:
        """Connect the components to the handlers."""
        p = self.components
        shown = [p.status, p.compare, p.canvas, p.download, p.hints]
        dependent = [p.variants, p.confidence, p.zip_file, p.hints_file]
        sliders = [p.temperature, p.vividness, p.saturation, p.calibration]
        layout = [p.photo, p.preset, *sliders, p.settings, p.tabs, p.downloads, p.many]
        everything = [*shown, *dependent, *layout]
        many: dict[str, Any] = {"concurrency_id": "many", "concurrency_limit": 2}
        one: dict[str, Any] = {"concurrency_id": "one", "concurrency_limit": 2}
        hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        many, one = many | hidden, one | hidden
        p.files.upload(
            self.on_upload, [p.files, *sliders], [p.files, *everything], trigger_mode="once", **many
        )
        p.recolor_all.click(self.on_recolor_all, [p.photo, *sliders], everything, **many)
        p.photo.input(self.show, p.photo, everything, **one)
        for slider in sliders:
            slider.input(
                self.settings, [p.photo, *sliders], [*shown, *dependent, p.preset],
                trigger_mode="always_last", **one,
            )  # fmt: skip
        p.preset.input(
            self.apply_preset, [p.photo, p.preset], [*shown, *dependent, p.preset, *sliders], **one
        )
        p.hints_tab.select(self.canvas, p.photo, p.canvas, **one)
        p.canvas.select(self.point, [p.photo, p.color], [*shown, *dependent], **one)
        p.add.click(self.hint, [p.photo, p.x, p.y, p.color], [*shown, *dependent], **one)
        p.undo.click(self.undo, p.photo, [*shown, *dependent], **one)
        p.save.click(self.save_hints, None, p.hints_file, **one)
        one["show_progress"] = "minimal"
        p.variants_tab.select(self.make_variants, p.photo, p.variants, **one)
        p.variants.select(self.choose, p.photo, shown, **one)
        p.confidence_tab.select(self.confidence, p.photo, p.confidence, **one)
        p.zip.click(self.zip, None, p.zip_file, **one)
        p.clear.click(self.clear, None, everything, **one)

    def on_upload(
        self,
        files: list[str] | None,
        temperature: float,
        vividness: float,
        saturation: float,
        calibration: float,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Color uploaded photos; show the first as soon as it is done."""
        if not files:
            return
        yield None, progress_html(READING), *_no_update(_OUTPUTS - 1)
        with gradio_errors():
            settings = validation.settings(
                temperature, vividness, saturation, calibration, decode=self.decode
            )
            uploaded = [self.sessions.uploaded(file) for file in files]
            session = self.sessions.get_or_create(request.session_hash or "")
            new = session.add(uploaded, settings)
            for update in self._progress(session, new):
                yield _no_update(1) + update

    def on_recolor_all(
        self,
        photo: int | None,
        temperature: float,
        vividness: float,
        saturation: float,
        calibration: float,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Color all photos again with the settings of the sliders."""
        with gradio_errors():
            session = self._session(request)
            for entry in session.entries:
                entry.settings = validation.settings(
                    temperature, vividness, saturation, calibration,
                    hints=entry.settings.hints, decode=self.decode,
                )  # fmt: skip
            shown = self._entry(session, photo)
            others = [entry for entry in session.entries if entry is not shown]
            yield from self._progress(session, [shown, *others])

    def _progress(self, session: Session, entries: Sequence[Entry]) -> Iterator[tuple[Any, ...]]:
        """Color photos; an update per photo. The first that succeeds is shown, also at the end.

        The status says that all are done only in the last update, which also hides the old zip:
        after it, a new zip can be prepared.
        """
        if not entries:
            yield report_html(session), *_no_update(_OUTPUTS - 1)
        shown: Entry | None = None
        for number, entry in enumerate(session.colorize(entries), start=1):
            if entry not in session.entries:  # the session was cleared meanwhile
                return
            report = report_html(session, done=number, total=len(entries))
            is_first = shown is None and entry.done
            shown = entry if is_first else shown
            if shown is not None and (is_first or number == len(entries)):
                yield self._everything(session, shown, report)
            else:
                yield report, *_no_update(_OUTPUTS - 1)

    def show(self, photo: int | None, request: gr.Request) -> tuple[Any, ...]:
        """Another photo was selected."""
        with self._photo(photo, request) as (session, entry):
            return self._everything(session, entry, report_html(session))

    def settings(
        self,
        photo: int | None,
        temperature: float,
        vividness: float,
        saturation: float,
        calibration: float,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """A slider moved."""
        with self._photo(photo, request) as (session, entry):
            settings = validation.settings(
                temperature, vividness, saturation, calibration, decode=self.decode
            )
            session.change(entry, **settings.decode_options())
            return *self._changed(session, entry), self._decode_values(entry)[0]

    def apply_preset(
        self, photo: int | None, preset: str | None, request: gr.Request
    ) -> tuple[Any, ...]:
        """A preset was selected: it moves all sliders."""
        with gradio_errors():
            presets = validation.presets(self.decode)
            if preset not in presets:
                raise Pix2ColorError(f"there is no such preset; there are {', '.join(presets)}")
            *changed, _ = self.settings(photo, *presets[preset], request)
            return *changed, preset, *presets[preset]

    def canvas(self, photo: int | None, request: gr.Request) -> str:
        """The hints tab was opened: gradio drops images of a tab that was never open."""
        with self._photo(photo, request) as (session, entry):
            return str(session.show(entry)[1])

    def point(
        self, photo: int | None, color: str, request: gr.Request, event: gr.SelectData
    ) -> tuple[Any, ...]:
        """The photo was clicked."""
        x, y = event.index
        return self.hint(photo, x, y, color, request)

    def hint(
        self, photo: int | None, x: float, y: float, color: str, request: gr.Request
    ) -> tuple[Any, ...]:
        """Set a color at a point."""
        with self._photo(photo, request) as (session, entry):
            x, y = validation.number(x, "x"), validation.number(y, "y")
            session.hint(entry, x, y, validation.hex_color(color))
            return self._changed(session, entry)

    def undo(self, photo: int | None, request: gr.Request) -> tuple[Any, ...]:
        """Remove the last hint."""
        with self._photo(photo, request) as (session, entry):
            return self._changed(session, session.undo(entry))

    def save_hints(self, request: gr.Request) -> Any:
        """Write hints.json."""
        with gradio_errors():
            return gr.update(value=str(self._session(request).hints_file()), visible=True)

    def make_variants(self, photo: int | None, request: gr.Request) -> list[Any]:
        """Fill the gallery of variants."""
        with self._photo(photo, request) as (session, entry):
            paths = session.make_variants(entry)
            return [(str(path), f"variant {n}") for n, path in enumerate(paths, start=1)]

    def choose(
        self, photo: int | None, request: gr.Request, event: gr.SelectData
    ) -> tuple[Any, ...]:
        """A variant was pressed."""
        with self._photo(photo, request) as (session, entry):
            session.choose(entry, int(event.index))
            return self._shown(
                session, entry, status_html(f"Variant {entry.selected + 1} is taken.")
            )

    def confidence(self, photo: int | None, request: gr.Request) -> str:
        """Show the map of confidence."""
        with self._photo(photo, request) as (session, entry):
            return str(session.confidence(entry))

    def zip(self, request: gr.Request) -> Any:
        """Make the zip of all results."""
        with gradio_errors():
            return gr.update(value=str(self._session(request).all_files()), visible=True)

    def clear(self, request: gr.Request) -> tuple[Any, ...]:
        """Remove all photos of the session and reset the page."""
        with gradio_errors():
            if session := self.sessions.find(request.session_hash or ""):
                session.clear()
        hide = gr.update(visible=False)
        return (
            *(status_html(NO_PHOTO), None, None, None, hints_html(())),
            *([], None, hide, hide),
            gr.update(choices=[], value=None, visible=False),
            *(validation.NATURAL, *validation.presets(self.decode)[validation.NATURAL]),
            *(hide,) * 4,
        )

    def _session(self, request: gr.Request) -> Session:
        return self.sessions.get(request.session_hash or "")

    @contextlib.contextmanager
    def _photo(self, photo: int | None, request: gr.Request) -> Iterator[tuple[Session, Entry]]:
        """The client's session and its photo of that index; errors in the block are shown to it."""
        with gradio_errors():
            session = self._session(request)
            yield session, self._entry(session, photo)

    def _entry(self, session: Session, photo: int | None) -> Entry:
        """The photo of that index, which comes from the client and is not trusted."""
        if not isinstance(photo, int) or not 0 <= photo < len(session.entries):
            raise Pix2ColorError("that photo is not here any more")
        entry = session.entries[photo]
        if not entry.done:
            raise Pix2ColorError(f"{entry.name}: {entry.failure or 'is not colored yet'}")
        return entry

    def _decode_values(self, entry: Entry) -> tuple[Any, ...]:
        """A photo's preset (None where its settings are of none) and positions of the sliders."""
        sliders = tuple(
            getattr(self.decode, name) if value is None else value
            for name, value in entry.settings.decode_options().items()
        )
        presets = validation.presets(self.decode).items()
        return next((name for name, values in presets if values == sliders), None), *sliders

    def _shown(self, session: Session, entry: Entry, status: str) -> tuple[Any, ...]:
        before, after = (str(path) for path in session.show(entry))
        download = gr.update(value=str(entry.result), label=f"Download {entry.result.name}")
        return status, (before, after), after, download, hints_html(entry.settings.hints)

    def _changed(self, session: Session, entry: Entry) -> tuple[Any, ...]:
        """Updates after new colors: empty the gallery and hide files that are out of date."""
        hide = gr.update(visible=False)
        return *self._shown(session, entry, status_html("Colored.")), [], gr.skip(), hide, hide

    def _everything(self, session: Session, entry: Entry, status: str) -> tuple[Any, ...]:
        hide, show = gr.update(visible=False), gr.update(visible=True)
        choices = [(e.name, n) for n, e in enumerate(session.entries) if e.done]
        several = len(session.entries) > 1
        photo = gr.update(choices=choices, value=session.entries.index(entry), visible=several)
        return (
            *self._shown(session, entry, status),
            *([], None, hide, hide),
            photo,
            *self._decode_values(entry),
            *(show, show, show, gr.update(visible=several)),
        )


def _no_update(count: int) -> tuple[Any, ...]:
    """Updates that leave `count` components as they are."""
    return (gr.skip(),) * count


def _on_unload(sessions: SessionStore) -> Callable[[gr.Request], None]:
    def leave(request: gr.Request) -> None:
        sessions.close(request.session_hash or "")

    return leave
