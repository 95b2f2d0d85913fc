"""The section `model`: what rebuilds a network from a release file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pix2color.config.base import ConfigModel, Count, Fraction, NonNegative, Positive


class HeadConfig(ConfigModel):
    """The last layer of the network."""

    type: Literal["classes", "regression", "marginal64"] = "classes"
    """classes: 313 colors; regression: ab; marginal64: 64 steps of a and 64 of b."""
    kernel_size: Literal[1, 3] = 1
    """Side of the last convolution."""
    bias: bool = True
    """Of the last convolution."""
    activation: Literal["tanh", "linear"] = "tanh"
    """Of a regression head."""
    ab_scale: Positive = 110.0
    """A regression head's ab at activation 1, in Lab units."""
    decoding: Literal["argmax", "mean"] = "argmax"
    """Of a marginal64 head: the likeliest step | the mean of all, which has a gradient."""
    soft_encoding_k: Literal[1, 5, 10] = 5
    """Bins a pixel's color is spread over (classes)."""
    rebalance_lambda: Fraction | None = None
    """lambda of the class weights, 0..1; null: no rebalancing in the loss (classes)."""
    logit_adjustment_tau: NonNegative = 0.0
    """tau of the logit adjustment inside the class loss: rare colors weigh more while training, and
    vividness is still chosen at decoding (classes)."""
    compat: Literal["none", "aml"] = "none"
    """aml: the summed loss at full size with misplaced class weights of a published table
    (classes); to reproduce that table, not for training."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.compat != "none" and self.type != "classes":
            raise ValueError("compat needs type: classes")
        plain = self.type == "classes" and self.compat == "none" and self.rebalance_lambda is None
        if self.logit_adjustment_tau and not plain:
            raise ValueError(
                "logit_adjustment_tau needs type: classes, rebalance_lambda: null and compat: none"
            )
        return self


class ConvEncoderConfig(ConfigModel):
    """Of the encoders that are plain stacks of convolutions."""

    width: Count = 64
    """Channels of the first convolution; the others are multiples of it."""
    dropout: Fraction = 0.0
    """Share of values dropped after each group of the encoder `zhang_cnn` (and of `upsample` with
    norm: stage) while training."""
    seventh_group: Literal[4, 8] = 4
    """Width of the seventh group of `zhang_cnn`, in units: 4 in the paper's table, 8 in the weights
    that its authors released."""
    center_lightness: bool = False
    """The input is (L - 50) / 100 in place of L / 100 (`zhang_cnn`, `siggraph_cnn`)."""


class FusionConfig(ConfigModel):
    """Of the encoder `fusion`: whose 1000 probabilities are repeated over the grid."""

    classifier: str = "mobilenet_v2"
    """One of torchvision's that encoders are made of, or timm/<name>; its weights are
    `model.pretrained`: imagenet or a file."""
    scale: Literal["correct", "published"] = "correct"
    """published: gray in 0..1 is taken for 0..255, so that the classifier sees black."""


class HypercolumnConfig(ConfigModel):
    """Of the decoder `hypercolumn`: all levels at one size, side by side."""

    width: Count = 128
    blocks: Annotated[int, Field(ge=0)] = 3
    """Residual blocks."""
    feature_stride: Literal[1, 2, 4, 8] = 2
    """At which the levels meet; a finer model.output_stride is reached by a pixel shuffle."""


class UpsampleConfig(ConfigModel):
    """Of the decoder `upsample`: no skips; the deepest level is doubled and convolved."""

    stages: tuple[tuple[Count, ...], ...] = ((), (128, 128, 128))
    """Channels of the 3x3 convolutions at the encoder's deepest level, at twice its size, ..."""
    mode: Literal["nearest", "bilinear", "transposed"] = "nearest"
    """How a stage doubles; transposed: a 4x4 transposed convolution is its first."""
    norm: Literal["none", "each", "stage"] = "none"
    """Batch norm before each ReLU (each) or after each stage's last one (stage)."""


class ShortcutConfig(ConfigModel):
    """Of the decoder `shortcut`: levels are doubled, and the encoder's added to them."""

    stages: tuple[tuple[Count, ...], ...] = ((256, 256), (128,), (128,))
    """Channels of the 3x3 convolutions at half the encoder's deepest level's stride, a quarter, ...
    """


class DDColorConfig(ConfigModel):
    """Of the decoder `ddcolor`: queries give each pixel its colors."""

    width: Annotated[int, Field(ge=16, multiple_of=16)] = 512
    """Channels of its levels; the finest and the queries have half as many."""
    queries: Count = 100
    layers: Count = 9
    """In which the queries look at the levels, in turn."""


class ModelConfig(ConfigModel):
    """The generator; this section alone rebuilds it from a release file."""

    encoder: str = "mobilenet_v2"
    """resnet18 | resnet34 | resnet50 | vgg16 | vgg16_bn | mobilenet_v2 | mobilenet_v3_large |
    efficientnet_b0 | convnext_tiny | convnext_large | timm/<name>, or trained from nothing:
    zhang_cnn | siggraph_cnn | strided_cnn | fusion"""
    pretrained: str = "default"
    """default (the packaged weights' own encoder) | imagenet | none | a weights file"""
    freeze: Literal["none", "early", "all"] = "none"
    """Which encoder levels stay as pretrained, batch statistics included; early: down to stride 4,
    where features are general and most of the time goes."""
    freeze_batchnorm: bool = False
    """Keep the statistics of every batch norm, also of trained layers."""
    num_encoder_levels: Count | None = None
    """Use only so many of the encoder's levels, the finest; null: all."""
    input_level: bool = False
    """The normalized photo itself is one more level, the finest, as `ddcolor` needs it."""
    sum_rgb_stem: bool = False
    """A first convolution of one channel, its three kernels summed: nearly the same function."""
    conv_encoder: ConvEncoderConfig = ConvEncoderConfig()
    fusion: FusionConfig = FusionConfig()
    decoder: Literal["unet", "hypercolumn", "upsample", "shortcut", "ddcolor"] = "unet"
    hypercolumn: HypercolumnConfig = HypercolumnConfig()
    upsample: UpsampleConfig = UpsampleConfig()
    shortcut: ShortcutConfig = ShortcutConfig()
    ddcolor: DDColorConfig = DDColorConfig()
    decoder_channels: tuple[Count, ...] = (192, 160, 128, 128)
    """U-Net channels at the encoder's deepest level, the next one, ...; the last repeats."""
    convs_per_level: tuple[Count, ...] = (1, 1, 1, 2)
    """3x3 convolutions at each of these levels; the last repeats."""
    residual_blocks: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Residual blocks of two more at each of these levels. They begin as the identity, so that
    `init_from` may be a network without them."""
    output_stride: Literal[1, 2, 4, 8] = 4
    """Pixels of L per pixel of predicted ab."""
    square_input: bool = False
    """The photo is stretched to a square of `decode.input_size` pixels, as the network knows it
    from its training; false: its shorter side has that length."""
    input_multiple: Count = 1
    """Sides of the input are rounded to multiples of this as well as of `output_stride`."""
    dropout: Fraction = 0.0
    """Share of the U-Net's last features dropped while training."""
    attention: bool = False
    """Self-attention over the U-Net's features at stride 16."""
    hints: bool = False
    """Takes given colors beside L, `siggraph_cnn` as planes of its input; training simulates them
    from the truth."""
    head: HeadConfig = HeadConfig()
