"""From a config to the parts of a training: the only place where names meet classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pix2color import release_file
from pix2color.ab_bins import Prior
from pix2color.config import Config, Model, Optim
from pix2color.errors import ConfigError, WeightsError
from pix2color.losses import ab as ab_losses
from pix2color.losses.perceptual import PerceptualLoss
from pix2color.models.encoders import NAMES, Encoder, build_encoder, imagenet_weights
from pix2color.models.generator import Generator
from pix2color.models.heads import ClassHead, Head, RegressionHead
from pix2color.models.patchgan import PatchDiscriminator
from pix2color.models.unet import UNetDecoder
from pix2color.release_file import DEFAULT_FILE

AbLoss = Callable[[Tensor, Tensor], Tensor]
_AB_LOSSES: dict[str, AbLoss] = {
    "l1": ab_losses.l1,
    "l2": ab_losses.l2,
    "smooth_l1": ab_losses.smooth_l1,
}


@dataclass
class Parts:
    """What a training is made of."""

    generator: Generator
    discriminator: PatchDiscriminator | None
    ab_losses: dict[str, AbLoss]
    """Losses on (ab, true ab) at the output stride that have a weight."""
    perceptual: PerceptualLoss | None
    weights: dict[str, float]
    """Of every named loss of the generator's step."""
    optimiser: torch.optim.Optimizer
    """Of the generator; groups hold their full rate as `initial_lr`."""
    discriminator_optimiser: torch.optim.Optimizer | None


def build(config: Config, *, prior: Prior | None = None) -> Parts:
    """All parts of a training.

    Args:
        config: the recipe.
        prior: of the training photos, for a class head; None: the packaged one.

    Raises:
        ConfigError, WeightsError: what the recipe names cannot be had; the message says what to do.
    """
    generator = build_generator(config.model, pretrained=config.init_from is None, prior=prior)
    if config.init_from is not None:
        start_from(generator, config)
        if prior is not None and isinstance(generator.head, ClassHead):
            generator.head.set_prior(prior.probability)
    generator.encoder.freeze(config.model.frozen)
    generator.frozen_statistics = config.model.frozen_statistics
    loss = config.loss
    weights = {"cross_entropy": loss.cross_entropy, "perceptual": loss.perceptual}
    weights |= {name: float(getattr(loss, name)) for name in _AB_LOSSES}
    discriminator = None
    if config.gan.enabled:
        gan = config.gan
        discriminator = PatchDiscriminator(layers=gan.layers, width=gan.width, norm=gan.norm)
        weights["adversarial"] = gan.weight
    perceptual = None
    if loss.perceptual > 0:
        perceptual = PerceptualLoss(_perceptual_encoder(config))
    return Parts(
        generator=generator,
        discriminator=discriminator,
        ab_losses={name: f for name, f in _AB_LOSSES.items() if weights[name] > 0},
        perceptual=perceptual,
        weights=weights,
        optimiser=_generator_optimiser(generator, config),
        discriminator_optimiser=_discriminator_optimiser(discriminator, config.optim),
    )


def build_generator(
    model: Model, *, pretrained: bool = True, prior: Prior | None = None
) -> Generator:
    """The network of a config's model section.

    Args:
        model: the section.
        pretrained: give the encoder the weights that the section names; False where all weights
            are loaded afterwards.
        prior: of a class head; None: the packaged one.
    """
    encoder = build_pretrained_encoder(model) if pretrained else build_encoder(model.encoder)
    decoder = UNetDecoder(
        encoder.channels,
        encoder.reduction,
        widths=model.widths,
        depth=model.depth,
        stride=model.stride,
        attention=model.attention,
        dropout=model.dropout,
    )
    head: Head
    if model.head.kind == "regression":
        head = RegressionHead(
            decoder.out_channels, activation=model.head.activation, scale=model.head.ab_scale
        )
    else:
        head = ClassHead(
            decoder.out_channels,
            (prior or Prior.load()).probability,
            neighbours=model.head.neighbours,
            rebalance=model.head.rebalance,
        )
    return Generator(encoder, decoder, head, stride=model.stride)


