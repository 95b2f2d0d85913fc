"""Colorizer: the network and the full-size work behind one call, for Python users."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pix2color import bands
from pix2color.color.icc_matrix import SRGB
from pix2color.config import DecodeConfig
from pix2color.errors import PhotoError, Pix2ColorError
from pix2color.guidance.guidance import NO_GUIDANCE, Guidance
from pix2color.guidance.hints import Hint, encode_hints, parse_hints
from pix2color.guidance.palette import palette_of
from pix2color.inference import images, postprocess, preprocess
from pix2color.inference.images import ImageLike
from pix2color.inference.prediction import Floats, Prediction
from pix2color.photo import Photo, profiles
from pix2color.photo.photo import Pixels
from pix2color.runtime.base import Runtime, out_of_memory
from pix2color.runtime.load import load_runtime

_MIN_INPUT_SIZE = 48  # pixels, below which no smaller network input is tried

Result = TypeVar("Result")


class Colorizer:
    """Colors photos; their lightness, size, depth, alpha and metadata stay.

    Safe to call from several threads. On the CPU a photo's result does not depend on what else is
    colored, in which order or by how many threads.

    Args:
        runtime: runs the network; the full-size work is always the CPU's.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path | None = None,
        device: str | None = None,
        *,
        runtime: str | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> Colorizer:
        """Load weights.

        Args:
            name_or_path: None for the packaged weights, a .safetensors or an .onnx file, or a
                repository of the Hugging Face Hub (`checkpoint.load`).
            device: cpu, cuda, cuda:1, mps; None takes a GPU where there is one.
            runtime: torch or onnx; None: onnx on a CPU, torch on a GPU and for weights without a
                graph (`NAME.onnx`) beside them. onnx exports such weights at first use,
                into the user's cache.
            announce: called with a message before such an export.

        Raises:
            WeightsError: missing, not such a file, of another architecture.
            Pix2ColorError: a device or runtime that is not there.
        """
        return cls(load_runtime(name_or_path, device, kind=runtime, announce=announce))

    @property
    def decode(self) -> DecodeConfig:
        """The weights' default decoding."""
        return self.runtime.info.decode

    @property
    def digest(self) -> str:
        """12 hex digits of the weights."""
        return self.runtime.info.digest

    @overload
    def __call__(self, image: Photo | str | Path, **options: Any) -> Photo: ...
    @overload
    def __call__(self, image: Image.Image, **options: Any) -> Image.Image: ...
    @overload
    def __call__(self, image: NDArray[Any], **options: Any) -> NDArray[Any]: ...
    @overload
    def __call__(self, image: Sequence[ImageLike], **options: Any) -> list[Any]: ...
    def __call__(
        self,
        image: ImageLike | Sequence[ImageLike],
        *,
        hints: Sequence[Hint | Mapping[str, Any]] = (),
        reference: Image.Image | str | Path | None = None,
        strength: float = 0.5,
        variants: int | None = None,
        **options: Any,
    ) -> Any:
        """Color one image or a list of them; each comes back as the type it had.

        Args:
            image: a path (a Photo comes back), a Photo, a Pillow image, or an array H,W,
                H,W,1..4: uint8, uint16, or float in 0..1; sRGB; 2 and 4 channels have alpha last.
            hints: colors pinned to places of one image, as `hints.Hint` or as the objects of
                hints.json: {"x": 120, "y": 80, "color": "#2040ff"}.
            reference: a color photo whose palette is taken.
            strength: of the palette, 0..1.
            variants: number of versions; each image then becomes a list, the likeliest first.
            options: fields of config.DecodeConfig, each in place of the weights' default.

        Returns:
            RGB (with alpha where there was some) of the same size, depth and lightness.

        Raises:
            PhotoError: a file that cannot be read, an image of a kind that is not supported.
            Pix2ColorError: an option out of range, a hint outside the image, or weights without
                classes where variants or a palette are asked for.
        """
        decode = self.resolve_decode(**options)
        guidance = Guidance(
            hints=tuple(parse_hints(hints)),
            palette=None if reference is None else palette_of(reference),
            strength=strength,
            variants=1 if variants is None else variants,
        )

        def colorize(item: ImageLike) -> Any:
            photo, convert_back = images.as_photo(item)
            photos, _ = self.colorize_variants(photo, decode, guidance=guidance)
            results = [convert_back(colored) for colored in photos]
            return results[0] if variants is None else results

        if isinstance(image, list | tuple):
            if guidance.hints:
                raise Pix2ColorError("hints are for one image: color a list without them")
            return [colorize(item) for item in image]
        return colorize(image)  # type: ignore[arg-type]

    def confidence(self, image: ImageLike, **options: Any) -> Floats:
        """How sure the network is of each pixel's color: H,W in 0..1 (`Prediction.confidence`).

        Args:
            image: as for a call.
            options: input_size, as for a call.

        Raises:
            PhotoError, Pix2ColorError: as a call.
        """
        photo, _ = images.as_photo(image)
        gray, decode = preprocess.gray_values(photo), self.resolve_decode(**options)
        _, confidence, _ = self._with_oom_fallback(gray, decode, Prediction.confidence)
        size = (photo.width, photo.height)
        return np.asarray(Image.fromarray(confidence).resize(size, Image.Resampling.BILINEAR))

    def resolve_decode(self, **options: Any) -> DecodeConfig:
        """The weights' default decoding with some options in place of it; None keeps a default.

        Raises Pix2ColorError for an unknown option, a value out of range, or a calibration of
        weights that have none.
        """
        overrides = {k: v for k, v in options.items() if v is not None}
        try:
            decode = DecodeConfig.model_validate(self.decode.model_dump() | overrides)
        except ValueError as error:
            first = error.errors()[0]  # type: ignore[attr-defined]
            name = ".".join(str(part) for part in first["loc"])
            raise Pix2ColorError(f"{name} = {first['input']}: {first['msg'].lower()}") from None
        info = self.runtime.info
        if decode.calibration and info.calibration is None:
            raise Pix2ColorError(
                f"the weights {info.name} have no calibration",
                remedy="fit one with the command `python -m pix2color calibrate`, or leave"
                " {calibration} out",
            )
        return decode

    def colorize(
        self,
        photo: Photo,
        decode: DecodeConfig | None = None,
        *,
        srgb: bool = False,
        guidance: Guidance = NO_GUIDANCE,
    ) -> Photo:
        """A Photo in color, all pages; everything else in it is kept.

        A gray profile, which cannot describe color, is replaced by sRGB; an RGB profile stays.
        Where memory runs out, smaller sizes are tried and the Photo's notes say so.

        Args:
            decode: in place of the weights' default.
            srgb: write sRGB even where the photo has another RGB profile.
            guidance: hints (of the first page) and a palette.

        Raises:
            PhotoError: not enough memory whatever is tried.
            Pix2ColorError: a hint outside the photo, or weights without classes.
        """
        guidance = replace(guidance, variants=1)
        return self.colorize_variants(photo, decode, srgb=srgb, guidance=guidance)[0][0]

    def colorize_variants(
        self,
        photo: Photo,
        decode: DecodeConfig | None = None,
        *,
        srgb: bool = False,
        guidance: Guidance = NO_GUIDANCE,
    ) -> tuple[list[Photo], Prediction]:
        """As `colorize`, `guidance.variants` versions; and the prediction that they come from."""
        decode = decode or self.decode
        gray = preprocess.gray_values(photo)
        prediction, variants, memory_notes = self._with_oom_fallback(
            gray,
            decode,
            lambda prediction: guidance.apply(prediction, decode, gray.shape),
            features=guidance.needs_features,
            hints=guidance.hints,
        )
        color_space, icc = profiles.color_space(photo), photo.icc
        if color_space.is_gray or (srgb and not color_space.is_srgb):
            color_space, icc = SRGB, profiles.srgb_profile()
        page_guidance = replace(guidance, hints=())
        pages = [
            self.colorize_variants(page, decode, srgb=srgb, guidance=page_guidance)[0]
            for page in photo.pages
        ]
        photos = []
        for number, ab in enumerate(variants):
            pixels, band_notes = postprocess.to_pixels_within_memory(
                gray, ab, prediction.cell_lightness(), prediction.guide, color_space
            )
            its_pages = tuple(page[number] for page in pages)
            page_notes = (note for page in its_pages for note in page.notes)
            notes = (*photo.notes, *memory_notes, *band_notes, *page_notes)
            photos.append(replace(photo, pixels=pixels, icc=icc, pages=its_pages, notes=notes))
        return photos, prediction

    def predict_ab(self, gray: Pixels, decode: DecodeConfig) -> Floats:
        """Gray values of a photo, H,W -> its ab, 2,h,w at a middle size (`preprocess.guide_size`).

        Borders around the photo have no color.
        """
        prediction, ab, _ = self._with_oom_fallback(gray, decode, lambda each: each.ab(decode))
        return postprocess.upsample_ab(ab, prediction.cell_lightness(), prediction.guide)

    def predict(
        self,
        gray: Pixels,
        input_size: int | None = None,
        *,
        features: bool = False,
        hints: Sequence[Hint] = (),
        device: str | None = None,
    ) -> Prediction:
        """One pass of the network over a photo.

        Args:
            gray: H,W, of `preprocess.gray_values`.
            input_size: shorter side of the network's input; None: the weights' default.
            features: keep the decoder's, which hints and variants need.
            hints: given to a network that accepts them; others get none.
            device: in place of the runtime's.

        Raises:
            Pix2ColorError: a hint outside the photo.
        """
        info = self.runtime.info
        input_size = input_size or self.decode.input_size
        guide = bands.start(partial(preprocess.guide, gray, input_size))  # beside the network
        lightness = preprocess.network_lightness(
            gray, input_size, info.size_multiple, square=info.square_input
        )
        hint_input = None
        if hints and info.accepts_hints:
            rows, columns = (side // info.output_stride for side in lightness.shape)
            hint_input = encode_hints(hints, gray.shape, (rows, columns))[None]
        output = self.runtime.run(
            lightness[None, None], features=features, hints=hint_input, device=device
        )
        last = None if output.features is None else output.features[0]
        return Prediction(
            output.values[0], lightness, guide.result(), info.log_prior, last, info.calibration
        )

    def _with_oom_fallback(
        self,
        gray: Pixels,
        decode: DecodeConfig,
        function: Callable[[Prediction], Result],
        **options: Any,
    ) -> tuple[Prediction, Result, tuple[str, ...]]:
        """`function` of a prediction; at smaller sizes, then on the CPU, where memory runs out.

        Returns:
            The prediction, the function's result, and notes about the memory.
        """
        sizes = [decode.input_size]
        while sizes[-1] // 2 >= _MIN_INPUT_SIZE:
            sizes.append(sizes[-1] // 2)
        own = self.runtime.device
        for device in dict.fromkeys((own, "cpu")):
            for size in sizes:
                try:
                    prediction = self.predict(gray, size, device=device, **options)
                    result = function(prediction)
                except (MemoryError, RuntimeError) as error:
                    if not out_of_memory(error):
                        raise
                    continue
                if size == decode.input_size and device == own:
                    return prediction, result, ()
                note = f"out of memory: network at {size} pixels on {device.partition(':')[0]}"
                return prediction, result, (note,)
        raise PhotoError(f"out of memory even with the network at {sizes[-1]} pixels")
