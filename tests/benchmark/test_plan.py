"""Plans: what they list, what every recipe shares, where weights come from, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pix2color.benchmark import plan as plans
from pix2color.benchmark.plan import PRE_GAN, BenchmarkPlan, RecipeRun, load_plan
from pix2color.errors import ConfigError, WeightsError

CONFIGS = Path(__file__).parents[2] / "configs"
Make = Callable[..., Any]


def by_name(entries: list[RecipeRun]) -> dict[str, RecipeRun]:
    return {entry.name: entry for entry in entries}


@pytest.fixture(scope="module")
def everything(mobilenet_file: Path) -> tuple[list[RecipeRun], list[str]]:
    """The project's own plan, with mobilenet_v2 from a file; what was said."""
    files = {"mobilenet_v2": str(mobilenet_file)}
    plan = load_plan("benchmark.yaml", overrides={"pretrained": files})
    said: list[str] = []
    found = plans.resolve_runs(plan, CONFIGS, out=Path("out"), roots=["photos"], log=said.append)
    return found, said


# The file


def write(path: Path, tree: Any) -> Path:
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"recipies": "all"}, "did you mean recipes"),
        ({"evaluate": {"resample": 5}}, "did you mean evaluate.resamples"),
        ({"split": {"train": 0.8, "val": 0.2, "test": 0.0}}, "no share may be 0"),
        ({"gan_budget_fraction": 1}, "gan_budget_fraction"),
        ({"budget": {"samples": None, "minutes": None}}, "budget"),
        ({"evaluate": {"lpips_net": "squeezed"}}, "lpips_net"),
        ({"test_sets": {"test": "photos"}}, "another name"),
        ({"test_sets": {"a/../b": "photos"}}, "another name"),
    ],
)
def test_mistakes_are_named(tree: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_plan(write(tmp_path / "plan.yaml", tree))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=said):
        load_plan("benchmark.yaml", overrides=tree)


def test_a_smoke_budget_lies_over_the_file_and_under_what_is_asked_for() -> None:
    assert load_plan("benchmark.yaml").budget.minutes == 5
    smoke = load_plan("benchmark.yaml", smoke=True)
    assert smoke.budget.samples and smoke.budget.minutes is None
    assert smoke.defaults["data"]["crop_aspect"] == 1.15  # the file's
    asked = load_plan("benchmark.yaml", smoke=True, overrides={"budget": {"samples": 4}})
    assert asked.budget.samples == 4


def test_warm_up_and_averaging_are_the_same_for_every_recipe(
    everything: tuple[list[RecipeRun], list[str]],
) -> None:
    """A warm-up in samples took all of one recipe's stage and nothing of another's."""
    for entry in everything[0]:
        optim = entry.config.optim
        assert (optim.warmup_fraction, optim.ema_half_life_samples) == (0.03, 1000), entry.name


def test_validations_are_as_dense_before_and_after_the_start_of_a_gan(
    everything: tuple[list[RecipeRun], list[str]],
) -> None:
    named = by_name(everything[0])
    assert named["pretrain_l2"].config.train.num_validations == 8
    assert named["unet_l2_gan"].config.train.num_validations == 3  # 40 % of the budget


# What is listed


def test_all_is_every_recipe_of_the_folder_and_no_plan(
    everything: tuple[list[RecipeRun], list[str]],
) -> None:
    files = {path.stem for path in CONFIGS.glob("*.yaml")} - {"benchmark", "packaged", "distill"}
    found = [entry.name for entry in everything[0]]
    assert set(found) == files
    assert len(found) == len(files)
    assert {"pretrain_l2", "pretrain_class", "gan"} <= files
    assert "packaged: left out, since it starts from default" in everything[1]


def test_one_more_file_is_one_more_row(tmp_path: Path, make_plan: Make, make_entries: Make) -> None:
    plan = BenchmarkPlan.model_validate(make_plan().model_dump() | {"recipes": "all"})
    write(tmp_path / "benchmark.yaml", {"recipes": "all"})
    write(tmp_path / "one.yaml", {"extends": "strided.yaml"})
    assert [e.name for e in make_entries(plan, tmp_path / "out", tmp_path)] == ["one"]
    write(tmp_path / "two.yaml", {"extends": "strided.yaml", "optim": {"name": "adam"}})
    found = make_entries(plan, tmp_path / "out", tmp_path)
    assert [e.name for e in found] == ["one", "two"]
    assert [e.config.optim.name for e in found] == ["rmsprop", "adam"]


