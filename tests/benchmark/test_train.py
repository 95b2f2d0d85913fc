"""Training all recipes: shares, stops and going on, divergence, what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pix2color.benchmark import code, measure, train
from pix2color.benchmark.plan import PRE_GAN, RecipeRun
from pix2color.benchmark.run import Benchmark
from pix2color.benchmark.train import Outcome
from pix2color.checkpoints import release_file
from pix2color.data.dataset import PhotoSet
from pix2color.errors import ConfigError, DataError, TrainingError, WeightsError
from pix2color.evaluation.metric_models import MetricModels
from pix2color.training.events import TrainEvent

Make = Callable[..., Any]
PAIR = ("strided", "strided_gan")
BROKEN: dict[str, Any] = {"optim": {"encoder_lr": 1e30, "decoder_lr": 1e30}}


class Watch:
    """Counts steps; asks to stop after some of them."""

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.steps: list[str] = []

    def observe(self, entry: RecipeRun, status: TrainEvent) -> None:
        if status.kind == "step":
            self.steps.append(entry.name)

    def stopped(self) -> bool:
        return self.after is not None and len(self.steps) >= self.after


@pytest.fixture(scope="module")
def go(training_photos: tuple[PhotoSet, PhotoSet]) -> Make:
    """Trains entries, as the benchmark does; outcomes by name."""

    def run(entries: list[RecipeRun], out: Path, watch: Watch | None = None) -> dict[str, Outcome]:
        watch = watch or Watch()
        outcomes = train.train_all(
            entries,
            training_photos,
            out,
            gan_budget_fraction=0.5,
            log=lambda line: None,
            observer=watch.observe,
            stopped=watch.stopped,
        )
        return {outcome.name: outcome for outcome in outcomes}

    return run


@pytest.fixture(scope="module")
def whole(
    go: Make, make_plan: Make, make_entries: Make, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, Outcome], Watch]]:
    """The pair of recipes trained without a stop: folder, outcomes, steps. Do not write there."""
    out, watch = tmp_path_factory.mktemp("whole"), Watch()
    yield out, go(make_entries(make_plan(*PAIR), out), out, watch), watch


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return release_file.read(path).tensors


def equal(one: Path, other: Path) -> bool:
    first, second = tensors(one), tensors(other)
    return first.keys() == second.keys() and all(
        torch.equal(v, second[k]) for k, v in first.items()
    )


# Shares


def test_the_stages_together_get_the_budget(
    whole: tuple[Path, dict[str, Outcome], Watch],
) -> None:
    out, outcomes, watch = whole
    first, second = outcomes["strided"], outcomes["strided_gan"]
    assert [one.status for one in outcomes.values()] == ["done", "done"]
    assert watch.steps == ["strided"] * 4 + ["strided_gan"] * 2
    assert first.samples == second.samples == 16
    assert (first.parent_samples, second.parent_samples) == (0, 8)
    assert second.parent == "strided"
    assert second.seconds > second.parent_seconds > 0
    assert first.seconds > second.parent_seconds
    assert first.rate > 0 and first.trainable > 0 and first.frozen == 0
    assert second.pretraining_checkpoint(out) == out / "runs" / "strided" / PRE_GAN
    assert first.pretraining_checkpoint(out) is None


def test_the_pretraining_leaves_its_weights_on_its_way(
    whole: tuple[Path, dict[str, Outcome], Watch],
) -> None:
    out, outcomes, _ = whole
    before = out / "runs" / "strided" / PRE_GAN
    assert release_file.read(before).meta["data"]["samples"] == 8
    ends = [outcome.release(out) for outcome in outcomes.values()]
    assert not equal(before, ends[0]) and not equal(before, ends[1])
    # What the GAN recipe was given is what it began with: its steps are small beside the rest.
    start, end, unlike = (tensors(path) for path in (before, ends[1], ends[0]))
    key = next(k for k in start if k.endswith("weight"))
    assert (start[key] - end[key]).norm() < (start[key] - unlike[key]).norm()


def test_leaving_them_changes_nothing(
    whole: tuple[Path, dict[str, Outcome], Watch],
    go: Make,
    make_plan: Make,
    make_entries: Make,
    tmp_path: Path,
) -> None:
    go(make_entries(make_plan("strided"), tmp_path), tmp_path)
    assert not (tmp_path / "runs" / "strided" / PRE_GAN).exists()
    its = Path("runs") / "strided" / "strided.safetensors"
    assert equal(whole[0] / its, tmp_path / its)


# Stopping and going on


def test_what_is_finished_is_not_trained_again(
    whole: tuple[Path, dict[str, Outcome], Watch], go: Make, make_plan: Make, make_entries: Make
) -> None:
    out, outcomes, _ = whole

    def stamps() -> dict[Path, tuple[int, bytes]]:
        files = [path for path in out.rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before, watch = stamps(), Watch()
    entries = make_entries(make_plan(*PAIR), out)
    train.check(entries, out)
    assert go(entries, out, watch) == outcomes
    assert watch.steps == []
    assert stamps() == before
    assert not list(out.rglob("state"))  # only going on needs it


def test_stopped_at_any_step_it_goes_on_to_the_same_weights(
    whole: tuple[Path, dict[str, Outcome], Watch],
    go: Make,
    make_plan: Make,
    make_entries: Make,
    tmp_path: Path,
) -> None:
    """A stop at the very step at which weights are left for the GAN recipe is one of them."""
    entries = make_entries(make_plan(*PAIR), tmp_path)
    stops = steps = 0
    outcomes: dict[str, Outcome] = {}
    while not outcomes and stops < 9:
        watch = Watch(after=1)
        try:
            outcomes = go(entries, tmp_path, watch)
        except KeyboardInterrupt:
            stops += 1
        steps += len(watch.steps)
    assert (stops, steps) == (5, 6)  # nothing is left to do after the last step
    assert [one.samples for one in outcomes.values()] == [16, 16]
    assert outcomes["strided_gan"].parent_samples == 8
    for name in (f"strided/{PRE_GAN}", "strided/strided.safetensors",
                 "strided_gan/strided_gan.safetensors"):  # fmt: skip
        assert equal(whole[0] / "runs" / name, tmp_path / "runs" / name), name


def test_a_kill_before_the_first_state_costs_nothing_else(
    whole: tuple[Path, dict[str, Outcome], Watch],
    go: Make,
    make_plan: Make,
    make_entries: Make,
    tmp_path: Path,
) -> None:
    entries = make_entries(make_plan("strided"), tmp_path)

    def killed(entry: RecipeRun, status: TrainEvent) -> None:
        raise SystemExit

    watch = Watch()
    watch.observe = killed  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        go(entries, tmp_path, watch)
    assert (tmp_path / "runs" / "strided" / "config.yaml").is_file()
    train.check(entries, tmp_path)
    assert go(entries, tmp_path)["strided"].status == "done"
    its = Path("runs") / "strided" / "strided.safetensors"
    assert equal(whole[0] / its, tmp_path / its)


def test_a_saved_state_that_cannot_be_read_is_no_divergence(
    go: Make, make_plan: Make, make_entries: Make, tmp_path: Path
) -> None:
    """It is said, and nothing is thrown away: the person decides."""
    entries = make_entries(make_plan("strided"), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        go(entries, tmp_path, Watch(after=1))
    folder = tmp_path / "runs" / "strided" / "state"
    (file,) = folder.glob("samples-*/model.safetensors")
    file.write_bytes(b"not a state")
    with pytest.raises(TrainingError, match="samples-"):
        go(entries, tmp_path)
    assert file.is_file()
    assert not (tmp_path / "runs" / "strided" / train.OUTCOME).exists()


# Recipes that cannot be


@pytest.mark.parametrize("skipped", [1, 20])
def test_a_recipe_that_diverges_is_an_outcome_and_the_others_go_on(
    skipped: int, go: Make, make_plan: Make, make_entries: Make, tmp_path: Path
) -> None:
    """Also where the budget ends before so many steps are skipped that training stops."""
    own = tmp_path / "other.yaml"
    own.write_text("extends: strided.yaml\n", encoding="utf-8")
    overrides = {"strided": BROKEN | {"train": {"max_consecutive_nonfinite_steps": skipped}}}
    plan = make_plan(*PAIR, str(own), overrides=overrides)
    plan = plan.model_copy(update={"recipes": (*PAIR, str(own))})
    out = tmp_path / "out"
    outcomes = go(make_entries(plan, out), out)
    assert [(name, one.status) for name, one in outcomes.items()] == [
        ("other", "done"),
        ("strided", "diverged"),
        ("strided_gan", "not run"),
    ]
    assert "finite" in outcomes["strided"].reason
    assert "\n" not in outcomes["strided"].reason
    assert "strided: diverged" in outcomes["strided_gan"].reason
    rows = measure.network_methods(list(outcomes.values()), out, device=torch.device("cpu"))
    assert [row.name for row in rows] == ["other"]
    watch = Watch()
    assert go(make_entries(plan, out), out, watch) == outcomes
    assert watch.steps == []


def test_what_is_missing_is_looked_for_again(
    go: Make, make_plan: Make, make_entries: Make, mobilenet_file: Path, tmp_path: Path
) -> None:
    outcomes = go(make_entries(make_plan("fusion"), tmp_path), tmp_path)
    assert outcomes["fusion"].status == "not run"
    assert "weights of a whole classifier" in outcomes["fusion"].reason
    assert not (tmp_path / "runs" / "fusion").exists()
    (entry,) = make_entries(
        make_plan("fusion", pretrained={"mobilenet_v2": str(mobilenet_file)}), tmp_path
    )
    assert entry.unavailable == ""


# Refused before any training


@pytest.fixture
def make(crowd: Path, tmp_path: Path) -> Callable[..., Benchmark]:
    """Makes a benchmark of a plan; it must not train."""

    def made(plan: Any, *, root: Path = crowd, out: Path = tmp_path, **options: Any) -> Benchmark:
        roots, log = [str(root)], options.pop("log", lambda line: None)
        return Benchmark(plan, Path(), roots=roots, out=out, device="cpu", log=log, **options)

    return made


def test_a_run_of_other_settings_is_left_alone(
    whole: tuple[Path, dict[str, Outcome], Watch], make_plan: Make, make: Make
) -> None:
    out = whole[0]
    make(make_plan(*PAIR), out=out)
    for change in (
        {"budget": {"samples": 20}},
        {"seed": 1},
        {"defaults": {"train": {"batch_size": 2}}},
    ):
        with pytest.raises(ConfigError, match=r"strided(_gan)? holds a run of other settings"):
            make(make_plan(*PAIR, **change), out=out)


def test_rows_of_other_code_are_not_mixed_with_new_ones(
    whole: tuple[Path, dict[str, Outcome], Watch], make_plan: Make, make: Make, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Finished rows of one code are one table, whatever code reports them."""
    out = tmp_path / "out"
    shutil.copytree(whole[0], out)
    for file in (out / "runs").rglob("config.yaml"):
        file.write_text(file.read_text().replace(str(whole[0]), str(out)))
    before = code.training_code()
    assert {one.code for one in whole[1].values()} == {before}
    monkeypatch.setattr(code, "training_code", lambda: "later")
    make(make_plan(*PAIR), out=out)
    with pytest.raises(ConfigError, match=rf"strided, strided_gan: {before}; .*: later \(this"):
        make(make_plan(*PAIR, "zhang_cnn_w16"), out=out)
    (out / "runs" / "strided" / train.OUTCOME).unlink()
    (out / "runs" / "strided" / "state").mkdir()
    with pytest.raises(ConfigError, match=rf"{before}; strided: later"):
        make(make_plan(*PAIR), out=out)


