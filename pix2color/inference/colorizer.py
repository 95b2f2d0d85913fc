"""Colorizer: the network and the full-size work behind one call, for Python users."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pix2color.checkpoints import checkpoint
from pix2color.config import DecodeConfig
from pix2color.errors import PhotoError, Pix2ColorError
from pix2color.guidance.guidance import NO_GUIDANCE, Guidance
from pix2color.guidance.hints import Hint, parse_hints, rasterize
from pix2color.guidance.palette import palette_of
from pix2color.inference import bands, borders, compose, images, preprocess, upsample
from pix2color.inference.prediction import Prediction
from pix2color.models.heads import Head
from pix2color.models.hint_encoder import encode_hints
from pix2color.photo import Photo, profiles, read
from pix2color.photo.photo import Pixels
from pix2color.runtime import backends
from pix2color.runtime.device import out_of_memory, single_threaded

if TYPE_CHECKING:
    from pix2color.runtime.onnx import OnnxRuntime

_SMALLEST = 48  # network size, pixels, below which no smaller one is tried

ImageLike = Photo | Image.Image | NDArray[Any] | str | Path
Made = TypeVar("Made")


class Colorizer:
    """Colors photos; their lightness, size, depth, alpha and metadata stay.

    Safe to call from several threads. On the CPU a photo's result does not depend on what else is
    colored, in which order or by how many threads.
    """

    def __init__(
        self, released: checkpoint.Checkpoint | OnnxRuntime, *, device: str | torch.device = "cpu"
    ) -> None:
        """Args:
        released: a network and its default decoding, from `weights.load` or an ONNX file.
        device: where the network runs; the full-size work is always the CPU's.
        """
        self.device = torch.device(device)
        self.decode: DecodeConfig = released.decode
        self.name = released.name
        self.digest = released.digest
        self.backend: backends.Runtime = (
            backends.TorchRuntime(released.generator)
            if isinstance(released, checkpoint.Checkpoint)
            else released
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path | None = None,
        device: str | None = None,
        *,
        backend: str | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> Colorizer:
        """Load weights: the packaged default, a release file, or an exported .onnx file.

        Args:
            name_or_path: a name known to `pix2color.checkpoints.checkpoint`, a .safetensors or an .onnx file.
            device: cpu, cuda, cuda:1, mps; None takes a GPU where there is one.
            backend: torch or onnx; None: the file's own. onnx exports other weights at first use,
                into the user's cache, and `announce` is told so.

        Raises:
            WeightsError: missing, not such a file, of another architecture.
            Pix2ColorError: a device or backend that is not there.
        """
        released, where = backends.load(name_or_path, device, backend=backend, announce=announce)
        return cls(released, device=where)

    @overload
    def __call__(self, picture: Photo | str | Path, **options: Any) -> Photo: ...
    @overload
    def __call__(self, picture: Image.Image, **options: Any) -> Image.Image: ...
    @overload
    def __call__(self, picture: NDArray[Any], **options: Any) -> NDArray[Any]: ...
    @overload
    def __call__(self, picture: Sequence[ImageLike], **options: Any) -> list[Any]: ...
    def __call__(
        self,
        picture: ImageLike | Sequence[ImageLike],
        *,
        hints: Sequence[Hint | Mapping[str, Any]] = (),
        reference: Image.Image | str | Path | None = None,
        strength: float = 0.5,
        variants: int | None = None,
        **options: Any,
    ) -> Any:
        """Color one picture or a list of them; each comes back as the kind it came in.

        Args:
            picture: a path (a Photo comes back), a Photo, a Pillow image, or an array H,W,
                H,W,1..4: uint8, uint16, or float in 0..1; sRGB; 2 and 4 channels have alpha last.
            hints: colors pinned to places of one picture, as `hints.Hint` or as the objects of
                hints.json: {"x": 120, "y": 80, "color": "#2040ff"}.
            reference: a color photo whose palette is taken.
            strength: of the palette, 0..1.
            variants: so many versions; each picture then becomes a list, the likeliest first.
            options: size, temperature, vividness, saturation: as in config.Decode, each in place
                of the weights' default.

        Returns:
            RGB (with alpha where there was some) of the same size, depth and lightness.

        Raises:
            PhotoError: a file that cannot be read, a picture of a kind that is not supported.
            Pix2ColorError: an option out of range, a hint outside the picture, or weights without
                classes where variants or a palette are asked for.
        """
        decode = self.resolve_decode(**options)
        wishes = Guidance(
            hints=tuple(parse_hints(hints)),
            palette=None if reference is None else palette_of(reference),
            strength=strength,
            variants=1 if variants is None else variants,
        )

        def one(item: ImageLike) -> Any:
            photo, back = _as_photo(item)
            versions = [
                back(made) for made in self.colorize_variants(photo, decode, wishes=wishes)[0]
            ]
            return versions[0] if variants is None else versions

        if isinstance(picture, list | tuple):
            if wishes.hints:
                raise Pix2ColorError("hints are for one picture: color a list without them")
            return [one(item) for item in picture]
        return one(picture)  # type: ignore[arg-type]

    def confidence(self, picture: ImageLike, **options: Any) -> NDArray[np.float32]:
        """How sure the network is of each pixel's color: H,W in 0..1 (`Guess.confidence`).

        Args:
            picture: as for a call.
            options: size, as for a call.

        Raises:
            PhotoError, Pix2ColorError: as a call.
        """
        photo, _ = _as_photo(picture)
        codes, decode = preprocess.gray_values(photo), self.resolve_decode(**options)
        _, found, _ = self._with_oom_fallback(codes, decode, Prediction.confidence)
        sure = Image.fromarray(found.numpy())
        size = (photo.width, photo.height)
        return np.asarray(sure.resize(size, Image.Resampling.BILINEAR))

    def resolve_decode(self, **options: Any) -> DecodeConfig:
        """The weights' default decoding with some options in place of it; None keeps a default.

        Raises Pix2ColorError for an unknown option or a value out of range.
        """
        given = {k: v for k, v in options.items() if v is not None}
        try:
            return DecodeConfig.model_validate(self.decode.model_dump() | given)
        except ValueError as error:
            first = error.errors()[0]  # type: ignore[attr-defined]
            name = ".".join(str(part) for part in first["loc"])
            raise Pix2ColorError(f"{name} = {first['input']}: {first['msg'].lower()}") from None

    def colorize(
        self,
        photo: Photo,
        decode: DecodeConfig | None = None,
        *,
        srgb: bool = False,
        wishes: Guidance = NO_GUIDANCE,
    ) -> Photo:
        """A Photo in color, all pages; everything else in it is kept.

        A gray profile, which cannot describe color, gives way to sRGB; an RGB profile stays. Where
        memory runs out, smaller sizes are tried and the Photo's notes say so.

        Args:
            decode: in place of the weights' default.
            srgb: write sRGB even where the photo has another RGB profile.
            wishes: hints (of the first page) and a palette.

        Raises:
            PhotoError: not enough memory whatever is tried.
            Pix2ColorError: a hint outside the photo, or weights without classes.
        """
        versions, _ = self.colorize_variants(
            photo, decode, srgb=srgb, wishes=replace(wishes, variants=1)
        )
        return versions[0]

    def colorize_variants(
        self,
        photo: Photo,
        decode: DecodeConfig | None = None,
        *,
        srgb: bool = False,
        wishes: Guidance = NO_GUIDANCE,
    ) -> tuple[list[Photo], Prediction]:
        """As `color`, as many versions as are wished for; and the guess that they come from."""
        decode = decode or self.decode
        codes = preprocess.gray_values(photo)
        guess, colors, notes = self._with_oom_fallback(
            codes,
            decode,
            lambda guess: wishes.apply(guess, decode, codes.shape),
            features=wishes.needs_features,
            hints=wishes.hints,
        )
        own = preprocess.color_space(photo)
        icc = photo.icc
        if own.is_gray or (srgb and not own.is_srgb):
            own, icc = preprocess.icc_matrix.SRGB, profiles.srgb_profile()
        further = replace(wishes, hints=())
        pages = [
            self.colorize_variants(p, decode, srgb=srgb, wishes=further)[0] for p in photo.pages
        ]
        made = []
        for number, cells in enumerate(colors):
            ab = upsample_along_edges(cells.numpy(), guess.cell_lightness(), guess.guide)
            pixels, said = _compose(codes, ab, own)
            mine = tuple(page[number] for page in pages)
            all_notes = (*photo.notes, *notes, *said, *(n for page in mine for n in page.notes))
            made.append(replace(photo, pixels=pixels, icc=icc, pages=mine, notes=all_notes))
        return made, guess

    def _with_oom_fallback(
        self,
        codes: Pixels,
        decode: DecodeConfig,
        then: Callable[[Prediction], Made],
        **options: Any,
    ) -> tuple[Prediction, Made, tuple[str, ...]]:
        """`look`, and what is made of the guess; smaller, then on the CPU where memory runs out.

        Returns:
            The guess, what was made of it by one thread, and what to say of the memory.
        """
        sizes = [decode.input_size]
        while sizes[-1] // 2 >= _SMALLEST:
            sizes.append(sizes[-1] // 2)
        devices = [self.device] if self.device.type == "cpu" else [self.device, torch.device("cpu")]
        for device in devices:
            for size in sizes:
                try:
                    guess = self.predict(codes, size, device=device, **options)
                    with single_threaded(torch.device("cpu")):
                        made = then(guess)
                except (MemoryError, RuntimeError) as error:
                    if not out_of_memory(error):
                        raise
                    continue
                if size == decode.input_size and device == self.device:
                    return guess, made, ()
                return guess, made, (f"out of memory: network at {size} pixels on {device.type}",)
        raise PhotoError(f"out of memory even with the network at {sizes[-1]} pixels")

    def predict_ab(self, codes: Pixels, decode: DecodeConfig) -> NDArray[np.float32]:
        """Gray codes of a photo, H,W -> its ab at a middle size (`lightness.guide_size`).

        Paper or black around the photo is left without color.
        """
        guess, ab, _ = self._with_oom_fallback(codes, decode, lambda guess: guess.ab(decode))
        return upsample_along_edges(ab.numpy(), guess.cell_lightness(), guess.guide)

    def predict(
        self,
        codes: Pixels,
        size: int | None = None,
        *,
        features: bool = False,
        hints: Sequence[Hint] = (),
        device: torch.device | None = None,
    ) -> Prediction:
        """The network's one pass over a photo: gray codes H,W -> what it makes of it.

        Args:
            codes: of `lightness.gray_codes`.
            size: shorter side the network sees; None: the weights' default.
            features: keep the decoder's, which hints and variants need.
            hints: told to a network that was trained with some; others do not hear of them.
            device: in place of the Colorizer's.

        Raises:
            Pix2ColorError: a hint outside the photo.
        """
        height, width = codes.shape
        size = size or self.decode.input_size
        shape = preprocess.network_size(height, width, size, multiple=self.backend.stride)
        small = preprocess.resize_lightness(codes, shape)
        given = None
        if hints and self.backend.accepts_hints:
            stride = self.backend.stride
            share, ab = rasterize(hints, codes.shape, (shape[0] // stride, shape[1] // stride))
            given = encode_hints(torch.from_numpy(ab)[None], torch.from_numpy(share)[None, None])
        raw, found = self.run_network(small, features=features, hints=given, device=device)
        return Prediction(raw, small, preprocess.guide(codes, size), self.head, found)

    @property
    def head(self) -> Head:
        """The network's last layer, which decodes its output."""
        return self.backend.head

    def run_network(
        self,
        small: NDArray[np.float32],
        *,
        features: bool = False,
        hints: Tensor | None = None,
        device: torch.device | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """L at the network's size, multiples of its stride -> C,h,w, and F,h,w where asked for."""
        seen = torch.from_numpy(small)[None, None]
        raw, found = self.backend.run(seen, device or self.device, features=features, hints=hints)
        return raw[0], None if found is None else found[0]


def _as_photo(picture: ImageLike) -> tuple[Photo, Callable[[Photo], Any]]:
    """A picture as a Photo, and the way back to its own kind."""
    if isinstance(picture, Photo):
        return picture, lambda made: made
    if isinstance(picture, str | Path):
        return read(picture), lambda made: made
    if isinstance(picture, Image.Image):
        return images.from_image(picture), lambda made: images.to_image(made, picture)
    if isinstance(picture, np.ndarray):
        return images.from_array(picture), lambda made: images.to_array(made, picture)
    raise Pix2ColorError(
        f"{type(picture).__name__} is not a picture: give a path, a Photo, a Pillow image or an"
        " array"
    )


def upsample_along_edges(
    ab: NDArray[np.float32], cells: NDArray[np.float32], guide: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A network's ab enlarged along the edges of `guide`; borders neutral.

    Args:
        ab: 2,h,w.
        cells: h,w, the mean L of each cell.
        guide: H,W, the L at the size wanted.
    """
    full = upsample.joint_bilateral_upsample(ab, cells, guide)
    inner_rows, inner_columns = borders.content_slices(guide)
    inside = np.zeros(guide.shape, np.float32)
    inside[inner_rows, inner_columns] = 1
    full *= inside
    return full


def _compose(codes: Pixels, ab: NDArray[np.float32], own: Any) -> tuple[Pixels, tuple[str, ...]]:
    """The colored pixels, in smaller bands where memory runs out; and what to say of that."""
    with contextlib.suppress(MemoryError):
        return compose.compose_rgb(codes, ab, own), ()
    try:
        pixels = compose.compose_rgb(codes, ab, own, band=bands.BAND_PIXELS // 16)
        return pixels, ("out of memory: colored in smaller bands",)
    except MemoryError:
        raise PhotoError("out of memory: the photo does not fit even in small bands") from None
