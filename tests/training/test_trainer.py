"""The loop: what changes, what stays, what resuming keeps, and when it stops."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from fake_model import write_calibrated
from torch import Tensor

from pix2color import build
from pix2color.checkpoints import checkpoint
from pix2color.config import Config, load
from pix2color.data.loader import Batch
from pix2color.errors import ConfigError, TrainingError, WeightsError
from pix2color.runtime.load import load_runtime
from pix2color.training import steps
from pix2color.training.export import export_run
from pix2color.training.setup import make_accelerator, make_trainer, resolve_init_from
from pix2color.training.task import Update
from pix2color.training.trainer import Trainer

BATCH = 4
MakeConfig = Callable[..., Config]


@pytest.fixture
def make_config(tiny: MakeConfig) -> MakeConfig:
    """The tiny recipe for so many steps; `run` names its folder, the rest are overrides."""

    def make(run: str, *overrides: str, steps: int = 4) -> Config:
        return tiny(run, f"budget.samples={BATCH * steps}", *overrides)

    return make


FUSED = {"fused": True}
GAN = (
    "gan.enabled=true",
    "gan.base_channels=8",
    "gan.n_layers=1",
    "gan.discriminator_warmup_samples=0",
)


def state(network: torch.nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_a_run_leaves_its_folder_behind(make_config: MakeConfig) -> None:
    pictures = ("train.num_sample_photos=1", "train.plot_curves=true")
    config = make_config("run", "train.log_every_samples=4", *pictures)
    told: list[str] = []
    trainer = make_trainer(config, observer=lambda status: told.append(status.kind))
    summary = trainer.fit()
    folder = Path(config.output)
    assert summary.finished
    assert summary.samples == 16
    assert {"step", "log", "validation"} == set(told)
    assert load(folder / "config.yaml") == trainer.config
    assert (
        trainer.config.train.mixed_precision,
        trainer.config.train.gradient_accumulation_steps,
    ) == ("no", 1)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if line["kind"] == "train"]
    assert [line["samples"] for line in logged] == [4, 8, 12, 16]
    assert {"cross_entropy", "loss", "samples_per_second", "waiting_share"} <= logged[0].keys()
    assert (folder / "curves.png").stat().st_size > 0
    assert [p.name for p in sorted((folder / "samples").iterdir())] == [
        "000000000.png",
        "000000016.png",
    ]
    released = checkpoint.load(folder / "release.safetensors")
    assert released.meta["data"]["photos"] == 4
    assert "split" not in released.meta["data"]  # so few photos are not split
    assert released.meta["config_digest"] == trainer.config.digest()


MOBILENET = "model.encoder=mobilenet_v2"
KINDS = {
    "pretraining": ("model.hints=true", MOBILENET),
    "distilled": ("teacher.checkpoint=default", "teacher.mirror=true", "loss.distillation=1"),
    "gan": (*GAN, "gan.discriminator_warmup_samples=4"),
    "penalized": (*GAN, "gan.r1_gamma=1", "gan.r1_every=2"),
    "projected": (*GAN, "gan.discriminator=projected", "gan.r1_gamma=0.01", "gan.r1_every=3"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_resuming_equals_not_stopping(
    make_config: MakeConfig, kind: str, imagenet_file: Path
) -> None:
    options = ("model.dropout=0.2", "optim.schedule=cosine", *KINDS[kind])
    if kind == "projected":
        options += (MOBILENET, f"model.pretrained={imagenet_file}")
    whole = make_trainer(make_config("whole", *options))
    whole.fit()

    config = make_config("halves", *options)
    first = make_trainer(config)
    first.observer = lambda status: setattr(first, "stop", status.samples >= 2 * BATCH)
    assert not first.fit().finished
    second = make_trainer(config, resume=True)
    assert second.progress.samples == 2 * BATCH
    summary = second.fit()

    assert summary.finished
    assert same(state(whole.unwrapped_generator), state(second.unwrapped_generator))
    assert same(state(whole.ema), state(second.ema))
    if whole.discriminator is not None and second.discriminator is not None:
        assert same(state(whole.discriminator), state(second.discriminator))
    logs = [Path(t.config.output, "metrics.jsonl").read_text() for t in (whole, second)]
    assert [json.loads(line)["samples"] for line in logs[0].splitlines()] == [
        json.loads(line)["samples"] for line in logs[1].splitlines()
    ]


@pytest.mark.parametrize("kind", ["patch", "projected"])
def test_a_gan_run_changes_both_networks(
    make_config: MakeConfig, kind: str, imagenet_file: Path
) -> None:
    options = (f"gan.discriminator={kind}", MOBILENET, f"model.pretrained={imagenet_file}")
    trainer = make_trainer(make_config("gan", *GAN, *options, steps=4))
    generator, discriminator = state(trainer.unwrapped_generator), state(trainer.discriminator)  # type: ignore[arg-type]
    assert trainer.fit().finished
    changed = [
        k
        for k, v in trainer.unwrapped_generator.named_parameters()
        if not torch.equal(v, generator[k])
    ]
    assert changed == [k for k, _ in trainer.unwrapped_generator.named_parameters()]
    assert not same(discriminator, state(trainer.discriminator))  # type: ignore[arg-type]


def test_a_gan_run_logs_what_tells_whether_it_trains(make_config: MakeConfig) -> None:
    options = (*GAN, "gan.discriminator_warmup_samples=4", "gan.r1_gamma=1", "gan.r1_every=2")
    trainer = make_trainer(make_config("log", *options, "train.log_every_samples=4", steps=3))
    trainer.fit()
    first, second, third = logged(trainer)
    always = {"discriminator", "logit_real", "logit_fake", "discriminator_accuracy"}
    learning = {"adversarial", "gradient_adversarial", "gradient_reconstruction"}
    assert always | {"r1"} <= first.keys() and not learning & first.keys()
    assert always | learning <= second.keys() and "r1" not in second
    assert always | learning | {"r1"} <= third.keys()
    assert 0 <= third["discriminator_accuracy"] <= 1
    assert third["gradient_adversarial"] > 0 and third["gradient_reconstruction"] > 0


def logged(trainer: Trainer) -> list[dict[str, float]]:
    """The lines of a run's log that are of its training."""
    text = Path(trainer.config.output, "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if line["kind"] == "train"]


def test_the_logged_gradients_are_those_of_the_losses_alone(make_config: MakeConfig) -> None:
    """Three times the adversarial weight: three times its gradient, and no change of the other."""
    norms = []
    for weight in (1, 3):
        options = (*GAN, f"gan.weight={weight}", "train.log_every_samples=4")
        trainer = make_trainer(make_config(f"weight{weight}", *options, steps=1))
        trainer.fit()
        norms.append(logged(trainer)[0])
    one, three = norms
    assert three["gradient_adversarial"] == pytest.approx(3 * one["gradient_adversarial"], rel=1e-4)
    assert three["gradient_reconstruction"] == pytest.approx(
        one["gradient_reconstruction"], rel=1e-4
    )


def test_no_step_of_a_gan_keeps_its_memory(make_config: MakeConfig) -> None:
    """The losses of each step, and with them all that their graph holds, are freed."""
    trainer = make_trainer(make_config("memory", *GAN, "train.log_every_samples=4", steps=4))
    updates, found = trainer.task.updates, []

    def recorded(*arguments: Any, **options: Any) -> Iterator[Update]:
        for update in updates(*arguments, **options):
            found.append(weakref.ref(update.loss))
            yield update

    trainer.task.updates = recorded  # type: ignore[method-assign]
    trainer.fit()
    gc.collect()
    assert len(found) == 8
    assert all(loss() is None for loss in found)


def test_the_penalty_is_taken_in_float32_in_mixed_precision_too(
    make_config: MakeConfig, another_precision: None
) -> None:
    found = []
    for precision in ("no", "bf16"):
        AcceleratorState._reset_state(reset_partial_state=True)
        # Spectral norm would follow the pass before, which is in mixed precision.
        options = (*GAN, "gan.r1_gamma=1", "gan.norm=instance", "train.log_every_samples=4")
        config = make_config(precision, *options, f"train.mixed_precision={precision}", steps=1)
        trainer = make_trainer(config)
        trainer.fit()
        found.append(logged(trainer)[0])
    plain, mixed = found
    assert mixed["discriminator"] != plain["discriminator"]
    assert mixed["r1"] == pytest.approx(plain["r1"], rel=1e-5)


def test_a_penalty_flattens_the_discriminator_on_true_photos(make_config: MakeConfig) -> None:
    last = []
    for gamma in (0.0001, 100):
        options = (*GAN, "gan.norm=instance", "gan.discriminator_warmup_samples=1000")
        options += (f"gan.r1_gamma={gamma}", "gan.r1_every=1", "train.log_every_samples=4")
        trainer = make_trainer(make_config(f"gamma{gamma}", *options, steps=25))
        trainer.fit()
        last.append(logged(trainer)[-1]["r1"])
    assert last[1] < 0.5 * last[0]


def test_the_discriminator_sees_what_the_generator_shows(make_config: MakeConfig) -> None:
    decode = "decode={temperature: 0.4, vividness: 0.5, saturation: 1.2, input_size: 32}"
    trainer = make_trainer(make_config("shown", *GAN, decode))
    batch = trainer.batches.get(0, 2)
    network = trainer.unwrapped_generator.eval()
    with torch.no_grad():
        raw = network(batch.input_lightness)
        shown = steps.fake_lab(raw, batch, head=network.head, decode=trainer.config.shown_decode())
    trainer.batches.close()
    torch.testing.assert_close(
        shown[:, 1:], network.decode_raw(raw, (32, 32), trainer.config.decode)
    )
    assert torch.equal(shown[:, :1], batch.target_lab[:, :1])


def test_while_the_critic_warms_up_the_generator_stays(make_config: MakeConfig) -> None:
    trainer = make_trainer(
        make_config("critic", *GAN, "gan.discriminator_warmup_samples=8", steps=2)
    )
    before = dict(trainer.unwrapped_generator.named_parameters())
    before = {k: v.detach().clone() for k, v in before.items()}
    averaged = state(trainer.ema)
    trainer.fit()
    assert all(torch.equal(v, before[k]) for k, v in trainer.unwrapped_generator.named_parameters())
    assert same(averaged, state(trainer.ema))


def test_adversarial_weight_0_trains_as_without_a_discriminator(make_config: MakeConfig) -> None:
    betas = "optim.gan_betas=[0.9, 0.99]"
    plain = make_trainer(make_config("plain", betas))
    plain.fit()
    gan = make_trainer(make_config("zero", *GAN, "gan.weight=0", betas))
    gan.fit()
    assert same(state(plain.unwrapped_generator), state(gan.unwrapped_generator))


def test_frozen_parts_stay_as_they_were(make_config: MakeConfig, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    first = make_trainer(make_config("first", steps=1))
    first.fit()
    checkpoint.save(start, first.unwrapped_generator, config=first.config)
    options = ("model.freeze=all", f"init_from={start}")
    trainer = make_trainer(make_config("frozen", *options))
    before = state(trainer.unwrapped_generator.encoder)
    trainer.fit()
    assert same(before, state(trainer.unwrapped_generator.encoder))


def test_accumulated_batches_equal_one_large_batch(make_config: MakeConfig) -> None:
    frozen = "model.freeze_batchnorm=true"
    large = make_trainer(make_config("large", frozen, "train.batch_size=8"))
    large.fit()
    small = make_trainer(make_config("small", frozen, "train.gradient_accumulation_steps=2"))
    small.fit()
    assert small.samples_per_step == large.samples_per_step == 8
    for name, value in large.unwrapped_generator.named_parameters():
        torch.testing.assert_close(
            dict(small.unwrapped_generator.named_parameters())[name], value, rtol=0, atol=2e-4
        )


def test_a_loss_scale_changes_no_gradient_of_accumulated_gan_steps(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As fp16 has it, here without fp16: powers of two scale and unscale to the same bits."""
    options = (*GAN, "train.gradient_accumulation_steps=2", "gan.r1_gamma=1")
    plain = make_trainer(make_config("unscaled", *options))
    plain.fit()
    config = make_config("scaled", *options)
    accelerator = make_accelerator(config)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaled = make_trainer(config, accelerator=accelerator)
    accelerator.native_amp = True
    monkeypatch.setitem(accelerator.state.__dict__, "_mixed_precision", "fp16")
    scaled.fit()
    assert accelerator.scaler.get_scale() == 2.0**10
    assert same(state(plain.unwrapped_generator), state(scaled.unwrapped_generator))
    assert same(state(plain.discriminator), state(scaled.discriminator))  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of NVIDIA's kind")
def test_a_gan_trains_in_fp16_as_in_float32(
    make_config: MakeConfig, another_precision: None
) -> None:
    options = (*GAN, "train.gradient_accumulation_steps=2", "model.freeze_batchnorm=true")
    moved = []
    for precision in ("fp16", "no"):
        AcceleratorState._reset_state(reset_partial_state=True)
        config = make_config(precision, *options, f"train.mixed_precision={precision}", steps=20)
        trainer = make_trainer(config)
        start = state(trainer.unwrapped_generator)
        trainer.fit()
        ends = trainer.unwrapped_generator.named_parameters()
        moved.append(torch.cat([(value - start[name]).flatten() for name, value in ends]))
    likeness = torch.nn.functional.cosine_similarity(moved[0], moved[1], dim=0)
    assert float(likeness) > 0.8


def test_accelerates_precision_and_accumulation_are_used_and_recorded(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, another_precision: None
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "2")
    config = make_config("bf16", *GAN, "model.freeze_batchnorm=true", steps=4)
    trainer = make_trainer(config)
    seen: list[torch.dtype] = []
    trainer.unwrapped_generator.head.register_forward_hook(
        lambda module, given, raw: seen.append(raw.dtype)
    )
    before = state(trainer.unwrapped_generator)
    assert trainer.fit().finished
    assert trainer.progress.steps == 2  # of two batches each
    assert torch.bfloat16 in seen
    written = load(Path(config.output, "config.yaml")).train
    assert (written.mixed_precision, written.gradient_accumulation_steps) == ("bf16", 2)
    assert not same(before, state(trainer.unwrapped_generator))
    assert all(p.isfinite().all() for p in trainer.unwrapped_generator.parameters())


@pytest.mark.parametrize(
    ("variable", "value", "override"),
    [
        ("ACCELERATE_MIXED_PRECISION", "bf16", "train.mixed_precision=no"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", "train.gradient_accumulation_steps=2"),
    ],
)
def test_a_recipe_that_contradicts_accelerate_launch_is_refused(
    make_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    override: str,
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=rf"{override.split('=')[0]}.*{value}.*make them agree"):
        make_accelerator(make_config("contradiction", override))


def test_a_precision_and_an_accumulation_of_the_recipe_alone_are_used(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, another_precision: None
) -> None:
    """`accelerate launch` without options names these two."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    options = ("train.mixed_precision=bf16", "train.gradient_accumulation_steps=2")
    accelerator = make_accelerator(make_config("recipe", *options))
    assert (accelerator.mixed_precision, accelerator.gradient_accumulation_steps) == ("bf16", 2)


class _Poisoned:
    """Batches of which some hold a NaN."""

    def __init__(self, trainer: Trainer, bad: Callable[[int], bool]) -> None:
        self.inner = trainer.batches
        self.bad = bad
        self.wait_seconds = 0.0

    def get(self, first: int, size: int) -> Batch:
        batch = self.inner.get(first, size)
        if self.bad(first):
            batch.input_lightness.fill_(float("nan"))
        return batch

    def close(self) -> None:
        self.inner.close()


def test_a_step_with_a_non_finite_gradient_is_left_out_and_counted(make_config: MakeConfig) -> None:
    trainer = make_trainer(make_config("nan", "model.freeze_batchnorm=true"))
    trainer.batches = _Poisoned(trainer, lambda first: first == BATCH)
    summary = trainer.fit()
    assert summary.skipped == 1
    assert all(p.isfinite().all() for p in trainer.unwrapped_generator.parameters())


def test_a_training_that_ends_or_fails_leaves_no_thread_behind(make_config: MakeConfig) -> None:
    done = make_trainer(make_config("done", steps=1))
    done.fit()
    failed = make_trainer(make_config("failed", "train.max_consecutive_nonfinite_steps=1"))
    failed.batches = _Poisoned(failed, lambda first: True)
    with pytest.raises(TrainingError):
        failed.fit()
    assert not [t.name for t in threading.enumerate() if t.name.startswith("batches")]
    assert done.progress.steps and failed.progress.steps  # both are still there


def test_too_many_of_them_stop_the_run_with_advice(make_config: MakeConfig) -> None:
    trainer = make_trainer(make_config("nans", "train.max_consecutive_nonfinite_steps=1"))
    trainer.batches = _Poisoned(trainer, lambda first: True)
    with pytest.raises(TrainingError, match="lower optim"):
        trainer.fit()


def test_minutes_end_a_run_as_samples_do(make_config: MakeConfig) -> None:
    options = ("budget.minutes=0.005", "budget.samples=null")
    summary = make_trainer(make_config("minutes", *options)).fit()
    assert summary.finished
    assert summary.seconds >= 0.3


def test_a_run_is_not_written_over_and_only_a_run_is_resumed(make_config: MakeConfig) -> None:
    config = make_config("once", steps=1)
    with pytest.raises(TrainingError, match="no run to resume"):
        make_trainer(config, resume=True)
    make_trainer(config).fit()
    with pytest.raises(TrainingError, match="continue it with resume"):
        make_trainer(config)


def test_a_run_that_is_resumed_with_other_settings_says_which(make_config: MakeConfig) -> None:
    said: list[str] = []
    config = make_config("changed", steps=1)
    make_trainer(config).fit()
    make_trainer(config, resume=True, announce=said.append)
    assert not [line for line in said if line.startswith("resumed")]
    longer = make_config("changed", "optim.max_grad_norm=0.5", steps=2)
    make_trainer(longer, resume=True, announce=said.append)
    assert [line for line in said if line.startswith("resumed")] == [
        f"resumed with another budget.samples: {2 * BATCH}, was {BATCH}",
        "resumed with another optim.max_grad_norm: 0.5, was 1.0",
    ]


def test_a_run_is_resumed_at_the_rates_that_are_asked_for(make_config: MakeConfig) -> None:
    options = (*GAN, "optim.schedule=constant", "optim.warmup_samples=0")
    make_trainer(make_config("rates", *options, steps=1)).fit()
    changes = ("encoder_lr=1e-5", "decoder_lr=2e-5", "discriminator_lr=3e-5")
    changes += ("weight_decay=0.5", "gan_betas=[0.3, 0.9]")
    options += tuple(f"optim.{change}" for change in changes)
    trainer = make_trainer(make_config("rates", *options, steps=2), resume=True)
    trainer.fit()
    groups = [*trainer.optimizer.param_groups, *trainer.discriminator_optimizer.param_groups]
    assert [group["lr"] for group in groups] == [1e-5, 1e-5, 2e-5, 2e-5, 3e-5, 3e-5]
    assert {group["weight_decay"] for group in groups} == {0.0, 0.5}
    assert {group["betas"] for group in groups} == {(0.3, 0.9)}


def test_a_run_goes_on_with_fused_steps_where_it_began_without(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a CPU to a GPU; here both on the CPU, whose fused steps are close to the others."""
    options = (*GAN, "optim.schedule=constant")
    whole = make_trainer(make_config("whole", *options, steps=4))
    whole.fit()
    make_trainer(make_config("moved", *options, steps=2)).fit()
    real_build = build.build_training
    monkeypatch.setattr(
        build, "build_training", lambda config, **rest: real_build(config, **rest | FUSED)
    )
    moved = make_trainer(make_config("moved", *options, steps=4), resume=True)
    moved.fit()
    groups = [*moved.optimizer.param_groups, *moved.discriminator_optimizer.param_groups]
    assert all(group["fused"] for group in groups)
    for name, value in moved.unwrapped_generator.named_parameters():
        expected = dict(whole.unwrapped_generator.named_parameters())[name]
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-3)


def test_a_run_is_not_resumed_with_another_kind_of_optimizer(make_config: MakeConfig) -> None:
    make_trainer(make_config("optimizer", steps=1)).fit()
    with pytest.raises(TrainingError, match=r"another optimizer.*optim\.name"):
        make_trainer(make_config("optimizer", "optim.name=rmsprop", steps=2), resume=True)


def test_a_run_is_resumed_without_the_weights_it_started_from(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    first = make_trainer(make_config("first", steps=1))
    first.fit()
    start = tmp_path / "start.safetensors"
    checkpoint.save(start, first.unwrapped_generator, config=first.config)
    options = (f"init_from={start}",)
    make_trainer(make_config("second", *options, steps=1)).fit()
    start.unlink()
    resumed = make_trainer(make_config("second", *options, steps=2), resume=True)
    assert resumed.fit().finished
    assert load(Path(resumed.config.output, "config.yaml")).init_from == str(start)


def test_a_state_of_another_recipe_is_refused(make_config: MakeConfig) -> None:
    make_trainer(make_config("other", steps=1)).fit()
    with pytest.raises(TrainingError, match="another recipe"):
        make_trainer(make_config("other", "model.decoder_channels=[24]", steps=2), resume=True)


def test_release_writes_the_averaged_weights(make_config: MakeConfig) -> None:
    config = make_config("released", "optim.ema_half_life_samples=8")
    trainer = make_trainer(config)
    trainer.fit()
    out = export_run(Path(config.output), decode={"temperature": 0.5}, graph=False)
    released = checkpoint.load(out)
    assert out.name == "released.safetensors"
    assert released.decode.temperature == 0.5
    assert released.meta["data"]["samples"] == 16
    averaged = trainer.ema.module.state_dict()
    for name, value in released.generator.state_dict().items():
        torch.testing.assert_close(value, averaged[name], rtol=1e-3, atol=1e-4)


def test_release_keeps_a_calibration_of_the_same_weights_only(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config("calibrated", steps=1)
    make_trainer(config).fit()
    run = Path(config.output)
    best, plain = run / "release.safetensors", tmp_path / "plain.safetensors"
    best.replace(plain)
    write_calibrated(best, plain)
    kept = export_run(run, tmp_path / "kept.safetensors", best=True, decode={"calibration": 0.5})
    loaded = checkpoint.load(kept)
    assert loaded.calibration is not None and loaded.decode.calibration == 0.5
    info = load_runtime(kept, "cpu", kind="onnx").info
    assert info.calibration is not None and info.digest == loaded.digest
    other = make_config("other", "train.seed=5", steps=1)
    make_trainer(other).fit()
    average = [export_run(Path(other.output), graph=False)]
    changed = export_run(
        run, tmp_path / "changed.safetensors", best=True, average=average, graph=False
    )
    loaded = checkpoint.load(changed)
    assert loaded.calibration is None and loaded.decode.calibration == 0
    missing = tmp_path / "missing.safetensors"
    with pytest.raises(TrainingError, match=r"no calibration for these weights; .*calib"):
        export_run(run, missing, best=True, average=average, decode={"calibration": 0.5})
    assert not missing.exists()


def test_release_can_average_with_other_files(make_config: MakeConfig, tmp_path: Path) -> None:
    runs = []
    for seed in (1, 2):
        config = make_config(f"seed{seed}", f"train.seed={seed}", steps=1)
        make_trainer(config).fit()
        runs.append(Path(config.output))
    first, second = (export_run(run, graph=False) for run in runs)
    both = export_run(runs[0], tmp_path / "both.safetensors", average=[second], graph=False)
    made = checkpoint.load(both)
    one, other = (checkpoint.load(path).generator.state_dict() for path in (first, second))
    for name, value in made.generator.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (one[name] + other[name]) / 2, rtol=2e-3, atol=1e-3)
    assert made.meta["data"]["averaged_with"] == [checkpoint.load(second).digest]
    stranger = make_config("wide", "model.decoder_channels=[24]", steps=1)
    make_trainer(stranger).fit()
    with pytest.raises(WeightsError, match="another network"):
        export_run(runs[0], average=[export_run(Path(stranger.output), graph=False)])


def test_the_mean_with_a_network_that_has_fewer_residual_blocks(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    """It counts as having them switched off: its colors are its own, and the mean is between."""
    plain = make_trainer(make_config("plain"))
    plain.fit()
    start = export_run(Path(plain.config.output), graph=False)
    options = ("model.residual_blocks=[1]", f"init_from={start}")
    grown = make_trainer(make_config("grown", *options))
    grown.fit()
    run = Path(grown.config.output)
    files = [
        export_run(run, tmp_path / f"{name}.safetensors", average=others, graph=False)
        for name, others in (("mean", [start]), ("alone", []))
    ]
    mean, alone = (checkpoint.load(file).generator for file in files)
    name = "decoder.residuals.0.0.body.{}"
    for key, share in (("0.0.weight", 1.0), ("2.weight", 0.5), ("2.bias", 0.5)):
        full, found = (net.state_dict()[name.format(key)] for net in (alone, mean))
        torch.testing.assert_close(found, share * full, rtol=2e-3, atol=1e-6)


def test_a_start_that_is_missing_is_said_with_the_command_that_makes_it(tmp_path: Path) -> None:
    said: list[str] = []
    start = tmp_path / "runs" / "pretrain_class" / "release.safetensors"
    config = load(None, [f"init_from={start}"])
    assert resolve_init_from(config, announce=said.append).init_from == "default"
    assert "train pretrain_class.yaml first" in said[0]
    with pytest.raises(ConfigError, match="does not exist"):
        resolve_init_from(load(None, ["init_from=nowhere.safetensors"]), announce=said.append)


def test_a_tracker_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(ConfigError, match="swanlab is not installed"):
        make_accelerator(load(None, ["train.trackers=[swanlab]"]))
