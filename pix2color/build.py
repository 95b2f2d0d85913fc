"""From a config to the parts of a training: the only place where names meet classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pix2color.checkpoints import hub, release_file
from pix2color.checkpoints.pretrained import pretrained_classifier, pretrained_encoder
from pix2color.checkpoints.release_file import DEFAULT_FILE
from pix2color.color.ab_bins import Prior
from pix2color.config import Config, HeadConfig, ModelConfig, OptimConfig
from pix2color.errors import ConfigError, WeightsError
from pix2color.losses import ab as ab_losses
from pix2color.losses.perceptual import PerceptualLoss
from pix2color.models.aml import AmlClassHead
from pix2color.models.conv_encoder import STRIDED, STRIDED_DEEP, ZHANG, ConvEncoder
from pix2color.models.discriminator import PatchDiscriminator
from pix2color.models.encoders import Encoder, build_encoder
from pix2color.models.fusion import Classifier, FusionEncoder, build_classifier
from pix2color.models.generator import Generator
from pix2color.models.heads import ClassificationHead, Head, MarginalClassHead, RegressionHead
from pix2color.models.hint_encoder import HintEncoder
from pix2color.models.hypercolumn import HypercolumnDecoder
from pix2color.models.unet import RESIDUALS, UNetDecoder
from pix2color.models.upsample import UpsampleDecoder

AbLoss = Callable[[Tensor, Tensor], Tensor]
_AB_LOSSES: dict[str, AbLoss] = {
    "l1": ab_losses.l1,
    "l2": ab_losses.l2,
    "smooth_l1": ab_losses.smooth_l1,
}


@dataclass
class TrainingComponents:
    """What a training is made of."""

    generator: Generator
    discriminator: PatchDiscriminator | None
    ab_losses: dict[str, AbLoss]
    """Losses on (ab, true ab) at the output stride that have a weight."""
    perceptual: PerceptualLoss | None
    weights: dict[str, float]
    """Of every named loss of the generator's step."""
    optimizer: torch.optim.Optimizer
    """Of the generator; groups hold their full rate as `initial_lr`."""
    discriminator_optimizer: torch.optim.Optimizer | None


def build_training(
    config: Config, *, prior: Prior | None = None, start: bool = True, fused: bool = False
) -> TrainingComponents:
    """All parts of a training.

    Args:
        config: the recipe.
        prior: of the training photos, for a class head; None: the packaged one.
        start: load the weights that training starts from; False where a saved state follows.
        fused: adam and adamw step in one kernel, for devices that have it.

    Raises:
        ConfigError, WeightsError: what the recipe names cannot be had; the message says what to do.
    """
    pretrained = start and config.init_from is None
    generator = build_generator(config.model, pretrained=pretrained, prior=prior)
    if start and config.init_from is not None:
        load_init_weights(generator, config)
        if prior is not None and isinstance(generator.head, ClassificationHead):
            generator.head.set_prior(prior.probability)
    generator.encoder.freeze(config.model.freeze)
    generator.frozen_statistics = config.model.freeze_batchnorm
    loss = config.loss
    weights = {"cross_entropy": loss.cross_entropy, "perceptual": loss.perceptual}
    weights |= {name: float(getattr(loss, name)) for name in _AB_LOSSES}
    discriminator = None
    if config.gan.enabled:
        gan = config.gan
        discriminator = PatchDiscriminator(
            layers=gan.n_layers, width=gan.base_channels, norm=gan.norm
        )
        weights["adversarial"] = gan.weight
    perceptual = None
    if loss.perceptual > 0:
        perceptual = PerceptualLoss(
            _perceptual_encoder(config),
            distance=loss.perceptual_distance,
            blocks=loss.perceptual_layers,
        )
    return TrainingComponents(
        generator=generator,
        discriminator=discriminator,
        ab_losses={name: f for name, f in _AB_LOSSES.items() if weights[name] > 0},
        perceptual=perceptual,
        weights=weights,
        optimizer=_generator_optimizer(generator, config, fused),
        discriminator_optimizer=_discriminator_optimizer(discriminator, config.optim, fused),
    )