def test_an_empty_folder_is_an_error(tmp_path: Path, make_entries: Make) -> None:
    with pytest.raises(ConfigError, match="holds no recipes"):
        make_entries(BenchmarkPlan(), tmp_path / "out", tmp_path)


def test_names_that_are_no_recipes_are_named(
    make_plan: Make, make_entries: Make, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"did you mean strided"):
        make_entries(make_plan("stridet"), tmp_path)
    tree = make_plan("strided").model_dump()
    lost = BenchmarkPlan.model_validate(
        tree | {"overrides": {"zhang_l3": {"train": {"batch_size": 2}}}}
    )
    with pytest.raises(ConfigError, match=r"'zhang_l3'.*did you mean zhang_l2"):
        make_entries(lost, tmp_path)
    # The project's plan has changes for recipes that a call with --recipes leaves out.
    left_out = BenchmarkPlan.model_validate(
        tree | {"overrides": {"unet_l2_gan": {"train": {"batch_size": 2}}}}
    )
    assert [entry.name for entry in make_entries(left_out, tmp_path)] == ["strided"]
    with pytest.raises(ConfigError, match=r"batsch; did you mean train\.batch"):
        make_entries(make_plan("strided", defaults={"train": {"batsch": 2}}), tmp_path)
    with pytest.raises(ConfigError, match="mobilnet_v2; did you mean mobilenet_v2"):
        make_entries(make_plan("strided", pretrained={"mobilnet_v2": "x.pth"}), tmp_path)


# What all share, and what a GAN recipe gets


def test_all_have_the_same_photos_budget_and_crops(
    everything: tuple[list[RecipeRun], list[str]],
) -> None:
    for entry in everything[0]:
        config = entry.config
        assert (config.data.roots, config.data.crop, config.train.seed) == (("photos",), 96, 0)
        assert config.data.split == plans.SplitConfig(train=0.6, val=0.2, test=0.2)
        assert config.budget.samples is None
        assert config.budget.minutes == pytest.approx(5 * (0.4 if entry.parent else 1))
        assert config.output == str(Path("out") / "runs" / entry.name)


def test_a_gan_recipe_gets_its_share_and_its_start_from_its_pretraining(
    everything: tuple[list[RecipeRun], list[str]],
) -> None:
    found = by_name(everything[0])
    parents = {entry.name: entry.parent for entry in everything[0] if entry.parent}
    assert parents == {
        "strided_gan": "strided",
        "gan": "pretrain_class",
        "unet_l2_gan": "pretrain_l2",
        "vgg16_class64_gan": "vgg16_class64",
    }
    order = list(found)
    for name, parent in parents.items():
        assert order.index(parent) < order.index(name)
        config = found[name].config
        assert config.init_from == str(Path("out") / "runs" / parent / PRE_GAN)
        assert config.decode == found[parent].config.decode
        for part in ("encoder", "decoder", "decoder_channels", "residual_blocks", "output_stride"):
            assert getattr(config.model, part) == getattr(found[parent].config.model, part)
        assert config.gan.enabled


def test_samples_are_shared_out_too(make_plan: Make, make_entries: Make, tmp_path: Path) -> None:
    plan = make_plan("strided_gan", "strided", gan_budget_fraction=0.25)
    found = by_name(make_entries(plan, tmp_path))
    assert list(found) == ["strided", "strided_gan"]
    assert found["strided"].config.budget.samples == 16
    assert found["strided_gan"].config.budget.samples == 4


def test_a_start_that_is_not_listed_is_an_error(
    make_plan: Make, make_entries: Make, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="strided_gan starts from strided, which is not listed"):
        make_entries(make_plan("strided_gan"), tmp_path)
    for start in ("default", "weights/other.safetensors"):
        recipe = {"extends": "strided.yaml", "init_from": start}
        plan = make_plan(str(write(tmp_path / "own.yaml", recipe)))
        with pytest.raises(ConfigError, match=f"own starts from {start}.*runs/RECIPE"):
            make_entries(plan, tmp_path)