def build_pretrained_encoder(model: Model) -> Encoder:
    """The encoder with the weights that `model.pretrained` names.

    Raises:
        WeightsError: they cannot be had or are of another network; the message says what to do.
    """
    name, source = model.encoder, model.pretrained
    if source == "none":
        return build_encoder(name)
    if source == "default":
        return _packaged_encoder(name)
    if source == "imagenet":
        try:
            state = {} if name.startswith("timm/") else imagenet_weights(name)
            return build_encoder(name, state=state)
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"ImageNet weights of {name} cannot be downloaded ({error!s:.100}); give a file "
                "with --set model.pretrained=FILE, or use default (mobilenet_v2) or none"
            ) from None
        except KeyError:
            raise ConfigError(f"no encoder {name!r}: choose one of {', '.join(NAMES)}") from None
    return _encoder_from_file(name, Path(source))


def start_from(generator: Generator, config: Config) -> None:
    """Load the generator of the release file that `init_from` names.

    Raises:
        WeightsError: it is missing or of another network.
    """
    name = str(config.init_from)
    path = DEFAULT_FILE if name == "default" else Path(name)
    file = release_file.read(path)
    head = file.meta.get("model", {}).get("head", {}).get("kind")
    if head != config.model.head.kind:
        raise WeightsError(
            f"init_from {name} has a {head} head, the recipe a {config.model.head.kind} head: "
            "make model.head.kind agree"
        )
    release_file.load_strictly(generator, file.tensors, what=f"init_from {name}")


def _encoder_from_file(name: str, path: Path) -> Encoder:
    if path.suffix == ".safetensors":
        tensors, meta = release_file.read_safetensors(path)
        if meta.get("format") == release_file.FORMAT:
            return _encoder_of_release(name, path)
    else:
        if not path.is_file():
            raise WeightsError(
                f"model.pretrained {str(path)!r} is no file: default, imagenet, none or a path"
            )
        try:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for one thing: an unreadable file
            raise WeightsError(f"{path} is not a plain state dict: {error!s:.100}") from None
    try:
        return build_encoder(name, state=tensors)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise WeightsError(f"{path} does not hold the weights of {name}: {error!s:.150}") from None


def _packaged_encoder(name: str) -> Encoder:
    if not DEFAULT_FILE.is_file():
        raise WeightsError(
            "model.pretrained: default needs the packaged weights, which are missing from this "
            "installation; use imagenet, none or a file"
        )
    return _encoder_of_release(name, DEFAULT_FILE)


def _encoder_of_release(name: str, path: Path) -> Encoder:
    file = release_file.read(path)
    found = file.meta.get("model", {}).get("encoder")
    if found != name:
        raise WeightsError(
            f"{path.name} holds a {found} encoder, the recipe wants {name}: set "
            "model.pretrained to imagenet, none or a weights file"
        )
    prefix = "encoder."
    tensors = {k[len(prefix) :]: v for k, v in file.tensors.items() if k.startswith(prefix)}
    encoder = build_encoder(name)
    release_file.load_strictly(encoder, tensors, what=str(path))
    return encoder


def _perceptual_encoder(config: Config) -> Encoder:
    network = config.loss.perceptual_network
    if network == "encoder":
        if config.model.pretrained == "none":
            raise ConfigError("loss.perceptual with the encoder needs a pretrained one")
        return build_pretrained_encoder(config.model)
    vgg = Model(encoder="vgg16", pretrained="imagenet" if network == "vgg16" else network)
    return build_pretrained_encoder(vgg)


def _generator_optimiser(generator: Generator, config: Config) -> torch.optim.Optimizer:
    optim = config.optim
    rest = [*generator.decoder.named_parameters(), *generator.head.named_parameters()]
    groups = [
        *_groups(list(generator.encoder.named_parameters()), optim.encoder_rate, optim),
        *_groups(rest, optim.decoder_rate, optim),
    ]
    betas = optim.gan_betas if config.gan.enabled else optim.betas
    return torch.optim.AdamW(groups, betas=betas)


def _discriminator_optimiser(
    discriminator: nn.Module | None, optim: Optim
) -> torch.optim.Optimizer | None:
    if discriminator is None:
        return None
    named = list(discriminator.named_parameters())
    return torch.optim.AdamW(_groups(named, optim.discriminator_rate, optim), betas=optim.gan_betas)


def _groups(
    named: list[tuple[str, nn.Parameter]], rate: float, optim: Optim
) -> list[dict[str, object]]:
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
