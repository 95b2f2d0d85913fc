"""A teacher's probabilities, and students that learn them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_model import write_release
from imported import import_narrow
from PIL import Image
from torch import Tensor

from pix2color.build import build_generator
from pix2color.checkpoints import checkpoint, release_file
from pix2color.color.ab_bins import bin_centers, nearest_bin
from pix2color.color.lab import rgb_to_lab
from pix2color.color.lab_numpy import rgb_to_lab as rgb_to_lab_numpy
from pix2color.config import Config, ModelConfig, from_dict, load
from pix2color.data.dataset import load_photos
from pix2color.errors import ConfigError, DataError, TrainingError, WeightsError
from pix2color.models.generator import Generator
from pix2color.training.setup import make_trainer
from pix2color.training.teacher import Teacher
from pix2color.training.teacher_cache import CachedTeacher, load_teacher

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


@pytest.mark.parametrize("kind", ["eccv16", "siggraph17"])
def test_an_imported_network_is_a_teacher(kind: str, tmp_path: Path, lightness: Tensor) -> None:
    path = import_narrow(kind, tmp_path)
    config = load(None, [f"teacher.checkpoint={path}", "loss.distillation=1"])
    teacher = load_teacher(config, photos=None)
    assert isinstance(teacher, Teacher)
    probability = teacher(lightness, (8, 16))
    assert torch.allclose(probability.sum(1), torch.ones(()), atol=1e-4)
    mean = torch.einsum("bchw,cd->bdhw", probability, bin_centers())
    assert float(mean.abs().max()) > 5  # it is not gray


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
    assert load_teacher(load(None), photos=None) is None


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    file = tmp_path / "absent.safetensors"
    config = load(None, [f"teacher.checkpoint={file}", "loss.distillation=1"])
    with pytest.raises(WeightsError, match=r"absent\.safetensors"):
        load_teacher(config, photos=None)


def test_a_teacher_with_other_bins_is_refused(tmp_path: Path) -> None:
    path = write_release(tmp_path / "teacher.safetensors")
    file = release_file.read(path)
    fewer = {k: v[:200] if k.startswith("head.") else v for k, v in file.tensors.items()}
    release_file.write(path, fewer, file.meta)
    with pytest.raises(WeightsError) as caught:
        load_teacher(load(None, [f"teacher.checkpoint={path}", "loss.distillation=1"]), photos=None)
    said = str(caught.value)
    assert "3 of another shape (head." in said and "\n" not in said
    assert "313 colors of this version" in said and "teacher.checkpoint" in said


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


# The cache of targets.


@pytest.fixture
def cached(tiny: Callable[..., Config], tmp_path: Path) -> Callable[..., CachedTeacher]:
    def make(*overrides: str, photos: str = "these") -> CachedTeacher:
        folder = f"teacher.cache={tmp_path / 'targets'}"
        teacher = ("teacher.checkpoint=default", "loss.distillation=1")
        loaded = load_teacher(tiny("run", *teacher, folder, *overrides), photos=photos)
        assert isinstance(loaded, CachedTeacher)
        return loaded

    return make


def test_what_was_computed_is_read_again(
    cached: Callable[..., CachedTeacher], packaged: Generator, lightness: Tensor
) -> None:
    first = cached()(lightness, (8, 16), [7])
    exact = Teacher([packaged], mirror=False)(lightness, (8, 16))
    assert torch.allclose(first.sum(1), torch.ones(()), atol=1e-5)
    assert float((first - exact).abs().sum(1).mean()) < 0.03  # half of it in both directions
    again = cached()(torch.zeros_like(lightness), (8, 16), [7])  # L is not looked at
    assert torch.equal(again, first)
    mixed = cached()(torch.cat((lightness.flip(-1), lightness)), (8, 16), [8, 7])
    assert torch.equal(mixed[1:], first) and not torch.equal(mixed[:1], first)


def test_a_damaged_entry_is_computed_anew(
    cached: Callable[..., CachedTeacher], lightness: Tensor
) -> None:
    teacher = cached()
    first = teacher(lightness, (8, 16), [7])
    (entry,) = teacher.folder.rglob("*.bin")
    entry.write_bytes(entry.read_bytes()[:100])
    assert torch.equal(cached()(lightness, (8, 16), [7]), first)


@pytest.mark.parametrize(
    ("override", "reason"),
    [("teacher.mirror=true", "another teacher"), ("data.crop=64", "other crops")],
)
def test_a_cache_of_other_targets_is_refused(
    override: str, reason: str, cached: Callable[..., CachedTeacher]
) -> None:
    cached()
    with pytest.raises(TrainingError, match=reason):
        cached(override)
    with pytest.raises(TrainingError, match="other photos"):
        cached(photos="others")


def test_a_folder_with_something_else_is_no_cache(
    cached: Callable[..., CachedTeacher], tmp_path: Path
) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "letter.txt").write_text("mine")
    with pytest.raises(TrainingError, match="not empty"):
        cached()


def test_two_trainings_share_a_cache(tiny: Callable[..., Config], tmp_path: Path) -> None:
    folder = tmp_path / "targets"
    options = ("teacher.checkpoint=default", "loss.distillation=1", f"teacher.cache={folder}")
    for run in ("one", "other"):
        assert make_trainer(tiny(run, *options, "budget.samples=8")).fit().finished
        assert len(list(folder.rglob("*.bin"))) == 8


# Photos without true colors.


@pytest.fixture
def scans(tmp_path: Path, astronaut: Tensor) -> Path:
    """A folder of scans: gray, and toned all over."""
    folder = tmp_path / "scans"
    folder.mkdir()
    gray = (astronaut[0].mean(0) * 255).round().byte().numpy()
    for name, tone in (("gray", (1, 1, 1)), ("sepia", (1, 0.8, 0.55)), ("blue", (0.7, 0.85, 1))):
        pixels = (gray[..., None] * np.array(tone)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


UNLABELED = ("teacher.checkpoint=default", "loss.distillation=1", "data.unlabeled=[scans/]")


def test_only_the_teacher_is_learned_from_photos_without_true_colors(
    tiny: Callable[..., Config], scans: Path, photo_folder: Path
) -> None:
    def losses(*overrides: str) -> dict[str, float]:
        config = tiny("run", *UNLABELED, "budget.samples=4", *overrides)
        make_trainer(config).fit()
        lines = Path(config.output, "metrics.jsonl").read_text().splitlines()
        shutil.rmtree(config.output)
        return next(line for line in map(json.loads, lines) if line["kind"] == "train")

    log = "train.log_every_samples=4"
    scans_alone = losses(f"data.roots={scans}", log)
    assert "distillation" in scans_alone and "cross_entropy" not in scans_alone
    both = losses(f"data.roots=[{scans}, {photo_folder}]", log, "train.batch_size=8")
    assert {"distillation", "cross_entropy"} <= both.keys()


def test_tones_are_removed_and_lightness_stays(tiny: Callable[..., Config], scans: Path) -> None:
    config = tiny("run", *UNLABELED, f"data.roots={scans}", "data.cache_size=64")
    kept = load_photos(config.data, splits=["train"])
    assert len(kept) == 3
    for name, pixels in zip(kept.names, kept.photos, strict=True):
        scanned = np.asarray(Image.open(scans.parent / name))
        assert np.ptp(pixels, axis=-1).max() == 0
        true, gray = (rgb_to_lab_numpy(p / 255)[..., 0] for p in (scanned, pixels))
        assert np.abs(true - gray).max() < 0.5


def test_a_prefix_that_no_photo_has_is_said(tiny: Callable[..., Config], scans: Path) -> None:
    wrong = ("data.unlabeled=[scans/toned]", "data.min_chroma=0")
    config = tiny("run", *UNLABELED[:2], *wrong, f"data.roots={scans}")
    with pytest.raises(DataError, match=r"data\.unlabeled.*did you mean scans"):
        make_trainer(config)


@pytest.mark.parametrize(
    "tree",
    [
        {"data": {"unlabeled": ["scans/"]}},
        {"data": {"unlabeled": ["scans/"], "cache": "none"}},
    ],
)
def test_photos_without_colors_need_a_teacher_and_the_cache(tree: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="unlabeled"):
        from_dict(tree, source="test")