# Weights


def test_what_stands_in_for_vgg16_is_said(
    everything: tuple[list[RecipeRun], list[str]], mobilenet_file: Path
) -> None:
    found = by_name(everything[0])
    for name in ("vgg16_regression", "vgg16_class64"):
        entry = found[name]
        assert entry.config.model.encoder == "mobilenet_v2"
        assert entry.config.model.pretrained == str(mobilenet_file)
        assert (
            "mobilenet_v2 in place of vgg16" in entry.note
            and entry.substitute_encoder == "mobilenet_v2"
        )
        assert any(line.startswith(f"{name}: ") and entry.note in line for line in everything[1])
    assert found["pretrain_class"].note == ""


def test_a_frozen_network_always_has_weights(
    everything: tuple[list[RecipeRun], list[str]],
    make_plan: Make,
    make_entries: Make,
    mobilenet_file: Path,
    tmp_path: Path,
) -> None:
    frozen = [e.config.model for e in everything[0] if e.config.model.freeze != "none"]
    assert len(frozen) >= 6
    assert {model.pretrained for model in frozen} == {str(mobilenet_file)}
    plan = make_plan("vgg16_regression", defaults={"model": {"pretrained": "none"}})
    with pytest.raises(ConfigError, match="would train on noise"):
        make_entries(plan, tmp_path)


def test_without_any_download_the_packaged_encoder_stands_in_and_that_is_said(
    make_plan: Make, make_entries: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan("vgg16_regression", "pretrain_l2", "strided")
    for entry in make_entries(plan, tmp_path):
        if entry.name == "strided":
            assert (entry.note, entry.config.model.pretrained) == ("", "none")
        else:
            assert "packaged weights" in entry.note and "advantage" in entry.note
            assert entry.config.model.encoder == "mobilenet_v2"
            assert entry.config.model.pretrained == "default"
    monkeypatch.setattr(
        "pix2color.checkpoints.pretrained.DEFAULT_FILE", tmp_path / "none.safetensors"
    )
    with pytest.raises(WeightsError, match="packaged weights, which are missing"):
        make_entries(plan, tmp_path)


def test_fusion_without_its_classifier_is_missing(
    make_plan: Make, make_entries: Make, mobilenet_file: Path, tmp_path: Path
) -> None:
    (entry,) = make_entries(make_plan("fusion"), tmp_path)
    assert "needs the weights of a whole classifier" in entry.unavailable
    assert "\n" not in entry.unavailable
    files = {"mobilenet_v2": str(mobilenet_file)}
    (entry,) = make_entries(make_plan("fusion", pretrained=files), tmp_path)
    assert (entry.unavailable, entry.note) == ("", "")
    assert entry.config.model.pretrained == str(mobilenet_file)


@pytest.mark.parametrize("recipe", ["pretrain_l2", "fusion"])
def test_a_named_file_that_does_not_hold_is_an_error(
    recipe: str, make_plan: Make, make_entries: Make, tmp_path: Path
) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    for name, said in (("other.pth", "does not hold the weights"), ("none.pth", "no weights file")):
        files = {"mobilenet_v2": str(tmp_path / name)}
        with pytest.raises(WeightsError, match=said):
            make_entries(make_plan(recipe, pretrained=files), tmp_path)


def test_a_recipe_keeps_the_weights_file_that_it_names(
    make_plan: Make, make_entries: Make, mobilenet_file: Path, tmp_path: Path
) -> None:
    own = {"extends": "pretrain_class.yaml", "model": {"pretrained": str(mobilenet_file)}}
    plan = make_plan(str(write(tmp_path / "own.yaml", own)))
    (entry,) = make_entries(plan, tmp_path)
    assert entry.config.model.pretrained == str(mobilenet_file)
    assert entry.note == ""
    write(tmp_path / "own.yaml", own | {"model": {"pretrained": str(tmp_path / "lost.pth")}})
    with pytest.raises(WeightsError, match="no weights file"):
        make_entries(plan, tmp_path)
