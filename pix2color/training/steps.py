"""What one step computes: pure functions from networks and a batch to named losses.

`training.task` combines them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pix2color.color.lab import lab_to_rgb
from pix2color.config import DecodeConfig
from pix2color.data.loader import Batch
from pix2color.losses import adversarial
from pix2color.losses.perceptual import PerceptualLoss
from pix2color.models.discriminator import LAB_SCALE
from pix2color.models.heads import ClassificationHead, Head

Network = Callable[[Tensor], Tensor]
AbLoss = Callable[[Tensor, Tensor], Tensor]
Targets = Callable[[Tensor, tuple[int, int], Sequence[int]], Tensor]
"""(L, size, seeds of the crops) -> a teacher's probabilities B,313,*size."""


def reconstruction_losses(
    raw: Tensor,
    batch: Batch,
    *,
    head: Head,
    ab_losses: Mapping[str, AbLoss],
    perceptual: PerceptualLoss | None,
    targets: str = "average",
    enlarge: str = "none",
) -> dict[str, Tensor]:
    """Losses of the generator's output against the true colors.

    Args:
        raw: B,C,h,w from the generator for `batch.input_lightness`.
        batch: the true photo.
        head: of the generator.
        ab_losses: taken on the head's ab at temperature 1 and the true ab at h,w.
        perceptual: taken on RGB at full size, unclipped so that its gradient reaches ab.
        targets, enlarge: of the config's loss section.
    """
    if enlarge != "none":
        raw = F.interpolate(raw, size=batch.target_lab.shape[-2:], mode=enlarge)
    target = target_ab(batch, (raw.shape[-2], raw.shape[-1]), targets=targets)
    losses = head.loss(raw, target)
    if ab_losses or perceptual is not None:
        ab = head.to_ab(raw)
        losses |= {name: loss(ab, target) for name, loss in ab_losses.items()}
        if perceptual is not None:
            rgb = lab_to_rgb(_with_lightness(batch.target_lab, ab), clip=False)
            losses["perceptual"] = perceptual(rgb, lab_to_rgb(batch.target_lab))
    return losses


def distillation_loss(
    raw: Tensor, batch: Batch, *, head: Head, teacher: Targets, temperature: float
) -> Tensor:
    """Loss of the generator's logits against the teacher's probabilities.

    The teacher sees L as it is, the student as degraded by the recipe: it learns to see through it.
    """
    assert isinstance(head, ClassificationHead)
    size = (raw.shape[-2], raw.shape[-1])
    probability = teacher(batch.target_lab[:, :1], size, batch.seeds)  # B,313,h,w
    return head.distillation_loss(raw, probability, temperature=temperature)


def fake_lab(raw: Tensor, batch: Batch, *, head: Head, decode: DecodeConfig) -> Tensor:
    """The colored photo as the discriminator sees it: Lab, B,3,H,W."""
    ab = head.to_ab(raw, temperature=decode.temperature, vividness=decode.vividness)
    return _with_lightness(batch.target_lab, decode.saturation * ab)


def discriminator_losses(
    discriminator: Network, real: Tensor, fake: Tensor, *, mode: str
) -> dict[str, Tensor]:
    """The discriminator's loss on true and colored photos (Lab, B,3,H,W each).

    One pass over both, not two: two passes of a wrapped network before one backward pass fail
    under DistributedDataParallel where it has batch norms (pytorch issue 175024).
    """
    on_real, on_fake = discriminator(torch.cat((real, fake.detach()))).chunk(2)
    return {
        "discriminator": adversarial.discriminator_loss(on_real, on_fake, mode=mode),
        "logit_real": on_real.detach().float().mean(),
        "logit_fake": on_fake.detach().float().mean(),
        "discriminator_accuracy": adversarial.accuracy(
            on_real.detach(), on_fake.detach(), mode=mode
        ),
    }


def gradient_penalty(discriminator: Network, real: Tensor) -> Tensor:
    """R1 on true photos (Lab, B,3,H,W), in float32; gradients are per L / 50 and ab / 110."""
    scale = real.new_tensor(LAB_SCALE).view(1, 3, 1, 1)
    unit = (real.detach() / scale).requires_grad_()
    with torch.autocast(device_type=real.device.type, enabled=False):
        return adversarial.r1_penalty(discriminator(unit * scale), unit)


def adversarial_losses(discriminator: Network, fake: Tensor, *, mode: str) -> dict[str, Tensor]:
    """The generator's loss by the discriminator."""
    return {"adversarial": adversarial.generator_loss(discriminator(fake), mode=mode)}


def watched(raw: Tensor, norms: dict[str, Tensor], name: str) -> Tensor:
    """`raw` for one kind of losses: backward writes the norm of their gradient to `norms[name]`.

    Norms include the scale of the loss (fp16, accumulated batches); compare them with each other.
    The graph refers to `norms`: what has a graph itself must not be in it, since such a cycle is
    never freed.
    """
    alias = raw.view_as(raw)
    if alias.requires_grad:
        alias.register_hook(lambda gradient: norms.update({name: gradient.norm()}))
    return alias


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The scalar to minimize: only losses with a weight that is not 0 count."""
    terms = [weights[name] * loss for name, loss in losses.items() if weights.get(name)]
    return torch.stack(terms).sum()


def labeled(raw: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
    """The part of the output and of the batch that has true colors."""
    kept = batch.labeled()
    return raw[kept], Batch(batch.input_lightness[kept], batch.target_lab[kept])


def target_ab(batch: Batch, size: tuple[int, int], *, targets: str) -> Tensor:
    """The true ab of each cell of an output of this size: B,2,*size.

    Args:
        batch: its height and width are multiples of the size.
        size: height and width.
        targets: average (the mean of the cell's pixels) | subsample (its first pixel).
    """
    ab = batch.target_lab[:, 1:]
    if targets == "subsample":
        return ab[..., :: ab.shape[-2] // size[0], :: ab.shape[-1] // size[1]]
    return F.adaptive_avg_pool2d(ab, size)


def _with_lightness(lab: Tensor, ab: Tensor) -> Tensor:
    """The photo's own L with predicted ab, enlarged to it: B,3,H,W."""
    ab = F.interpolate(ab, size=lab.shape[-2:], mode="bilinear", align_corners=False)
    return torch.cat((lab[:, :1], ab), dim=1)
