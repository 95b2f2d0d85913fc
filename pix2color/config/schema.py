"""The sections of the tree and their defaults. Units stand in the names or the docstrings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _paths(value: Any) -> Any:
    """One path or several are the same thing to a user: always a tuple here."""
    return (value,) if isinstance(value, str | Path) else value


Paths = Annotated[tuple[str, ...], BeforeValidator(_paths)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
SourceWeight = Annotated[float, Field(gt=0, le=1000)]


class ConfigModel(BaseModel):
    """A part of the tree: frozen, strict about types, closed to unknown keys."""

    # Built at first use: coloring needs few of the sections.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)


class AugmentConfig(ConfigModel):
    """Changes of L alone that make scans of old photos familiar; 0 switches each off."""

    p: Fraction = 0.5
    """Chance that a photo is changed at all."""
    contrast: NonNegative = 0.15
    """Standard deviation of the log of the contrast factor around mid gray."""
    brightness: NonNegative = 3.0
    """Standard deviation of a constant added to L, in L units."""
    gamma: NonNegative = 0.15
    """Standard deviation of the log of the gamma applied to L / 100."""
    noise: NonNegative = 2.0
    """Largest standard deviation of film grain, in L units."""
    blur: NonNegative = 0.8
    """Largest standard deviation of a Gaussian blur, in pixels of the crop."""


class SplitConfig(ConfigModel):
    """Shares of train, validation and test photos; decided by each photo's content hash."""

    train: Fraction = 0.9
    val: Fraction = 0.05
    test: Fraction = 0.05

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError("train + val + test must be 1")
        return self


