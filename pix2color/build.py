"""Build networks, losses and optimizers from a config: here names meet classes.

To add an encoder, ab loss or optimizer, add its entry to the dict here and its name to the config's
schema. Decoders and heads are in `build_parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pix2color.build_parts import build_decoder, build_head
from pix2color.checkpoints import hub, release_file
from pix2color.checkpoints.pretrained import pretrained_classifier, pretrained_encoder
from pix2color.checkpoints.release_file import DEFAULT_FILE
from pix2color.color.ab_bins import Prior
from pix2color.config import Config, ModelConfig, OptimConfig
from pix2color.errors import ConfigError, WeightsError
from pix2color.losses import ab as ab_losses
from pix2color.losses.perceptual import PerceptualLoss
from pix2color.models.conv_encoder import (
    SIGGRAPH,
    STRIDED,
    STRIDED_DEEP,
    ZHANG,
    ZHANG_RELEASED,
    ConvEncoder,
)
from pix2color.models.discriminator import PatchDiscriminator
from pix2color.models.encoders import Encoder, build_encoder
from pix2color.models.feature_maps import FeatureMaps
from pix2color.models.fusion import Classifier, FusionEncoder, build_classifier
from pix2color.models.generator import Generator
from pix2color.models.heads import ClassificationHead
from pix2color.models.hint_encoder import HintEncoder
from pix2color.models.projected_discriminator import ProjectedDiscriminator
from pix2color.models.unet import RESIDUAL_PREFIX

AbLoss = Callable[[Tensor, Tensor], Tensor]
_AB_LOSSES: dict[str, AbLoss] = {
    "l1": ab_losses.l1,
    "l2": ab_losses.l2,
    "smooth_l1": ab_losses.smooth_l1,
}


Discriminator = PatchDiscriminator | ProjectedDiscriminator


@dataclass
class TrainingComponents:
    """Networks, losses and optimizers of a training."""

    generator: Generator
    discriminator: Discriminator | None
    ab_losses: dict[str, AbLoss]
    """Losses on (ab, true ab) at the output stride whose weight is not 0."""
    perceptual: PerceptualLoss | None
    weights: dict[str, float]
    """Weight of each named loss in the generator's step."""
    optimizer: torch.optim.Optimizer
    """Of the generator; parameter groups hold their full learning rate as `initial_lr`."""
    discriminator_optimizer: torch.optim.Optimizer | None