def build_generator(
    model: ModelConfig, *, pretrained: bool = True, prior: Prior | None = None
) -> Generator:
    """The network of a config's model section.

    Args:
        model: the section.
        pretrained: give the encoder the weights that the section names; False where all weights
            are loaded afterwards.
        prior: of a class head; None: the packaged one.
    """
    encoder = build_pretrained_encoder(model) if pretrained else _untrained_encoder(model)
    if model.num_encoder_levels is not None:
        encoder.truncate(model.num_encoder_levels)
    if model.sum_rgb_stem:
        encoder.to_single_channel()
    decoder = _DECODERS[model.decoder](model, encoder)
    head = build_head(model.head, decoder.out_channels, prior)
    enlarged = head.ENLARGE if isinstance(head, AmlClassHead) else 1
    stride = model.output_stride // enlarged
    hints = HintEncoder(encoder.channels, encoder.reduction, stride=stride) if model.hints else None
    return Generator(encoder, decoder, head, stride=stride, hint_input=hints)


def _unet(model: ModelConfig, encoder: Encoder) -> UNetDecoder:
    return UNetDecoder(
        encoder.channels,
        encoder.reduction,
        widths=model.decoder_channels,
        depth=model.convs_per_level,
        residual=model.residual_blocks,
        stride=model.output_stride,
        attention=model.attention,
        dropout=model.dropout,
    )


def _hypercolumn(model: ModelConfig, encoder: Encoder) -> HypercolumnDecoder:
    column = model.hypercolumn
    return HypercolumnDecoder(
        encoder.channels,
        encoder.reduction,
        width=column.width,
        blocks=column.blocks,
        at=column.feature_stride,
        stride=model.output_stride,
    )


def _upsample(model: ModelConfig, encoder: Encoder) -> UpsampleDecoder:
    up = model.upsample
    return UpsampleDecoder(
        encoder.channels,
        encoder.reduction,
        stages=up.stages,
        stride=model.output_stride,
        by=up.mode,
        norm=up.norm,
        dropout=model.conv_encoder.dropout,
    )


_Decoder = UNetDecoder | HypercolumnDecoder | UpsampleDecoder
_DECODERS: dict[str, Callable[[ModelConfig, Encoder], _Decoder]] = {
    "unet": _unet,
    "hypercolumn": _hypercolumn,
    "upsample": _upsample,
}


