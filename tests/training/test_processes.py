"""Two processes learn what one learns from batches of twice the size."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from shard_files import indexed_shards
from torch import Tensor

from pix2color.config import Config
from pix2color.training.setup import make_trainer

Weights = dict[str, dict[str, Tensor]]
SCRIPT = Path(__file__).with_name("two_processes.py")
MOBILENET = "model.encoder=mobilenet_v2"
SHARED = ("budget.samples=24", "model.freeze_batchnorm=true", MOBILENET)
# Not hinge: its gradient of the last bias is 0 at first, and Adam would make noise of that.
GAN = (
    "gan.enabled=true",
    "gan.loss=lsgan",
    "gan.base_channels=8",
    "gan.n_layers=2",
    "gan.discriminator_warmup_samples=8",
)
RECIPES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "gan": GAN,
    "penalized": (*GAN, "gan.r1_gamma=1", "gan.r1_every=2"),
}
PROJECTED = (*GAN, "gan.discriminator=projected", "gan.r1_gamma=0.01", "gan.r1_every=2")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def launched(out: Path, recipes: list[Path], *, machines: int = 1) -> dict[str, Weights]:
    """Train in two CPU processes on one or two machines; the weights by file name.

    Started as torchrun starts them, by their environment: on a CPU, `accelerate launch` makes
    several processes through MPI only.
    """
    root = Path(__file__).parents[2]
    command = [sys.executable, str(SCRIPT), str(out), *map(str, recipes)]
    common = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = []
    for rank in ("0", "1"):
        environment = {**common, "RANK": rank, "LOCAL_RANK": rank if machines == 1 else "0"}
        errors = (out / f"errors-{rank}.txt").open("wb")
        processes.append(subprocess.Popen(command, env=environment, stderr=errors))
    try:
        for process in processes:
            process.wait(300)
    finally:
        for process in processes:
            process.kill()
    # Gloo may abort at the very end, after correct results: these count, not the exit code.
    found = {path.stem: torch.load(path) for path in out.glob("*.pt")}
    names = [
        recipe.stem.replace("RANK", f"{rank}") + f"-{rank}-of-2"
        for recipe in recipes
        for rank in range(2)
    ]
    expected = set(names)
    said = "\n".join((out / f"errors-{rank}.txt").read_text()[-2000:] for rank in range(2))
    assert found.keys() == expected, said
    return found


@pytest.fixture
def recipes(imagenet_file: Path, tmp_path: Path) -> dict[str, tuple[str, ...]]:
    return RECIPES | {
        "projected": (*PROJECTED, f"model.pretrained={imagenet_file}"),
        "indexed": from_shards(tmp_path),
    }


def from_shards(folder: Path) -> tuple[str, ...]:
    """Settings that read indexed shards."""
    return ("data.cache=none", f"data.roots={indexed_shards(folder / 'shards')}")


@pytest.fixture
def recipe_files(
    tiny: Callable[..., Config], tmp_path: Path, recipes: dict[str, tuple[str, ...]]
) -> list[Path]:
    files = []
    for name, options in recipes.items():
        config = tiny(f"two-{name}", *SHARED, *options, "train.batch_size=4")
        file = tmp_path / f"{name}.yaml"
        file.write_text(config.dump(), encoding="utf-8")
        files.append(file)
    return files


@pytest.mark.slow
def test_two_processes_match_one_with_twice_the_batch(
    tiny: Callable[..., Config],
    tmp_path: Path,
    recipes: dict[str, tuple[str, ...]],
    recipe_files: list[Path],
) -> None:
    found = launched(tmp_path, recipe_files)
    assert len(found) == 2 * len(recipes)  # two processes there were
    for name, options in recipes.items():
        ranks = [found[f"{name}-{rank}-of-2"] for rank in range(2)]
        for part, weights in ranks[0].items():
            same = {k: torch.equal(v, ranks[1][part][k]) for k, v in weights.items()}
            assert all(same.values()), f"{part} differs between the processes"
        alone = make_trainer(tiny(f"one-{name}", *SHARED, *options, "train.batch_size=8"))
        start = {k: v.clone() for k, v in alone.unwrapped_generator.state_dict().items()}
        assert alone.fit().finished
        moved = max_difference(alone.unwrapped_generator.state_dict(), start)
        apart = max_difference(alone.unwrapped_generator.state_dict(), ranks[0]["generator"])
        assert moved > 1e-3
        assert apart < 0.02 * moved, (name, apart, moved)
        if alone.discriminator is not None:
            critic = alone.discriminator.state_dict()
            assert max_difference(critic, ranks[0]["discriminator"]) < 1e-5


@pytest.mark.slow
def test_a_run_on_shards_goes_on_with_another_number_of_processes(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    options = (*from_shards(tmp_path), "optim.schedule=constant", "model.freeze_batchnorm=true")
    options += (MOBILENET,)
    whole = make_trainer(tiny("whole", *options, "budget.samples=40", "train.batch_size=8"))
    start = {k: v.clone() for k, v in whole.unwrapped_generator.state_dict().items()}
    whole.fit()
    make_trainer(tiny("moved", *options, "budget.samples=16", "train.batch_size=8")).fit()
    recipe = tmp_path / "moved.yaml"
    recipe.write_text(tiny("moved", *options, "budget.samples=40").dump(), encoding="utf-8")
    found = launched(tmp_path, [recipe])
    expected = whole.unwrapped_generator.state_dict()
    moved = max_difference(expected, start)
    assert moved > 1e-3
    for rank in range(2):
        assert max_difference(expected, found[f"moved-{rank}-of-2"]["generator"]) < 0.02 * moved


@pytest.mark.slow
def test_machines_without_a_shared_disk_resume(tiny: Callable[..., Config], tmp_path: Path) -> None:
    """Each machine keeps whole states of its own, and all go on from one that all have."""
    options = ("budget.samples=48", "optim.schedule=constant", "train.save_every_samples=16", *GAN)
    recipes = [tmp_path / "whole.yaml", tmp_path / "disk-RANK.yaml"]
    for name in ("whole", "disk-0", "disk-1"):
        text = tiny(name, *options, "model.dropout=0.2").dump()
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    whole = launched(tmp_path, recipes[:1])

    for rank in range(2):
        recipe = recipes[1].with_name(f"disk-{rank}.yaml")
        shorter = recipe.read_text(encoding="utf-8").replace("samples: 48", "samples: 32")
        recipe.write_text(shorter, encoding="utf-8")
    for old in tmp_path.glob("*.pt"):
        old.unlink()
    launched(tmp_path, recipes[1:], machines=2)
    for rank in range(2):
        folder = tmp_path / f"disk-{rank}" / "state"
        assert [p.name for p in sorted(folder.iterdir())] == [
            "samples-000000016",
            "samples-000000032",
        ]
        recipe = recipes[1].with_name(f"disk-{rank}.yaml")
        longer = recipe.read_text(encoding="utf-8").replace("samples: 32", "samples: 48")
        recipe.write_text(longer, encoding="utf-8")
    # As after a kill between the two machines' renames.
    shutil.rmtree(tmp_path / "disk-1" / "state" / "samples-000000032")
    resumed = launched(tmp_path, recipes[1:], machines=2)
    for rank in range(2):
        for part, weights in resumed[f"disk-{rank}-{rank}-of-2"].items():
            expected = whole[f"whole-{rank}-of-2"][part]
            assert all(torch.equal(v, expected[k]) for k, v in weights.items()), (rank, part)


def max_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((v - other[k]).abs().max()) for k, v in one.items() if v.is_floating_point())