def build_training(
    config: Config, *, prior: Prior | None = None, start: bool = True, fused: bool = False
) -> TrainingComponents:
    """Build all components of a training.

    Args:
        config: the recipe.
        prior: of the training photos, for a class head; None: the packaged one.
        start: load the weights that training starts from; False if a saved state is loaded next.
        fused: use the fused kernels of adam and adamw, on devices that have them.

    Raises:
        ConfigError: the recipe contradicts itself.
        WeightsError: weights that it names are missing, cannot be downloaded or do not fit.
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
    names = ("cross_entropy", "distillation", "perceptual", *_AB_LOSSES)
    weights = {name: float(getattr(loss, name)) for name in names}
    discriminator = None
    if config.gan.enabled:
        discriminator = _DISCRIMINATORS[config.gan.discriminator](config)
        weights["adversarial"] = config.gan.weight
    perceptual = None
    if loss.perceptual > 0:
        perceptual = PerceptualLoss(
            FeatureMaps(_perceptual_encoder(config), loss.perceptual_layers),
            distance=loss.perceptual_distance,
            weights=loss.perceptual_layers,
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
    """Build the network of a config's model section.

    Args:
        model: the section.
        pretrained: load the encoder weights that the section names; False if all weights are
            loaded afterwards.
        prior: of a class head; None: the packaged one.

    Raises:
        ConfigError, WeightsError: see build_training.
    """
    encoder = build_pretrained_encoder(model) if pretrained else _untrained_encoder(model)
    if model.num_encoder_levels is not None:
        encoder.truncate(model.num_encoder_levels)
    if model.sum_rgb_stem:
        encoder.to_single_channel()
    if model.input_level:
        encoder.prepend_input()
    decoder = build_decoder(model, encoder)
    head = build_head(model.head, decoder.out_channels, prior)
    stride = model.output_stride // head.upscale
    hints = None
    if model.hints and not encoder.takes_hints:
        hints = HintEncoder(encoder.channels, encoder.reduction, stride=stride)
    return Generator(encoder, decoder, head, stride=stride, hint_input=hints)


def _zhang_encoder(model: ModelConfig) -> ConvEncoder:
    options = model.conv_encoder
    return ConvEncoder(
        ZHANG if options.seventh_group == 4 else ZHANG_RELEASED,
        width=options.width,
        norm=True,
        dropout=options.dropout,
        center=options.center_lightness,
    )


def _siggraph_encoder(model: ModelConfig) -> ConvEncoder:
    options = model.conv_encoder
    return ConvEncoder(
        SIGGRAPH,
        width=options.width,
        norm=True,
        dropout=options.dropout,
        center=options.center_lightness,
        hints=model.hints,
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
        reproduce_scale_bug=model.fusion.scale == "published",
    )


_CONV_ENCODERS: dict[str, Callable[[ModelConfig], ConvEncoder]] = {
    "zhang_cnn": _zhang_encoder,
    "siggraph_cnn": _siggraph_encoder,
    "strided_cnn": _strided_encoder,
    "fusion": _fusion_encoder,
}


def _untrained_encoder(model: ModelConfig) -> Encoder:
    factory = _CONV_ENCODERS.get(model.encoder)
    return factory(model) if factory else build_encoder(model.encoder)


def build_pretrained_encoder(model: ModelConfig) -> Encoder:
    """Build the encoder with the weights that `model.pretrained` names.

    Raises:
        ConfigError: weights for an encoder that is always trained from scratch.
        WeightsError: the weights are missing, cannot be downloaded or are of another network.
    """
    if model.encoder == "fusion":
        classifier = pretrained_classifier(model.fusion.classifier, model.pretrained)
        return _fusion(model, classifier)
    if model.pretrained == "none":
        return _untrained_encoder(model)
    if model.encoder in _CONV_ENCODERS:
        raise ConfigError(f"model.pretrained must be none: there are no weights of {model.encoder}")
    return pretrained_encoder(model.encoder, model.pretrained)


def matches_default_checkpoint(model: ModelConfig) -> bool:
    """Whether the packaged weights are of the same encoder, decoder and type of head."""
    if not DEFAULT_FILE.is_file():
        return False
    packaged = ModelConfig.model_validate(release_file.read(DEFAULT_FILE).meta["model"])
    return (packaged.encoder, packaged.decoder, packaged.head.type) == (
        model.encoder, model.decoder, model.head.type
    )  # fmt: skip


def load_init_weights(generator: Generator, config: Config) -> None:
    """Load the weights of the release file that `init_from` names into the generator.

    A hint input and residual blocks that the file does not have keep their initial weights, with
    which they do not change the output.

    Raises:
        WeightsError: the file is missing or of another network.
    """
    name = str(config.init_from)
    file = release_file.read(hub.resolve(name))
    head = file.meta.get("model", {}).get("head", {}).get("type")
    if head != config.model.head.type:
        raise WeightsError(
            f"init_from {name} has a {head} head, the recipe a {config.model.head.type} head: "
            "make model.head.type agree"
        )
    optional = ("hint_input.", RESIDUAL_PREFIX)
    new = {k: v for k, v in generator.state_dict().items() if k.startswith(optional)}
    release_file.load_state_strict(generator, new | file.tensors, source=f"init_from {name}")


def _patch_discriminator(config: Config) -> PatchDiscriminator:
    gan = config.gan
    return PatchDiscriminator(layers=gan.n_layers, width=gan.base_channels, norm=gan.norm)


def _projected_discriminator(config: Config) -> ProjectedDiscriminator:
    model = config.model
    if model.encoder in _CONV_ENCODERS:
        raise ConfigError(
            "gan.discriminator: projected needs an encoder that is pretrained on photos, and there"
            f" are no weights of {model.encoder}: use patch"
        )
    encoder = pretrained_encoder(model.encoder, model.pretrained, fine_tuned=False)
    return ProjectedDiscriminator(encoder, width=config.gan.base_channels)


_DISCRIMINATORS: dict[str, Callable[[Config], Discriminator]] = {
    "patch": _patch_discriminator,
    "projected": _projected_discriminator,
}


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
    named = list(generator.named_parameters())
    encoder = [p for name, p in named if name.startswith("encoder.")]
    others = [p for name, p in named if not name.startswith("encoder.")]
    groups = [
        *_param_groups(encoder, optim.encoder_lr, optim),
        *_param_groups(others, optim.decoder_lr, optim),
    ]
    betas = optim.gan_betas if config.gan.enabled else optim.betas
    return _OPTIMIZERS[optim.name](groups, betas, fused)


def _discriminator_optimizer(
    discriminator: nn.Module | None, optim: OptimConfig, fused: bool
) -> torch.optim.Optimizer | None:
    if discriminator is None:
        return None
    groups = _param_groups(list(discriminator.parameters()), optim.discriminator_lr, optim)
    return _OPTIMIZERS[optim.name](groups, optim.gan_betas, fused)


_Groups = list[dict[str, Any]]


def _rmsprop(groups: _Groups, betas: tuple[float, float], fused: bool) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, alpha=betas[1], eps=1e-7)  # Keras's epsilon


# fused=None lets PyTorch choose between its other two implementations; False would not.
_OPTIMIZERS: dict[str, Callable[[_Groups, tuple[float, float], bool], torch.optim.Optimizer]] = {
    "adamw": lambda groups, betas, fused: torch.optim.AdamW(
        groups, betas=betas, fused=fused or None
    ),
    "adam": lambda groups, betas, fused: torch.optim.Adam(groups, betas=betas, fused=fused or None),
    "rmsprop": _rmsprop,
}


def _param_groups(parameters: Sequence[nn.Parameter], lr: float, optim: OptimConfig) -> _Groups:
    """Weights with decay, biases and norms without; frozen parameters are left out."""
    trained = [p for p in parameters if p.requires_grad]
    groups = (
        ([p for p in trained if p.ndim > 1], optim.weight_decay),
        ([p for p in trained if p.ndim <= 1], 0.0),
    )
    return [
        {"params": params, "lr": lr, "initial_lr": lr, "weight_decay": decay}
        for params, decay in groups
        if params
    ]