class DataConfig(ConfigModel):
    """Where photos come from and how crops are cut from them."""

    roots: Paths = ()
    """Folders, .tar shards, or both; with `cache: none` also URLs of indexed shards (s3://...).
    Empty: the photos bundled with scikit-image."""
    split: SplitConfig = SplitConfig()
    source_weights: dict[str, SourceWeight] = {}
    """Beginning of a photo's name (`photos/`, `wide-00.tar/ade20k/`: the root's own name, then the
    path below it or in the shard) -> how often such a photo is drawn per epoch, 1 for all others.
    The longest beginning counts; 1.5 is one and two draws in turn."""
    max_photos: Count | None = None
    """Use only this many photos (the first by content hash)."""
    cache: Literal["ram", "none"] = "ram"
    cache_size: Annotated[int, Field(ge=8)] = 176
    """Shorter side of a cached photo, in pixels; smaller photos are kept as they are."""
    crop: Annotated[int, Field(ge=8)] = 128
    """Side of a training crop, in pixels."""
    crop_scale: tuple[Positive, Positive] = (0.6, 1.0)
    """A crop's side before resizing, as a share of the photo's shorter side: least, most."""
    crop_aspect: Annotated[float, Field(ge=1)] = 1.15
    """Largest change of a crop's aspect ratio."""
    flip: bool = True
    min_chroma: NonNegative = 5.0
    """A photo whose 95th percentile of chroma lies below this (ab units) is left out as gray."""
    max_corrupt_fraction: Fraction = 0.05
    """Training stops when a larger share of the files cannot be decoded."""
    augment: AugmentConfig = AugmentConfig()
    shuffle_buffer: Count = 2000
    """With `cache: none`, without an index: photos held for shuffling."""
    shuffle_shards: Count = 8
    """With `cache: none` and indexed shards: shards whose photos are shuffled together."""
    read_ahead: Annotated[int, Field(ge=0)] = 256
    """With `cache: none` and indexed shards: photos whose files each process reads ahead and holds
    as they are, up to 256 MB."""
    shard_cache: str | None = None
    """Folder for copies of shards that are read from URLs; null: pix2color/shards in
    XDG_CACHE_HOME, or in .cache of the user's home."""
    shard_cache_gb: NonNegative = 20.0
    """Largest size of all these copies, in 10^9 bytes; 0: none, photos are read one by one."""
    decode_threads: Annotated[int, Field(ge=0)] = 2
    """Threads that decode photos."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ValueError("data.crop_scale must be [least, most] with least <= most <= 1")
        return self


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
    """Of the encoders that are plain stacks of convolutions, trained from nothing."""

    width: Count = 64
    """Channels of the first convolution; the others are multiples of it."""
    dropout: Fraction = 0.0
    """Share of values dropped after each group of the encoder `zhang_cnn` (and of `upsample` with
    norm: stage) while training."""


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


class ModelConfig(ConfigModel):
    """The generator; this section alone rebuilds it from a release file."""

    encoder: str = "mobilenet_v2"
    """resnet18 | resnet34 | resnet50 | vgg16 | vgg16_bn | mobilenet_v2 | mobilenet_v3_large |
    efficientnet_b0 | convnext_tiny | timm/<name>, or trained from nothing: zhang_cnn |
    strided_cnn | fusion"""
    pretrained: str = "default"
    """default (the packaged weights' own encoder) | imagenet | none | a weights file"""
    freeze: Literal["none", "early", "all"] = "none"
    """Which encoder levels stay as pretrained, batch statistics included; early: down to stride 4,
    where features are general and most of the time goes."""
    freeze_batchnorm: bool = False
    """Keep the statistics of every batch norm, also of trained layers."""
    num_encoder_levels: Count | None = None
    """Use only so many of the encoder's levels, the finest; null: all."""
    sum_rgb_stem: bool = False
    """A first convolution of one channel, its three kernels summed: nearly the same function."""
    conv_encoder: ConvEncoderConfig = ConvEncoderConfig()
    fusion: FusionConfig = FusionConfig()
    decoder: Literal["unet", "hypercolumn", "upsample"] = "unet"
    hypercolumn: HypercolumnConfig = HypercolumnConfig()
    upsample: UpsampleConfig = UpsampleConfig()
    decoder_channels: tuple[Count, ...] = (192, 160, 128, 128)
    """U-Net channels at the encoder's deepest level, the next one, ...; the last repeats."""
    convs_per_level: tuple[Count, ...] = (1, 1, 1, 2)
    """3x3 convolutions at each of these levels; the last repeats."""
    residual_blocks: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Residual blocks of two more at each of these levels. They begin as the identity, so that
    `init_from` may be a network without them."""
    output_stride: Literal[1, 2, 4, 8] = 4
    """Pixels of L per pixel of predicted ab."""
    dropout: Fraction = 0.0
    """Share of the U-Net's last features dropped while training."""
    attention: bool = False
    """Self-attention over the U-Net's features at stride 16."""
    hints: bool = False
    """Takes given colors beside L; training simulates them from the truth."""
    head: HeadConfig = HeadConfig()


class LossConfig(ConfigModel):
    """Weights of the named losses; 0 leaves a loss out.

    ab losses are taken on ab / 110, so that their sizes are comparable with the class loss.
    """

    cross_entropy: NonNegative = 1.0
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0
    smooth_l1: NonNegative = 0.0
    perceptual: NonNegative = 0.0
    perceptual_network: str = "encoder"
    """encoder (the generator's own, as pretrained) | vgg16 (torchvision's) | a weights file."""
    perceptual_distance: Literal["l1", "lpips"] = "l1"
    """Between features: L1 over their size | squares of features scaled to length 1."""
    perceptual_layers: dict[str, Positive] = {}
    """LEVEL.BLOCK of the perceptual network (as in its parameters' names) -> weight; none: the
    ends of its first four levels, with equal shares."""


class OptimConfig(ConfigModel):
    """The optimizer, with a linear warm-up and a cosine to `final_rate` of the rate."""

    name: Literal["adamw", "adam", "rmsprop"] = "adamw"
    """rmsprop takes the second of the betas as its rho."""
    encoder_lr: NonNegative = 3e-4
    decoder_lr: Positive = 1e-3
    discriminator_lr: Positive = 2e-4
    betas: tuple[Fraction, Fraction] = (0.9, 0.99)
    gan_betas: tuple[Fraction, Fraction] = (0.5, 0.99)
    weight_decay: NonNegative = 0.01
    """Decoupled in adamw, added to the gradient in the others; not for biases and norms."""
    warmup_samples: Annotated[int, Field(ge=0)] = 2000
    schedule: Literal["cosine", "constant"] = "cosine"
    min_lr_ratio: Fraction = 0.01
    max_grad_norm: Positive | None = 1.0
    """Largest gradient norm."""
    ema_half_life_samples: Annotated[int, Field(ge=0)] = 20_000
    """Half-life of the averaged weights, in samples; 0: no averaging."""


class GanConfig(ConfigModel):
    """The adversarial phase. Off by default: pretraining has none."""

    enabled: bool = False
    discriminator: Literal["patch", "projected"] = "patch"
    """patch: convolutions on Lab; projected: small heads on the features of the frozen encoder, as
    pretrained (`model.pretrained`: imagenet or a file), which sees the colored photo."""
    loss: Literal["vanilla", "lsgan", "hinge"] = "hinge"
    weight: NonNegative = 0.1
    """Of the adversarial loss beside the losses of `loss`."""
    n_layers: Annotated[int, Field(ge=1, le=6)] = 3
    """Convolutions of stride 2 (patch)."""
    base_channels: Count = 64
    """Channels of the first convolution (patch) or of the heads (projected)."""
    norm: Literal["batch", "instance", "spectral"] = "spectral"
    """batch: its statistics are of true and colored photos together where the discriminator learns
    and of colored ones alone where it teaches; the other two look at each photo by itself."""
    discriminator_warmup_samples: Annotated[int, Field(ge=0)] = 4000
    """Samples in which only the discriminator learns, first."""
    r1_gamma: NonNegative = 0.0
    """Weight of the gradient penalty R1 on true photos, halved (Mescheder et al. 2018); 0: none.
    The gradient is taken by L / 50 and ab / 110."""
    r1_every: Count = 16
    """Steps per penalty, which counts as often (Karras et al. 2020)."""
    temperature: Annotated[float, Field(ge=0.01, le=100)] | None = None
    """At which the discriminator sees a class head's colors; null: as `decode`. The lower it is,
    the fewer pixels get a gradient: those that are undecided between colors."""
    vividness: Annotated[float, Field(ge=0, le=10)] | None = None
    """At which the discriminator sees a class head's colors; null: as `decode`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.enabled and self.norm != "spectral" and self.discriminator == "projected":
            raise ValueError("discriminator: projected has norm: spectral only")
        if self.enabled and self.norm == "batch" and self.r1_gamma:
            raise ValueError(
                "r1_gamma needs norm: spectral or instance, because with batch norm a photo's "
                "logits have gradients by the other photos"
            )
        return self


class BudgetConfig(ConfigModel):
    """How long to train: whichever of the two ends first; at least one is set."""

    samples: Count | None = 120_000
    """The default holds where neither is named: minutes alone are no samples."""
    minutes: Positive | None = None

    @model_validator(mode="before")
    @classmethod
    def _minutes_alone(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("minutes") is not None:
            return {"samples": None, **value}
        return value

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.samples is None and self.minutes is None:
            raise ValueError("set budget.samples or budget.minutes")
        return self


class TrainConfig(ConfigModel):
    """The loop. Intervals are in samples, so that batch size and process count may change."""

    batch_size: Count = 32
    """Photos a step and process."""
    gradient_accumulation_steps: Count | None = None
    """Batches whose gradients are summed for one step; null: as accelerate has it, else 1."""
    mixed_precision: Literal["no", "bf16", "fp16"] | None = None
    """Mixed precision; null: as accelerate has it, else no."""
    compile: bool = False
    seed: Annotated[int, Field(ge=0)] = 0
    log_every_samples: Count = 1024
    validate_every_samples: Count = 16_384
    num_val_photos: Count = 200
    """The fixed photos of the validation figure."""
    num_sample_photos: Annotated[int, Field(ge=0, le=16)] = 8
    """Photos of the sample pictures; 0: no pictures."""
    plot_curves: bool = True
    """Draw curves.png at each save."""
    save_every_samples: Count = 16_384
    save_every_minutes: Positive | None = 5.0
    """Also save for resuming after so many minutes."""
    selection_metric: Literal["auc", "auc_rebalanced", "psnr", "cast", "composite"] = "auc"
    """The validation figure by which the best weights are kept: the highest, the lowest of `cast`.
    `composite` is AuC + 0.25 rebalanced AuC - 0.1 |colorfulness - truth's|."""
    fd_backbone: str | None = None
    """torchvision's weights of mobilenet_v2 or squeezenet1_1, in whose features FD is measured at
    each validation; null: no FD."""
    max_consecutive_nonfinite_steps: Count = 20
    """Steps with a non-finite loss or gradient in a row after which training stops."""
    trackers: tuple[str, ...] = ()
    """accelerate's: tensorboard, wandb, mlflow, ..."""


class DecodeConfig(ConfigModel):
    """How raw outputs become colors; what a release file ships as its default."""

    model_config = ConfigDict(allow_inf_nan=False)

    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    vividness: Annotated[float, Field(ge=0, le=10)] = 0.0
    """tau: logits minus tau times the log prior (Menon et al. 2021)."""
    saturation: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Factor on ab."""
    calibration: Fraction = 0.0
    """Share of the release file's chroma calibration, which is applied before `saturation`; without
    effect on weights that have none."""
    input_size: Annotated[int, Field(ge=32, le=2048)] = 192
    """Shorter side of the network's input, in pixels."""


_NOT_IN_DIGEST: Any = {
    "data": {"roots", "decode_threads"},
    "train": {
        *("log_every_samples", "save_every_samples", "save_every_minutes", "num_sample_photos"),
        *("plot_curves", "trackers", "fd_backbone"),
    },
    "output": True,
}


class Config(ConfigModel):
    """All sections of a recipe."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    gan: GanConfig = GanConfig()
    budget: BudgetConfig = BudgetConfig()
    train: TrainConfig = TrainConfig()
    decode: DecodeConfig = DecodeConfig()
    init_from: str | None = None
    """A release file whose generator training starts from, or `default`: the packaged one."""
    output: str = "runs/unnamed"
    """The run folder; `load` fills in runs/<recipe>."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        regression = self.model.head.type == "regression"
        ab_losses = self.loss.l1 + self.loss.l2 + self.loss.smooth_l1 + self.loss.perceptual
        if regression and ab_losses == 0:
            raise ValueError("a regression head needs one of loss.l1, l2, smooth_l1, perceptual")
        if not regression and self.loss.cross_entropy + ab_losses == 0:
            raise ValueError("a class head needs loss.cross_entropy")
        if self.model.head.type == "marginal64" and (ab_losses or self.gan.enabled):
            raise ValueError(
                "a marginal64 head is decoded by argmax, which has no gradient: cross_entropy only"
            )
        if self.model.freeze != "none" and self.model.pretrained == "none" and not self.init_from:
            raise ValueError("model.freeze with model.pretrained: none would train on noise")
        projected = self.gan.enabled and self.gan.discriminator == "projected"
        if projected and self.model.pretrained in ("default", "none"):
            raise ValueError(
                "gan.discriminator: projected needs the encoder as pretrained on color photos: set "
                "model.pretrained to imagenet or to a file with its ImageNet weights"
            )
        return self

    def shown_decode(self) -> DecodeConfig:
        """How colors are decoded for the discriminator: as for people, where `gan` is silent."""
        own = {"temperature": self.gan.temperature, "vividness": self.gan.vividness}
        given = {name: value for name, value in own.items() if value is not None}
        return self.decode.model_copy(update=given)

    def dump(self) -> str:
        """The tree as YAML text; `load` of it gives an equal tree."""
        text: str = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, width=100)
        return text

    def digest(self) -> str:
        """12 hex digits over all values that change results; paths do not count.

        The photos have a digest of their own (`data.dataset.PhotoSet.digest`).
        """
        tree = self.model_dump(mode="json", exclude=_NOT_IN_DIGEST)
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:12]
