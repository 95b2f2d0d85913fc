"""A teacher's probabilities, and students that learn them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pix2color.build import build_generator
from pix2color.checkpoints import checkpoint
from pix2color.color.ab_bins import bin_centers, nearest_bin
from pix2color.color.lab import rgb_to_lab
from pix2color.config import Config, ModelConfig, TeacherConfig, from_dict
from pix2color.errors import ConfigError, WeightsError
from pix2color.models.generator import Generator
from pix2color.training.setup import make_trainer
from pix2color.training.teacher import Teacher, load_teacher

SMALL = {"pretrained": "none", "decoder_channels": [16], "convs_per_level": [1]}
HEADS = {"classes": {}, "regression": {"type": "regression"}, "marginal64": {"type": "marginal64"}}


def network(head: str = "classes", seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    model = ModelConfig.model_validate(SMALL | {"head": HEADS[head]})
    return build_generator(model, pretrained=False).eval()


@pytest.fixture(scope="module")
def packaged() -> Generator:
    return checkpoint.load().generator


@pytest.fixture(scope="module")
def lightness(astronaut: Tensor) -> Tensor:
    return rgb_to_lab(astronaut)[:, :1, :32, :64]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("scales", "mirror"), [((1.0,), False), ((0.5, 1.3), True)])
def test_every_network_gives_probabilities(
    head: str, scales: tuple[float, ...], mirror: bool, lightness: Tensor
) -> None:
    probability = Teacher([network(head)], scales=scales, mirror=mirror)(lightness, (8, 16))
    assert probability.shape == (len(lightness), 313, 8, 16)
    assert float(probability.min()) >= 0
    assert torch.allclose(probability.sum(1), torch.ones(()), atol=1e-4)


def test_one_pass_is_the_network_itself(packaged: Generator, lightness: Tensor) -> None:
    probability = Teacher([packaged], mirror=False)(lightness, (8, 16))
    assert torch.allclose(probability, packaged.predict_raw(lightness).softmax(1), atol=1e-6)


def test_the_mean_over_both_mirrorings_is_the_same_for_the_mirrored_photo(
    packaged: Generator, lightness: Tensor
) -> None:
    teacher = Teacher([packaged], mirror=True)
    plain, mirrored = (teacher(photo, (8, 16)) for photo in (lightness, lightness.flip(-1)))
    assert torch.allclose(plain, mirrored.flip(-1), atol=1e-6)
    single = Teacher([packaged], mirror=False)
    assert not torch.allclose(plain, single(lightness, (8, 16)), atol=1e-2)


def test_several_networks_and_sizes_count_alike(lightness: Tensor) -> None:
    networks = [network("classes", seed=1), network("regression", seed=2)]
    passes = [
        Teacher([each], scales=(scale,), mirror=False)(lightness, (8, 16))
        for each in networks
        for scale in (0.75, 1.0)
    ]
    together = Teacher(networks, scales=(0.75, 1.0), mirror=False)(lightness, (8, 16))
    assert torch.allclose(together, torch.stack(passes).mean(0), atol=1e-6)


def test_a_teacher_stays_as_it_is(packaged: Generator) -> None:
    teacher = Teacher([packaged], mirror=True).train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_without_a_checkpoint_there_is_no_teacher() -> None:
    assert load_teacher(TeacherConfig()) is None


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.safetensors"):
        load_teacher(TeacherConfig(checkpoint=(str(tmp_path / "absent.safetensors"),)))


@pytest.mark.parametrize(
    ("tree", "remedy"),
    [
        ({"teacher": {"checkpoint": "default"}}, "loss.distillation"),
        ({"loss": {"distillation": 1}}, "teacher.checkpoint"),
        (
            {
                "teacher": {"checkpoint": "default"},
                "loss": {"distillation": 1, "l2": 1},
                "model": {"head": {"type": "regression"}},
            },
            "model.head.type",
        ),
    ],
)
def test_half_a_distillation_is_refused(tree: dict[str, object], remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        from_dict(tree, source="test")


def test_a_student_takes_over_the_colors_of_its_teacher(
    tiny: Callable[..., Config], tmp_path: Path, lightness: Tensor
) -> None:
    """With the truth left out: the teacher sees everything blue."""
    file, config = tmp_path / "teacher.safetensors", tiny("student")
    teacher = build_generator(config.model, pretrained=False).eval()
    blue = int(nearest_bin(torch.tensor([10.0, -40.0]).view(1, 2, 1, 1)))
    with torch.no_grad():
        teacher.head.project.bias[blue] += 30  # type: ignore[index]
    checkpoint.save(file, teacher, config=config)

    distillation = ("loss.distillation=1", "loss.cross_entropy=0", f"teacher.checkpoint={file}")
    quick = ("optim.decoder_lr=5e-2", "optim.schedule=constant", "budget.samples=120")
    trainer = make_trainer(tiny("student", *distillation, *quick))
    trainer.fit()
    student = trainer.unwrapped_generator.eval()
    ab = student.head.to_ab(student.predict_raw(lightness))
    assert float((ab - bin_centers()[blue].view(1, 2, 1, 1)).abs().mean()) < 6
