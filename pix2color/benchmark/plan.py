"""The plan of a benchmark, and its recipes with the plan's settings.

A plan is a YAML file beside the recipes. Every recipe is trained as its file says, except for the
plan's `defaults` and `overrides`, the budget and the seed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from pix2color import config as configs
from pix2color.checkpoints.pretrained import pretrained_classifier, pretrained_encoder
from pix2color.config import BudgetConfig, Config, ConfigModel, SplitConfig
from pix2color.errors import ConfigError, WeightsError
from pix2color.models.encoders import NAMES

Count = Annotated[int, Field(ge=1)]
Log = Callable[[str], object]
_FALLBACK = "mobilenet_v2"
_NO_FILES = ("imagenet", "default", "none")
_RELEASE = "release.safetensors"  # of a run folder
FIRST_SET = "test"
"""Name of the set that is the test split of the training photos."""


class EvaluationPlan(ConfigModel):
    """The evaluation of every recipe on every set of photos."""

    photos: Count = 300
    """Of each set: the first by content hash."""
    crop: Count = 176
    """Side of the measured center square, in pixels."""
    resamples: Annotated[int, Field(ge=0)] = 1000
    """Of the bootstrap."""
    lpips_net: Literal["alex", "vgg", "squeeze"] = "squeeze"
    lpips_backbone: str | None = None
    """torchvision's weights of that net; null: download."""
    fd_backbone: str | None = None
    """torchvision's weights of mobilenet_v2 or squeezenet1_1, in whose features FD is measured;
    null: no FD."""
    classifier: str | None = None
    """A network's name or a weights file, for photos that have classes."""
    fid: Literal["none", "inception"] | str = "none"
    """inception (torch-fidelity downloads it) | a file with its weights | none."""
    best_decoding: bool = True
    """Also measure each network with classes at its own best decoding (`decoding.RULE`)."""
    decoding_photos: Count = 100
    """Validation photos on which that decoding is chosen, at most `photos`."""
    failures: bool = True
    """Measure the five failures on the test photos."""
    num_shown: Count = 12
    """Photos in the grid."""


class BenchmarkPlan(ConfigModel):
    """The whole plan."""

    recipes: Literal["all"] | tuple[str, ...] = "all"
    """Names of recipes; all: every recipe in the folder of the plan that starts from ImageNet's or
    random weights or from another recipe's run."""
    budget: BudgetConfig = BudgetConfig(minutes=5)
    """Of each recipe: equal samples or equal minutes of training steps."""
    gan_budget_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """The share of its budget that a GAN recipe trains against the discriminator. It starts from
    the state of its pretraining after the rest of the budget, so the total is equal."""
    num_validations: Count = 8
    """Of each recipe, evenly over its budget: the points of its learning curve."""
    num_val_photos: Count = 64
    """Of each of them."""
    split: SplitConfig = SplitConfig(train=0.6, val=0.2, test=0.2)
    max_photos: Count | None = None
    """Train on only this many photos."""
    seed: Annotated[int, Field(ge=0)] = 0
    defaults: dict[str, dict[str, Any]] = Field(default={})
    """Values that replace those of every recipe, by section."""
    overrides: dict[str, dict[str, Any]] = Field(default={})
    """The same for single recipes, by name; they take precedence over `defaults`."""
    pretrained: dict[str, str] = Field(default={})
    """Weights files of encoders and classifiers by name; the others are those that the recipe
    names, or downloaded."""
    checkpoints: tuple[str, ...] = ()
    """Release files, or their names on the Hugging Face Hub: measured beside the recipes, not
    trained."""
    evaluate: EvaluationPlan = EvaluationPlan()
    test_sets: dict[str, str] = Field(default={})
    """Photos beside the test split, on which no recipe is trained: name -> folder or .tar."""

    @model_validator(mode="after")
    def _check_sets_and_split(self) -> Self:
        for name in self.test_sets:
            if name == FIRST_SET or not re.fullmatch(r"[\w.-]*\w", name):
                raise ValueError(
                    f"test_sets: {name!r} is a folder of the report: give another name, of letters,"
                    f" digits, - and _, that is not {FIRST_SET}"
                )
        if min(self.split.train, self.split.val, self.split.test) <= 0:
            raise ValueError("a benchmark needs train, val and test photos: no share may be 0")
        return self


