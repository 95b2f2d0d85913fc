"""The config: numbers arrive as numbers, mistakes are named, what is written reads back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from pix2color.config import Config, find_recipe, from_dict, load, loading
from pix2color.errors import ConfigError

FOLDER = Path(__file__).parent.parent / "configs"
RECIPES = sorted(p for p in FOLDER.glob("*.yaml") if p.stem != "benchmark")


def recipe(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# Values


@pytest.mark.parametrize(
    ("overrides", "samples", "minutes"),
    [
        ([], 120_000, None),
        (["budget.minutes=480"], None, 480),
        (["budget.minutes=480", "budget.samples=1e6"], 1_000_000, 480),
        (["budget.minutes=null"], 120_000, None),
    ],
)
def test_a_budget_in_minutes_alone_has_no_limit_in_samples(
    overrides: list[str], samples: int | None, minutes: float | None
) -> None:
    config = load(None, overrides)
    assert (config.budget.samples, config.budget.minutes) == (samples, minutes)
    assert from_dict(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "0.0001", "+1e-4", ".0001"])
def test_numbers_in_any_spelling_arrive_as_numbers(tmp_path: Path, text: str) -> None:
    from_file = load(recipe(tmp_path, f"optim: {{decoder_lr: {text}}}"))
    from_line = load(None, [f"optim.decoder_lr={text}"])
    for config in (from_file, from_line):
        assert config.optim.decoder_lr == pytest.approx(1e-4)
        assert isinstance(config.optim.decoder_lr, float)


def test_words_that_yaml_takes_for_truth_stay_words() -> None:
    config = load(None, ["train.mixed_precision=no", "model.pretrained=none", "data.cache=none"])
    assert (config.train.mixed_precision, config.model.pretrained) == ("no", "none")
    assert config.data.cache == "none"


def test_a_whole_number_in_scientific_spelling() -> None:
    assert load(None, ["budget.samples=1e5"]).budget.samples == 100_000


@pytest.mark.parametrize("value", ["photos", "[photos, more.tar]"])
def test_one_root_or_several(value: str) -> None:
    root = load(None, [f"data.roots={value}"]).data.roots
    assert root == (("photos",) if value == "photos" else ("photos", "more.tar"))


# Precedence


def test_overrides_beat_the_recipe_and_the_recipe_beats_its_parent(tmp_path: Path) -> None:
    recipe(
        tmp_path,
        "train: {batch_size: 8, seed: 1}\noptim: {max_grad_norm: 2}\noutput: x",
        "base.yaml",
    )
    mine = recipe(tmp_path, "extends: base.yaml\ntrain: {batch_size: 16}")
    config = load(mine, ["train.seed=3", "model.head.type=regression", "loss.l2=1"])
    assert (config.train.batch_size, config.train.seed, config.optim.max_grad_norm) == (16, 3, 2)
    assert config.model.head.type == "regression"
    assert config.output == "runs/mine"  # a parent's run folder is not inherited


def test_a_recipe_extends_once(tmp_path: Path) -> None:
    recipe(tmp_path, "extends: c.yaml", "b.yaml")
    recipe(tmp_path, "", "c.yaml")
    with pytest.raises(ConfigError, match="one step only"):
        load(recipe(tmp_path, "extends: b.yaml"))


def test_defaults_need_no_file() -> None:
    assert load() == Config() == from_dict({})


# Mistakes


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("modle.encoder=resnet18", "unknown key modle; did you mean model?"),
        ("model.enkoder=resnet18", "unknown key model.enkoder; did you mean model.encoder?"),
        ("data.augment.blurr=1", "unknown key data.augment.blurr; did you mean data.augment.blur?"),
        ("train.batch_size=many", "train.batch_size = 'many'"),
        ("train.batch_size=0", "train.batch_size = 0"),
        ("train.batch_size=1.5", "train.batch_size = 1.5"),
        ("train.mixed_precision=half", "train.mixed_precision = 'half'"),
        ("data.split={train: 0.5, val: 0.1, test: 0.1}", "data.split"),
        ("data.crop_scale=[0.9, 0.5]", "least <= most"),
        ("model.head.type=regression", "needs one of loss.l1"),
        ("loss.cross_entropy=0", "needs loss.cross_entropy"),
        ("budget.samples=null", "set budget.samples or budget.minutes"),
        ("train.batch_size", "write it as section.key=value"),
        ("=3", "write it as section.key=value"),
        ("output.name=3", "output"),
        ("data.roots=[a", "not YAML"),
    ],
)
def test_a_mistake_is_named_in_one_line(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, [override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b", "expected keys and values"),
        ("model: {encoder: [", "not YAML"),
        ("model: 3", "model"),
        ("trian: {batch_size: 3}", "did you mean train?"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = recipe(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert said in str(caught.value)
    assert path.name in str(caught.value)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load().train.batch_size = 3  # type: ignore[misc]


# The adversarial stage


def test_a_discriminator_sees_the_recipe_s_decoding_unless_it_names_its_own() -> None:
    decode = "decode={temperature: 0.4, vividness: 0.5, saturation: 1.1}"
    assert load(None, [decode]).shown_decode() == load(None, [decode]).decode
    own = load(None, [decode, "gan.temperature=0.8", "gan.vividness=0"]).shown_decode()
    assert (own.temperature, own.vividness, own.saturation) == (0.8, 0.0, 1.1)


PROJECTED = ("gan.enabled=true", "gan.discriminator=projected")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("gan.enabled=true", "gan.norm=batch", "gan.r1_gamma=1"), "r1_gamma needs norm: spectral"),
        ((*PROJECTED, "model.pretrained=imagenet", "gan.norm=instance"), "norm: spectral only"),
        (PROJECTED, "set model.pretrained to imagenet or to a file"),
        ((*PROJECTED, "model.pretrained=none"), "set model.pretrained to imagenet or to a file"),
        ((*PROJECTED, "init_from=default"), "set model.pretrained to imagenet or to a file"),
        (("gan.temperature=0",), "gan.temperature"),
        (("gan.r1_every=0",), "gan.r1_every"),
    ],
)
def test_a_stage_that_cannot_work_is_refused(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(None, overrides)


def test_what_a_stage_would_need_does_not_matter_while_it_is_off() -> None:
    load(None, ["gan.discriminator=projected", "gan.norm=batch", "gan.r1_gamma=1"])


# Recipes by name


def test_a_recipe_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pretrain_class.yaml", "pretrain_class", "configs/pretrain_class.yaml"):
        assert find_recipe(name).name == "pretrain_class.yaml"
    with pytest.raises(ConfigError, match=r"did you mean pretrain_class\.yaml"):
        find_recipe("pretrain_clas.yaml")


def test_ones_own_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe(tmp_path, "train: {seed: 7}", "pretrain_class.yaml")
    assert load("pretrain_class.yaml").train.seed == 7


def test_ones_own_configs_come_before_the_packaged_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    recipe(tmp_path / "configs", "train: {seed: 7}", "gan.yaml")
    assert load("gan.yaml").train.seed == 7
    assert find_recipe("gan") == Path("configs/gan.yaml")


def test_configs_of_other_installed_packages_are_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip leaves them: site-packages/configs beside site-packages/pix2color."""
    site = tmp_path / "site-packages"
    shutil.copytree(Path(loading.__file__).parent, site / "pix2color" / "config")
    for folder, seed in (("pix2color/_configs", 1), ("configs", 2)):
        (site / folder).mkdir()
        recipe(site / folder, f"train: {{seed: {seed}}}", "gan.yaml")
    recipe(site / "configs", "train: {seed: 2}", "other.yaml")
    monkeypatch.setattr(loading, "__file__", str(site / "pix2color" / "config" / "loading.py"))
    monkeypatch.chdir(tmp_path)
    assert load("gan.yaml").train.seed == 1
    with pytest.raises(ConfigError, match="no config"):
        find_recipe("other.yaml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_that_comes_along_loads(path: Path) -> None:
    config = load(path.name)
    assert config.output == f"runs/{path.stem}"


# Writing and reading


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        [
            "data.roots=[a b, c]",
            "optim.max_grad_norm=null",
            "optim.encoder_lr=3e-7",
            "budget.minutes=5",
        ],
    ],
)
def test_what_is_dumped_loads_equal(tmp_path: Path, overrides: list[str]) -> None:
    config = load(None, overrides)
    back = load(recipe(tmp_path, config.dump()))
    assert back == config
    assert back.digest() == config.digest()


def test_the_digest_follows_results_and_nothing_else() -> None:
    digest = load().digest()
    assert len(digest) == 12
    for same in (
        "output=elsewhere",
        "train.log_every_samples=7",
        "data.decode_threads=5",
        "data.roots=moved",
    ):
        assert load(None, [same]).digest() == digest
    for other in (
        "train.seed=1",
        "optim.decoder_lr=1e-4",
        "data.cache_size=99",
        "decode.input_size=128",
    ):
        assert load(None, [other]).digest() != digest


def test_reading_a_config_imports_no_torch() -> None:
    code = "import sys, pix2color.config as c; c.load(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("input_size", "100000000"),
        ("input_size", "31"),
        ("temperature", "1e300"),
        ("temperature", "1e-30"),
        ("temperature", ".nan"),
        ("vividness", ".inf"),
        ("vividness", "-0.1"),
        ("saturation", "1e30"),
        ("saturation", ".inf"),
    ],
)
def test_decoding_has_bounds_and_takes_finite_numbers_only(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"decode\.{key}"):
        load(None, [f"decode.{key}={value}"])
