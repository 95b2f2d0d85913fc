"""Decoders and heads from a config's section: here their names meet classes."""

from __future__ import annotations

from collections.abc import Callable

from pix2color.color.ab_bins import Prior
from pix2color.config import HeadConfig, ModelConfig
from pix2color.models.ddcolor import DDColorDecoder
from pix2color.models.encoders import Encoder
from pix2color.models.heads import (
    AmlClassificationHead,
    ClassificationHead,
    Head,
    MarginalClassHead,
    RegressionHead,
)
from pix2color.models.hypercolumn import HypercolumnDecoder
from pix2color.models.shortcut import ShortcutDecoder
from pix2color.models.unet import UNetDecoder
from pix2color.models.upsample import UpsampleDecoder


def _unet(model: ModelConfig, encoder: Encoder) -> UNetDecoder:
    return UNetDecoder(
        encoder.channels,
        encoder.reduction,
        decoder_channels=model.decoder_channels,
        convs_per_level=model.convs_per_level,
        residual_blocks=model.residual_blocks,
        stride=model.output_stride,
        attention=model.attention,
        dropout=model.dropout,
    )


def _hypercolumn(model: ModelConfig, encoder: Encoder) -> HypercolumnDecoder:
    return HypercolumnDecoder(
        encoder.channels, encoder.reduction, stride=model.output_stride, **dict(model.hypercolumn)
    )


def _upsample(model: ModelConfig, encoder: Encoder) -> UpsampleDecoder:
    return UpsampleDecoder(
        encoder.channels,
        encoder.reduction,
        stride=model.output_stride,
        dropout=model.conv_encoder.dropout,
        **dict(model.upsample),
    )


def _shortcut(model: ModelConfig, encoder: Encoder) -> ShortcutDecoder:
    return ShortcutDecoder(
        encoder.channels,
        encoder.reduction,
        stages=model.shortcut.stages,
        stride=model.output_stride,
    )


def _ddcolor(model: ModelConfig, encoder: Encoder) -> DDColorDecoder:
    return DDColorDecoder(
        encoder.channels, encoder.reduction, stride=model.output_stride, **dict(model.ddcolor)
    )


_Decoder = UNetDecoder | HypercolumnDecoder | UpsampleDecoder | ShortcutDecoder | DDColorDecoder
_DECODERS: dict[str, Callable[[ModelConfig, Encoder], _Decoder]] = {
    "unet": _unet,
    "hypercolumn": _hypercolumn,
    "upsample": _upsample,
    "shortcut": _shortcut,
    "ddcolor": _ddcolor,
}


def build_decoder(model: ModelConfig, encoder: Encoder) -> _Decoder:
    """Build the decoder of a config's section for the levels of an encoder.

    Raises:
        ConfigError: the decoder cannot reach the output's stride from them.
    """
    return _DECODERS[model.decoder](model, encoder)


def _class_head(head: HeadConfig, channels: int, prior: Prior | None) -> ClassificationHead:
    head_class = AmlClassificationHead if head.compat == "aml" else ClassificationHead
    return head_class(
        channels,
        (prior or Prior.load()).probability,
        soft_encoding_k=head.soft_encoding_k,
        rebalance_lambda=head.rebalance_lambda,
        logit_adjustment_tau=head.logit_adjustment_tau,
        kernel=head.kernel_size,
        bias=head.bias,
    )


def _regression_head(head: HeadConfig, channels: int, prior: Prior | None) -> RegressionHead:
    return RegressionHead(
        channels,
        activation=head.activation,
        scale=head.ab_scale,
        kernel=head.kernel_size,
        bias=head.bias,
    )


def _marginal_class_head(head: HeadConfig, channels: int, prior: Prior | None) -> MarginalClassHead:
    return MarginalClassHead(
        channels, kernel=head.kernel_size, bias=head.bias, decoding=head.decoding
    )


_HEADS: dict[str, Callable[[HeadConfig, int, Prior | None], Head]] = {
    "classes": _class_head,
    "regression": _regression_head,
    "marginal64": _marginal_class_head,
}


def build_head(head: HeadConfig, channels: int, prior: Prior | None = None) -> Head:
    """Build the head of a config's section for features of `channels` channels."""
    return _HEADS[head.type](head, channels, prior)