SMOKE: dict[str, Any] = {
    "budget": {"samples": 8, "minutes": None},
    "defaults": {
        "data": {"cache_size": 48, "crop": 32, "crop_scale": [0.6, 1.0]},
        "model": {"conv_encoder": {"width": 8}},
        "gan": {"discriminator_warmup_samples": 0, "base_channels": 8, "n_layers": 1},
        "optim": {"warmup_fraction": 0.0},
        "train": {"batch_size": 4, "log_every_samples": 4},
        "decode": {"input_size": 32},
    },
    "num_validations": 1,
    "evaluate": {"photos": 4, "crop": 48, "resamples": 20, "num_shown": 2},
}
"""Overrides of a smoke test: every recipe for seconds, on small images."""


@dataclass(frozen=True)
class RecipeRun:
    """A recipe with the plan's settings."""

    name: str
    config: Config
    parent: str | None = None
    """The recipe that it starts from, which gets 1 - `gan_budget_fraction` of the budget."""
    note: str = ""
    """Differences from the recipe as reported, such as another encoder."""
    substitute_encoder: str = ""
    """The encoder in place of the recipe's; it is part of the row's name. Empty: the recipe's."""
    unavailable: str = ""
    """Why it cannot be trained here; empty where it can."""


def load_plan(
    path: str | Path, *, overrides: Mapping[str, Any] | None = None, smoke: bool = False
) -> BenchmarkPlan:
    """Read a plan.

    Args:
        path: a file, or its name in `configs/`.
        overrides: values in place of the file's, by section.
        smoke: apply SMOKE before them.

    Raises:
        ConfigError: it cannot be read, or a key or value is wrong.
    """
    tree = configs.read_yaml(configs.find_recipe(path))
    for over in (SMOKE if smoke else {}, overrides or {}):
        tree = configs.deep_merge(tree, over)
    try:
        return BenchmarkPlan.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(
            f"{path}: {configs.format_validation_error(error, BenchmarkPlan)}"
        ) from None


def resolve_runs(
    plan: BenchmarkPlan, folder: Path, *, out: Path, roots: Sequence[str], log: Log
) -> list[RecipeRun]:
    """The recipes in the order of training: a pretraining before what starts from it.

    Args:
        plan: the plan.
        folder: of the recipes, where the plan lists `all`.
        out: the report's folder; runs are in `out/runs/NAME`.
        roots: of the training photos.
        log: called with a line per substitute for unavailable weights.

    Raises:
        ConfigError: a recipe is broken, or starts from one that is not listed.
        WeightsError: a weights file that the plan names cannot be loaded.
    """
    listed = _recipe_files(folder, log) if plan.recipes == "all" else list(plan.recipes)
    files = {recipe_name(name): configs.find_recipe(name) for name in listed}
    for name in plan.overrides.keys() - files.keys():
        configs.find_recipe(name)  # recipes that are not listed may have overrides
    _check_networks(plan.pretrained)
    resolved: dict[str, RecipeRun] = {}
    waiting = [_recipe_run(name, files[name], plan, out, roots) for name in sorted(files)]
    weights = _Weights(plan.pretrained)
    while waiting:
        ready = [e for e in waiting if e.parent is None or e.parent in resolved]
        if not ready:
            orphan = waiting[0]
            raise ConfigError(
                f"recipe {orphan.name} starts from {orphan.parent}, which is not listed: add it"
            )
        for run in ready:
            chosen = weights.choose(run)
            if chosen.note or chosen.unavailable:
                log(f"{chosen.name}: {chosen.unavailable or chosen.note}")
            resolved[chosen.name] = _with_parent_decode(chosen, resolved)
        waiting = [e for e in waiting if e.name not in resolved]
    return list(resolved.values())


def recipe_name(recipe: str | Path) -> str:
    """The name of a recipe's row: the stem of its file."""
    return Path(recipe).name.removesuffix(".yaml")


def _check_networks(names: Iterable[str]) -> None:
    """Refuse a misspelt network: its weights would be unused, and others downloaded instead."""
    for name in names:
        if name not in NAMES and not name.startswith("timm/"):
            (nearest,) = difflib.get_close_matches(name, NAMES, 1, 0.0)
            raise ConfigError(f"pretrained: no network {name}; did you mean {nearest}?")


def _recipe_files(folder: Path, log: Log) -> list[str]:
    """Every recipe of a folder: a YAML file that is not a plan.

    Recipes that continue the training of finished weights are left out and logged: they would have
    an advantage.
    """
    paths = [p for p in sorted(folder.glob("*.yaml")) if "recipes" not in configs.read_yaml(p)]
    if not paths:
        raise ConfigError(f"{folder} holds no recipes")
    recipes = []
    for path in paths:
        start = configs.load(path).init_from
        if start is None or PurePosixPath(start).name == _RELEASE:
            recipes.append(str(path))
        else:
            log(f"{path.stem}: left out, since it starts from {start}")
    return recipes