def test_the_code_of_a_training_is_that_of_its_sources() -> None:
    assert code.training_code() != code.measuring_code()


def test_recipes_of_different_precision_are_refused(
    make_plan: Make, make: Make, tmp_path: Path
) -> None:
    own = tmp_path / "other.yaml"
    own.write_text("extends: strided.yaml\ntrain: {mixed_precision: bf16}\n", encoding="utf-8")
    plan = make_plan("strided").model_copy(update={"recipes": ("strided", str(own))})
    with pytest.raises(ConfigError, match=r"mixed_precision: bf16 \(other\), no \(strided\)"):
        make(plan)


def test_runs_of_other_photos_are_left_alone(
    crowd: Path, go: Make, make_plan: Make, make: Make, tmp_path: Path
) -> None:
    """Recipes are compared on the same photos, though their folder may have got more."""
    photos = shutil.copytree(crowd, tmp_path / "photos")
    plan, out = make_plan("strided", budget={"samples": 4}), tmp_path / "out"
    benchmark = make(plan, root=photos, out=out)
    benchmark.train(lambda entry, status: None, lambda: False)
    make(plan, root=photos, out=out)
    for path in sorted(photos.iterdir())[::2]:
        path.unlink()
    with pytest.raises(ConfigError, match="trained on other photos"):
        make(plan, root=photos, out=out, smoke=True)