def _class_head(head: HeadConfig, channels: int, prior: Prior | None) -> ClassificationHead:
    kind = AmlClassHead if head.compat == "aml" else ClassificationHead
    return kind(
        channels,
        (prior or Prior.load()).probability,
        neighbors=head.soft_encoding_k,
        rebalance=head.rebalance_lambda,
        adjust=head.logit_adjustment_tau,
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
    return MarginalClassHead(channels, kernel=head.kernel_size, bias=head.bias)


_HEADS: dict[str, Callable[[HeadConfig, int, Prior | None], Head]] = {
    "classes": _class_head,
    "regression": _regression_head,
    "marginal64": _marginal_class_head,
}


def build_head(head: HeadConfig, channels: int, prior: Prior | None = None) -> Head:
    """The last layer of a config's section; `channels` go in."""
    return _HEADS[head.type](head, channels, prior)


def _zhang_encoder(model: ModelConfig) -> ConvEncoder:
    return ConvEncoder(
        ZHANG, width=model.conv_encoder.width, norm=True, dropout=model.conv_encoder.dropout
    )


def _strided_encoder(model: ModelConfig) -> ConvEncoder:
    return ConvEncoder(STRIDED, width=model.conv_encoder.width)


def _fusion_encoder(model: ModelConfig) -> FusionEncoder:
    return _fusion(model, build_classifier(model.fusion.classifier))


def _fusion(model: ModelConfig, classifier: Classifier) -> FusionEncoder:
    return FusionEncoder(
        STRIDED_DEEP,
        width=model.conv_encoder.width,
        classifier=classifier,
        published=model.fusion.scale == "published",
    )


_CONV_ENCODERS: dict[str, Callable[[ModelConfig], ConvEncoder]] = {
    "zhang_cnn": _zhang_encoder,
    "strided_cnn": _strided_encoder,
    "fusion": _fusion_encoder,
}


def _untrained_encoder(model: ModelConfig) -> Encoder:
    """The encoder without weights."""
    plain = _CONV_ENCODERS.get(model.encoder)
    return plain(model) if plain else build_encoder(model.encoder)


def build_pretrained_encoder(model: ModelConfig) -> Encoder:
    """The encoder with the weights that `model.pretrained` names.

    Raises:
        WeightsError: they cannot be had or are of another network; the message says what to do.
    """
    if model.encoder == "fusion":
        known = pretrained_classifier(model.fusion.classifier, model.pretrained)
        return _fusion(model, known)
    if model.pretrained == "none":
        return _untrained_encoder(model)
    if model.encoder in _CONV_ENCODERS:
        raise ConfigError(f"model.pretrained must be none: no weights of {model.encoder} are known")
    return pretrained_encoder(model.encoder, model.pretrained)


def matches_default_checkpoint(model: ModelConfig) -> bool:
    """Whether the packaged weights are of this kind of network: encoder, decoder and head."""
    if not DEFAULT_FILE.is_file():
        return False
    packaged = release_file.read(DEFAULT_FILE).meta.get("model", {})
    decoder, head = packaged.get("decoder", "unet"), packaged.get("head", {})
    found = (packaged.get("encoder"), decoder, head.get("type"))
    return found == (model.encoder, model.decoder, model.head.type)


def load_init_weights(generator: Generator, config: Config) -> None:
    """Load the generator of the release file that `init_from` names.

    Raises:
        WeightsError: it is missing or of another network.
    """
    name = str(config.init_from)
    file = release_file.read(hub.resolve(name))
    head = file.meta.get("model", {}).get("head", {}).get("type")
    if head != config.model.head.type:
        raise WeightsError(
            f"init_from {name} has a {head} head, the recipe a {config.model.head.type} head: "
            "make model.head.kind agree"
        )
    # Weights from before the network took hints or had residual blocks: these change nothing yet.
    own = generator.state_dict()
    new = {k: v for k, v in own.items() if k.startswith(("hint_input.", f"{RESIDUALS}."))}
    release_file.load_state_strict(generator, new | file.tensors, what=f"init_from {name}")


def _perceptual_encoder(config: Config) -> Encoder:
    network = config.loss.perceptual_network
    if network == "encoder":
        if config.model.pretrained == "none":
            raise ConfigError("loss.perceptual with the encoder needs a pretrained one")
        return build_pretrained_encoder(config.model)
    vgg = ModelConfig(encoder="vgg16", pretrained="imagenet" if network == "vgg16" else network)
    return build_pretrained_encoder(vgg)


def _generator_optimizer(
    generator: Generator, config: Config, fused: bool
) -> torch.optim.Optimizer:
    optim = config.optim
    rest = [
        (name, parameter)
        for name, parameter in generator.named_parameters()
        if not name.startswith("encoder.")
    ]
    groups = [
        *_param_groups(list(generator.encoder.named_parameters()), optim.encoder_lr, optim),
        *_param_groups(rest, optim.decoder_lr, optim),
    ]
    betas = optim.gan_betas if config.gan.enabled else optim.betas
    return _OPTIMIZERS[optim.name](groups, betas, fused)


def _discriminator_optimizer(
    discriminator: nn.Module | None, optim: OptimConfig, fused: bool
) -> torch.optim.Optimizer | None:
    if discriminator is None:
        return None
    named = list(discriminator.named_parameters())
    groups = _param_groups(named, optim.discriminator_lr, optim)
    return _OPTIMIZERS[optim.name](groups, optim.gan_betas, fused)


_Groups = list[dict[str, Any]]


def _rmsprop(groups: _Groups, betas: tuple[float, float], fused: bool) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, alpha=betas[1], eps=1e-7)  # Keras's epsilon


# Not fused is None, not False: that leaves PyTorch's choice between its other two ways.
_OPTIMIZERS: dict[str, Callable[[_Groups, tuple[float, float], bool], torch.optim.Optimizer]] = {
    "adamw": lambda groups, betas, fused: torch.optim.AdamW(
        groups, betas=betas, fused=fused or None
    ),
    "adam": lambda groups, betas, fused: torch.optim.Adam(groups, betas=betas, fused=fused or None),
    "rmsprop": _rmsprop,
}


def _param_groups(
    named: list[tuple[str, nn.Parameter]], rate: float, optim: OptimConfig
) -> _Groups:
    """Weights with decay, biases and norms without; frozen parameters are left out."""
    trained = [p for _, p in named if p.requires_grad]
    parts = (
        ([p for p in trained if p.ndim > 1], optim.weight_decay),
        ([p for p in trained if p.ndim <= 1], 0.0),
    )
    return [
        {"params": params, "lr": rate, "initial_lr": rate, "weight_decay": decay}
        for params, decay in parts
        if params
    ]