def _recipe_run(
    name: str, file: Path, plan: BenchmarkPlan, out: Path, roots: Sequence[str]
) -> RecipeRun:
    over = configs.deep_merge(plan.defaults, plan.overrides.get(name, {}))
    config = configs.load(file, over=over)
    parent = _parent(name, config.init_from)
    share = plan.gan_budget_fraction if parent else 1.0
    samples, minutes = plan.budget.samples, plan.budget.minutes
    changes: dict[str, Any] = {
        "data": {
            "roots": list(roots),
            "split": plan.split.model_dump(),
            "max_photos": plan.max_photos,
        },
        "budget": {
            "samples": max(1, round(samples * share)) if samples else None,
            "minutes": minutes * share if minutes else None,
        },
        "train": {
            "seed": plan.seed,
            "num_validations": max(1, round(plan.num_validations * share)),
            "num_val_photos": plan.num_val_photos,
            "fd_backbone": plan.evaluate.fd_backbone,
        },
        "init_from": str(out / "runs" / parent / PRE_GAN) if parent else None,
        "output": str(out / "runs" / name),
    }
    tree = configs.deep_merge(config.model_dump(mode="json"), changes)
    return RecipeRun(name, configs.from_dict(tree, source=name), parent)


def _parent(name: str, start: str | None) -> str | None:
    """The recipe whose run a recipe starts from."""
    if start is None:
        return None
    path = PurePosixPath(start)
    if path.name != _RELEASE or not path.parent.name:
        raise ConfigError(
            f"recipe {name} starts from {start}: in a benchmark it can start only from the run of"
            " another recipe, whose training counts (init_from: runs/RECIPE/release.safetensors)"
        )
    return path.parent.name


def _with_parent_decode(run: RecipeRun, resolved: Mapping[str, RecipeRun]) -> RecipeRun:
    """With the decoding of its pretraining, so that the two rows differ only by their training."""
    if run.parent is None:
        return run
    decode = resolved[run.parent].config.decode
    return replace(run, config=run.config.model_copy(update={"decode": decode}))


PRE_GAN = "before_gan.safetensors"
"""File in the run folder of a pretraining: the weights that its GAN recipe starts from."""


class _Weights:
    """Finds pretrained weights, each once."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._sources: dict[tuple[str, str, bool], str | WeightsError] = {}

    def choose(self, run: RecipeRun) -> RecipeRun:
        """The run with weights that can be loaded, or with the reason why it cannot be trained."""
        model = run.config.model
        if model.encoder == "fusion":
            return self._choose_classifier(run)
        if model.pretrained == "none":
            return run
        source = self._source(model.encoder, model.pretrained)
        if isinstance(source, str):
            return _with_model(run, pretrained=source)
        fallback = self._source(_FALLBACK, "imagenet")
        if model.encoder != _FALLBACK and isinstance(fallback, str):
            note = f"{_FALLBACK} in place of {model.encoder}, whose weights are not available"
            run = _with_model(run, encoder=_FALLBACK, pretrained=fallback)
            return replace(run, note=note, substitute_encoder=_FALLBACK)
        pretrained_encoder(_FALLBACK, "default")
        note = (
            f"the packaged weights' {_FALLBACK} in place of ImageNet's {model.encoder}: it was"
            " trained on colors already, which is an advantage"
        )
        run = _with_model(run, encoder=_FALLBACK, pretrained="default")
        substitute = _FALLBACK if model.encoder != _FALLBACK else ""
        return replace(run, note=note, substitute_encoder=substitute)

    def _choose_classifier(self, run: RecipeRun) -> RecipeRun:
        model = run.config.model
        source = self._source(model.fusion.classifier, model.pretrained, classifier=True)
        if isinstance(source, str):
            return _with_model(run, pretrained=source)
        return replace(run, unavailable=f"needs the weights of a whole classifier: {source}")

    def _source(
        self, name: str, pretrained: str, *, classifier: bool = False
    ) -> str | WeightsError:
        """The plan's file, or the recipe's, or `imagenet` where it can be downloaded."""
        recipe_source = pretrained if pretrained not in _NO_FILES else "imagenet"
        source = self._files.get(name, recipe_source)
        key = (name, source, classifier)
        if key not in self._sources:
            try:
                (pretrained_classifier if classifier else pretrained_encoder)(name, source)
                self._sources[key] = source
            except WeightsError as error:
                if source != "imagenet":
                    raise
                self._sources[key] = error
        return self._sources[key]


def _with_model(run: RecipeRun, **updates: Any) -> RecipeRun:
    model = run.config.model.model_copy(update=updates)
    return replace(run, config=run.config.model_copy(update={"model": model}))