def test_too_few_photos_for_a_split_are_said_at_once(
    crowd: Path, make_plan: Make, make: Make, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(crowd.iterdir())[:12]:
        shutil.copy(path, few)
    with pytest.raises(DataError, match="12 photos are too few for a split"):
        make(make_plan("strided"), root=few)
    assert make(make_plan("strided"), root=few, smoke=True).training.unsplit
    # Enough to be split, but none falls into the third part.
    thin = make_plan("strided", split={"train": 0.5, "val": 0.4999, "test": 0.0001})
    with pytest.raises(DataError, match="30 photos are too few for a split"):
        make(thin)
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier that is never asked."""

    def found(**options: Any) -> MetricModels:
        known: Any = object() if options["classifier"] else None
        return MetricModels(None, None, known, {}, {})

    monkeypatch.setattr(measure, "find_metric_models", found)


@pytest.fixture
def folders(small_photos: list[np.ndarray], tmp_path: Path) -> Path:
    """Two photos of a class, one of a folder that is none."""
    for name, photo in (("goldfish/a", 0), ("n01443537_b", 1), ("my cat/c", 2)):
        path = tmp_path / "labelled" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small_photos[photo]).save(path)
    return tmp_path / "labelled"


def test_unknown_classes_are_said_at_once(
    reader: None, folders: Path, make_plan: Make, make: Make
) -> None:
    def plan(classifier: str | None) -> Any:
        test_sets = {"labelled": str(folders)}
        return make_plan("strided", test_sets=test_sets, evaluate={"classifier": classifier})

    with pytest.raises(DataError, match=r"labelled: 1 of 3 photos have no class.*my cat/c\.png"):
        make(plan("mobilenet_v2"))
    assert [one.labels for one in make(plan(None)).sets] == [None, None]
    shutil.rmtree(folders / "my cat")
    assert [one.labels for one in make(plan("mobilenet_v2")).sets] == [None, [1, 1]]
    shutil.rmtree(folders / "goldfish")
    (folders / "n01443537_b.png").rename(folders / "b.png")
    with pytest.raises(DataError, match="no photo of test or labelled has a class"):
        make(plan("mobilenet_v2"))


def test_weights_that_measure_are_looked_for_at_once(
    make_plan: Make, make: Make, tmp_path: Path
) -> None:
    said: list[str] = []
    make(make_plan("strided"), log=said.append)
    assert any(line.startswith("no lpips: ") for line in said)
    (tmp_path / "foreign.pth").write_bytes(b"no weights")
    for key in ("lpips_backbone", "classifier"):
        plan = make_plan("strided", evaluate={key: str(tmp_path / "foreign.pth")})
        with pytest.raises(WeightsError, match="foreign"):
            make(plan)
