"""The sections of the tree and their defaults. Units stand in the names or the docstrings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import ConfigDict, Field, model_validator

from pix2color.config.base import (
    ConfigModel,
    Count,
    Fraction,
    NonNegative,
    Paths,
    Positive,
    SourceWeight,
)
from pix2color.config.model import ModelConfig


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
    source_weights: dict[str, SourceWeight] = Field(default_factory=dict)
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
    unlabeled: tuple[str, ...] = ()
    """Beginnings of names, as for `source_weights`, of photos without true colors, such as toned or
    gray scans: only the colors of a teacher are learned from them. It needs `cache: ram`."""
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
        if self.unlabeled and self.cache != "ram":
            raise ValueError("data.unlabeled needs data.cache: ram")
        return self


class LossConfig(ConfigModel):
    """Weights of the named losses; 0 leaves a loss out.

    ab losses are taken on ab / 110, so that their sizes are comparable with the class loss.
    """

    cross_entropy: NonNegative = 1.0
    distillation: NonNegative = 0.0
    """Cross-entropy to the probabilities of `teacher`; it needs one, and a class head."""
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0
    smooth_l1: NonNegative = 0.0
    targets: Literal["average", "subsample"] = "average"
    """True color of a cell of the output: the mean of its pixels | its first pixel, so every fourth
    one at output stride 4 (Zhang et al. 2016)."""
    enlarge: Literal["none", "nearest", "bilinear"] = "none"
    """none: losses are taken at the size of the output; else the output is enlarged to the photo's
    size in this way, and they are taken there."""
    perceptual: NonNegative = 0.0
    perceptual_network: str = "encoder"
    """encoder (the generator's own, as pretrained) | vgg16 (torchvision's) | a weights file."""
    perceptual_distance: Literal["l1", "lpips"] = "l1"
    """Between features: L1 over their size | squares of features scaled to length 1."""
    perceptual_layers: dict[str, Positive] = Field(default_factory=dict)
    """LEVEL.BLOCK of the perceptual network (as in its parameters' names) -> weight; none: the
    ends of its first four levels, with equal shares."""


class TeacherConfig(ConfigModel):
    """Networks whose color probabilities are learned (`loss.distillation`), as their mean."""

    checkpoint: Paths = ()
    """Release files or names, of any networks."""
    scales: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0,)
    """Sizes at which each network sees the crop, as factors of the crop's; passes are averaged."""
    mirror: bool = False
    """Each network sees the crop mirrored, too."""
    cache: str | None = None
    """Folder that keeps the probabilities of each crop for other runs with the same photos, seed
    and crops (0.26 MB per crop of 128 px); null: they are computed in every run."""
    temperature: Positive = 1.0
    """Of the probabilities of teacher and student in the loss (Hinton et al. 2015)."""


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
    warmup_fraction: Fraction | None = None
    """The warm-up as a share of the budget; null: `warmup_samples`."""
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
    num_validations: Count | None = None
    """Validate so often, evenly over the budget; null: by `validate_every_samples`."""
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
    "teacher": {"cache"},
    "output": True,
}


class Config(ConfigModel):
    """All sections of a recipe."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    teacher: TeacherConfig = TeacherConfig()
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
        plain = self.model.head.type == "classes" and self.model.head.compat == "none"
        if self.loss.distillation and not plain:
            raise ValueError(
                "loss.distillation teaches 313 classes: set model.head.type to classes and"
                " model.head.compat to none"
            )
        if bool(self.loss.distillation) != bool(self.teacher.checkpoint):
            raise ValueError(
                "a teacher needs both: teacher.checkpoint (release files) and loss.distillation"
                " (its weight)"
            )
        if self.data.unlabeled and (not self.loss.distillation or self.gan.enabled):
            raise ValueError(
                "data.unlabeled photos are learned from a teacher: set loss.distillation and"
                " teacher.checkpoint, and no gan"
            )
        class_losses = self.loss.cross_entropy + self.loss.distillation
        if not regression and class_losses + ab_losses == 0:
            raise ValueError("a class head needs loss.cross_entropy or loss.distillation")
        by_argmax = self.model.head.type == "marginal64" and self.model.head.decoding == "argmax"
        if by_argmax and (ab_losses or self.gan.enabled):
            raise ValueError(
                "a marginal64 head is decoded by argmax, which has no gradient: cross_entropy only,"
                " or model.head.decoding: mean"
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
