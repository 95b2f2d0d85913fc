"""The whole way from a plan to a report, on a few photos; what is kept and measured again."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from imported import import_narrow
from markupsafe import escape
from matplotlib.figure import Figure
from PIL import Image

from pix2color import config as configs
from pix2color.benchmark import decoding, images, measure, page, plots, tables
from pix2color.benchmark.images import FAILURES
from pix2color.benchmark.run import Benchmark
from pix2color.cli import main
from pix2color.data.dataset import PhotoSet
from pix2color.errors import TrainingError
from pix2color.evaluation import evaluator, registry
from pix2color.training.metrics_log import MetricsLogger, read_log

Make = Callable[..., Any]
RECIPES = ("strided", "strided_gan", "zhang_class", "fusion")
OVER: dict[str, Any] = {
    "budget": {"samples": 8},
    "overrides": {"zhang_class": {"model": {"upsample": {"stages": [[], [8]]}}}},
}
ROWS = ["truth", "gray", "random", "mean", "strided", "strided_gan (start)", "strided_gan",
        "zhang_class", "zhang_class (best decoding)", "siggraph17"]  # fmt: skip


def make(plan: Any, crowd: Path, out: Path) -> Benchmark:
    """A benchmark whose recipes are trained."""
    benchmark = Benchmark(
        plan, Path(), roots=[str(crowd)], out=out, device="cpu", log=lambda line: None
    )
    benchmark.train(lambda entry, status: None, lambda: False)
    return benchmark


@pytest.fixture(scope="module")
def further(crowd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the photos, and one without color."""
    folder = tmp_path_factory.mktemp("further")
    for path in sorted(crowd.iterdir())[:2]:
        shutil.copy(path, folder)
    gray = np.full((40, 40, 3), 99, np.uint8)
    gray[:20] = 30
    Image.fromarray(gray).save(folder / "gray.png")
    return folder


@pytest.fixture(scope="module")
def squeeze_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained squeezenet1_1, in whose features FD is measured."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeeze.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def siggraph17(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of others, which are measured beside the recipes."""
    return import_narrow("siggraph17", tmp_path_factory.mktemp("others"))


@pytest.fixture(scope="module")
def report(
    crowd: Path,
    further: Path,
    squeeze_file: Path,
    siggraph17: Path,
    small_photos: list[np.ndarray],
    make_plan: Make,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of a report on four photos, and on three in a further set. Do not write there."""
    out = tmp_path_factory.mktemp("report")
    over = {
        **OVER,
        "evaluate": {"fd_backbone": str(squeeze_file)},
        "checkpoints": [str(siggraph17)],
    }
    plan = make_plan(*RECIPES, **over, test_sets={"further": str(further)})
    told: list[tuple[str, int, int]] = []
    with pytest.MonkeyPatch.context() as patch:  # these take longer than all the rest
        patch.setattr(plots, "_DPI", 25)
        patch.setattr(Figure, "tight_layout", lambda figure: None)
        patch.setattr(evaluator, "_TIMED_PHOTOS", 1)
        patch.setattr(decoding, "TEMPERATURES", (0.38, 1.0))
        patch.setattr(images, "_bundled", lambda: [small_photos[0][:48, :48]])
        made = make(plan, crowd, out).report(
            lambda *news: told.append(news), public=out / "published"
        )
    assert made == out / "index.html"
    assert [news for news in told if news[1] == news[2]] == [("test", 4, 4), ("further", 3, 3)]
    return out


@pytest.fixture(scope="module")
def tree(report: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    return found


def test_every_recipe_is_a_row(tree: dict[str, Any]) -> None:
    status = {one["name"]: one["status"] for one in tree["recipes"]}
    assert status == {name: "not run" if name == "fusion" else "done" for name in RECIPES}
    for one in tree["sets"].values():
        assert [row["name"] for row in one["rows"]] == ROWS
    assert list(tree["sets"]) == ["test", "further"]


def test_the_figures_that_are_asked_for_are_there(tree: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in tree["sets"]["test"]["rows"]}
    wanted = {
        "auc", "auc_rebalanced", "psnr", "ssim", "cast", "colorfulness", "colorfulness_ratio"
    }  # fmt: skip
    for row in rows.values():
        assert wanted <= row["figures"].keys()
        for name in wanted:
            figure = row["figures"][name]
            assert figure["low"] <= figure["value"] <= figure["high"]
    truth = rows["truth"]["figures"]
    assert (truth["auc"]["value"], truth["colorfulness_ratio"]["value"]) == (100, 1)
    assert rows["strided"]["milliseconds"] > 0
    assert {name for name, row in rows.items() if row["primary"]} == set(ROWS[4:-2])
    assert rows["random"]["figures"]["auc"]["value"] < rows["mean"]["figures"]["auc"]["value"]
    assert tree["sets"]["test"]["unmeasured"].keys() == {"lpips"}
    for name in registry.FAILURES:
        assert name in rows["strided"]["figures"]
        assert name not in tree["sets"]["further"]["rows"][4]["figures"]


def test_weights_of_others_are_a_row_that_no_recipe_competes_with(
    report: Path, tree: dict[str, Any]
) -> None:
    for one in tree["sets"].values():
        row = next(row for row in one["rows"] if row["name"] == "siggraph17")
        assert row["metadata"]["decode"]["input_size"] == 256
        assert row["figures"]["colorfulness"]["value"] > 3
        assert not row["primary"] and row["milliseconds"] is None
    assert tree["plan"]["checkpoints"] == ["siggraph17.safetensors"]
    text = (report / "report.md").read_text(encoding="utf-8")
    assert "Not trained here, and with the settings that they ship: siggraph17.safetensors" in text


def test_neighbors_are_in_the_order_of_auc_and_paired(tree: dict[str, Any]) -> None:
    for one in tree["sets"].values():
        auc = {row["name"]: row["figures"]["auc"]["value"] for row in one["rows"]}
        pairs = one["neighbors"]
        chain = [pairs[0]["one"], *(pair["other"] for pair in pairs)]
        assert sorted(chain) == sorted(ROWS[4:])
        assert [auc[name] for name in chain] == sorted((auc[n] for n in chain), reverse=True)
        for pair in pairs:
            difference = pair["differences"]["auc"]
            expected = auc[pair["one"]] - auc[pair["other"]]
            assert difference["value"] == pytest.approx(expected)
            assert difference["low"] <= difference["value"] <= difference["high"]


def test_claims_and_stages_are_of_the_rows_that_there_are(tree: dict[str, Any]) -> None:
    for name, one in tree["sets"].items():
        figures = {row["name"]: row["figures"] for row in one["rows"]}
        (stage,) = one["stages"]
        assert (stage["one"], stage["other"]) == ("strided_gan", "strided_gan (start)")
        for metric in ("auc", "cast", "fd", "colorfulness_ratio"):
            expected = (figures[stage[end]][metric]["value"] for end in ("one", "other"))
            difference = next(expected) - next(expected)
            assert stage["differences"][metric]["value"] == pytest.approx(difference)
        judged = {claim["text"]: claim["sets"][name] for claim in tree["claims"]}
        gray = judged["gray above the colors of a random photo"]
        assert gray["figure"]["value"] == pytest.approx(
            figures["gray"]["auc"]["value"] - figures["random"]["auc"]["value"]
        )
        assert judged["L2 above gray"]["reason"] == "no row zhang_l2"


def test_the_best_decoding_is_by_the_rule_and_said(report: Path, tree: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in tree["sets"]["test"]["rows"]}
    usual, best = rows["zhang_class"], rows["zhang_class (best decoding)"]
    assert best["metadata"]["digest"] == usual["metadata"]["digest"]
    decode = best["metadata"]["decode"]
    assert decode["temperature"] in decoding.TEMPERATURES
    assert decode["vividness"] in decoding.VIVIDNESS
    chosen = f"zhang_class {decode['temperature']:g} and {decode['vividness']:g}"
    assert f"{decoding.RULE}. Chosen: {chosen}." in (report / "report.md").read_text()


def test_a_curve_has_a_point_per_validation(report: Path) -> None:
    """At the end of a GAN recipe's pretraining, which has its share, the curve goes on."""
    for name, points in (("strided", 2), ("strided_gan", 1), ("zhang_class", 2)):
        lines = read_log(report / "runs" / name / "metrics.jsonl")
        validated = [line for line in lines if line["kind"] == "validation" and line["samples"]]
        assert len(validated) == points
        assert all({"auc", "fd", "loss", "seconds"} <= line.keys() for line in validated)
        assert validated[-1]["samples"] == max(line["samples"] for line in lines)


def test_fd_and_its_backbone_are_in_the_tree(report: Path, tree: dict[str, Any]) -> None:
    for one in tree["sets"].values():
        figures = {row["name"]: row["figures"]["fd"] for row in one["rows"]}
        assert figures["truth"]["value"] == pytest.approx(0, abs=1e-6)
        assert figures["gray"]["value"] > 0 and figures["gray"]["low"] is None
        assert "squeezenet1_1 (squeeze.pth, SHA-256" in one["measured_with"]["FD"]
    assert tree["plan"]["evaluate"]["fd_backbone"] == "squeeze.pth"
    assert "FD is of 4 photos and is not FID" in (report / "report.md").read_text(encoding="utf-8")


def test_the_protocol_is_in_the_tree(tree: dict[str, Any]) -> None:
    assert tree["plan"]["split"] == {"train": 0.6, "val": 0.2, "test": 0.2}
    assert {"pix2color", "torch", "torchvision", "Python", "device"} <= tree["versions"].keys()
    assert re.fullmatch(r"[0-9a-f]{12}", tree["data"]["digest"])
    assert all(re.fullmatch(r"[0-9a-f]{12}", one["digest"]) for one in tree["recipes"])
    trained = [one for one in tree["recipes"] if one["status"] == "done"]
    assert all(one["trainable"] > 0 and one["samples"] == 8 for one in trained)


def test_the_three_files_agree(report: Path, tree: dict[str, Any]) -> None:
    """Both are written from the tree, table by table."""
    markdown = (report / "report.md").read_text(encoding="utf-8")
    html = (report / "index.html").read_text(encoding="utf-8")
    wanted = [tables.training(tree)]
    for one in tree["sets"].values():
        wanted += [tables.figures(one), tables.gains(one), tables.neighbors(one)]
        wanted += [tables.stages(one)]
    wanted += [tables.claims(tree)]
    failures = tables.failures(tree["sets"]["test"])
    assert failures is not None
    for table in (*wanted, failures):
        assert table.markdown() in markdown
        for line in table.lines:
            for cell in line:
                assert escape(cell.text) in html and escape(cell.interval) in html
    assert html.count("<tr>") == sum(1 + len(table.lines) for table in (*wanted, failures))
    assert html.count("<b>") == len(re.findall(r"\*\*[^*]+\*\*", markdown))
    missing = ("no weights of its backbone", "needs the weights of a whole classifier")
    for text in (tables.summary(tree), *missing):
        assert text in markdown and text in html
    assert not list(report.rglob("*.part*"))


def test_the_page_stands_alone_and_the_text_links_pictures(report: Path) -> None:
    html = (report / "index.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert len(sources) == 14
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\(|@import|<script|<link|https?://", html)
    links = re.findall(r"!\[[^]]*\]\(([^)]*)\)", (report / "report.md").read_text(encoding="utf-8"))
    assert len(links) == len(sources)
    for link in links:
        with Image.open(report / link) as picture:
            picture.load()
    shown = {
        "errors",
        "colors",
        "colorfulness",
        "losses",
        "curves",
        "shares",
        "temperatures",
        "grid",
    }
    assert {*shown, "bundled"} <= {Path(link).stem for link in links}


def test_what_is_published_shows_no_photo_of_the_data_and_no_path(
    report: Path, tree: dict[str, Any]
) -> None:
    folder = report / "published"
    found = {path.name for path in (folder / "pictures").iterdir()}
    assert found == {"errors.png", "colors.png", "colorfulness.png", "losses.png", "curves.png",
                     "shares.png", "temperatures.jpg", "bundled.jpg"}  # fmt: skip
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\(pictures/([^)]*)\)", text)) == found
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8")) == tree
    for written in (text, json.dumps(tree)):
        assert str(report.parent) not in written


def test_the_failure_page_has_all_five(report: Path) -> None:
    html = (report / "index.html").read_text(encoding="utf-8")
    wanted = ("Color bias", "Desaturation", "Inconsistent color", "Edge pollution", "Bleeding")
    assert tuple(failure.title for failure in FAILURES) == wanted
    for number, failure in enumerate(FAILURES, start=1):
        assert re.search(rf"<h3>{number}. {failure.title}</h3>\s*<p>Metric: ", html)
        assert failure.metric in registry.FAILURES


def test_photos_without_any_color_are_no_crash(report: Path, tree: dict[str, Any]) -> None:
    """The share of a colorfulness of nought is no number; the plot leaves its point out."""
    rows = [
        {"name": name, "figures": {key: {"value": value} for key in ("colorfulness_ratio", "auc")}}
        for name, value in (("gray", 0.0), ("one", None))
    ]
    plots.colorfulness(report / "aside.png", {"test": {"rows": rows}})
    (report / "aside.png").unlink()


# Kept evaluations


@pytest.fixture
def again(
    report: Path, crowd: Path, further: Path, squeeze_file: Path, siggraph17: Path,
    make_plan: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., list[str]]:  # fmt: skip
    """Reports on a copy of the folder, without its pictures; gives the sets that are measured.

    `touch` is called with the copy before that. Where `real` is not set, what is kept stands in
    for what would be measured, to save the time.
    """
    monkeypatch.setattr(Benchmark, "_draw", lambda *args: None)
    out = tmp_path / "report"
    shutil.copytree(report, out, ignore=shutil.ignore_patterns("pictures", "published"))
    for file in (out / "runs").rglob("config.yaml"):  # a GAN recipe's start lies in the folder
        file.write_text(file.read_text().replace(str(report), str(out)))

    def measured(
        touch: Callable[[Path], object] = lambda out: None, *, real: bool = False, **over: Any
    ) -> list[str]:
        touch(out)
        told: list[str] = []
        kept = measure.load_cached

        def stand_in(folder: Path, key: str) -> Any:
            if (found := kept(folder, key)) is None:
                told.append(folder.name)
                found = json.loads((folder / "set.json").read_text(encoding="utf-8"))
            return found

        if not real:
            monkeypatch.setattr(measure, "load_cached", stand_in)
        usual = {
            **OVER,
            "evaluate": {"fd_backbone": str(squeeze_file)},
            "checkpoints": [str(siggraph17)],
        }
        plan = make_plan(
            *RECIPES, **configs.deep_merge(usual, over), test_sets={"further": str(further)}
        )
        make(plan, crowd, out).report(lambda name, done, total: told.append(name))
        return sorted(set(told))

    return measured


def test_what_was_measured_is_kept(again: Make, tree: dict[str, Any], tmp_path: Path) -> None:
    assert again(real=True) == []
    found = json.loads((tmp_path / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert found["sets"] == tree["sets"]


def test_other_weights_are_measured_again(again: Make) -> None:
    def touch(out: Path) -> None:
        mine = out / "runs" / "strided" / "strided.safetensors"
        shutil.copy(out / "runs" / "strided_gan" / "strided_gan.safetensors", mine)

    assert again(touch) == ["further", "test"]


def test_other_settings_are_measured_again(again: Make, report: Path) -> None:
    assert again(evaluate={"resamples": 21}) == ["further", "test"]


def test_an_instrument_that_was_missing_is_used(again: Make, monkeypatch: Any) -> None:
    class Told(measure.BenchmarkEvaluator):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.descriptions["LPIPS"] = "found at last"

    monkeypatch.setattr("pix2color.benchmark.run.BenchmarkEvaluator", Told)
    assert again() == ["further", "test"]


def test_a_lost_array_is_measured_again(again: Make) -> None:
    assert again(lambda out: (out / "sets" / "further" / "arrays.npz").unlink(), real=True) == [
        "further"
    ]


def test_learning_curves_have_a_panel_per_figure(tmp_path: Path) -> None:
    """A run without a validation has no line, and where none has one there is no picture."""
    widths = []
    for figures in ({}, {"auc": 88.0}, {"auc": 88.0, "fd": 120.0}):
        folder = tmp_path / f"run{len(figures)}"
        folder.mkdir()
        log = MetricsLogger(folder)
        log.write("validation", 0, {"auc": 87.0, "seconds": 0.0})
        log.write("train", 8, {"loss": 1.0, "seconds": 60.0})
        if figures:
            log.write("validation", 8, {**figures, "seconds": 60.0})
        path = folder / "curves.png"
        plots.learning_curves(path, {"one": folder, "none": tmp_path}, {"one": 30.0})
        widths.append(Image.open(path).width if path.is_file() else 0)
    assert widths[0] == 0 < widths[1] < widths[2]


def test_nothing_trained_is_no_report(crowd: Path, make_plan: Make, tmp_path: Path) -> None:
    benchmark = make(make_plan("fusion"), crowd, tmp_path)
    with pytest.raises(TrainingError, match="no recipe finished: fusion: needs"):
        benchmark.report(lambda *news: None)


# Parts


def test_the_mean_color_of_plain_photos(training_photos: tuple[PhotoSet, PhotoSet]) -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert measure.mean_ab([red]) == pytest.approx((80.1, 67.2), abs=0.1)
    gray = np.full((8, 8, 3), 128, np.uint8)
    assert measure.mean_ab([red, gray]) == pytest.approx((40.05, 33.6), abs=0.1)
    rows = measure.baselines(training_photos[0], seed=0)
    assert [row.name for row in rows] == ["random", "mean"]


def test_the_classifier_is_named_beside_every_table_with_its_accuracy(
    tree: dict[str, Any], tmp_path: Path
) -> None:
    """Those of the set, and that of the claims."""
    changed = copy.deepcopy(tree)
    further = changed["sets"]["further"]
    further["measured_with"]["classifier"] = "mobilenet_v2, FILE"
    further["rows"][4]["figures"]["top1"] = {"value": 50.0, "low": 40.0, "high": 60.0}
    page.write(tmp_path, changed)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.count("top-1 and top-5 are read by mobilenet_v2.") == 2
    assert text.index("## What the five reports state") < text.rindex("read by mobilenet_v2.")


def test_a_page_without_failures_says_so(tree: dict[str, Any], tmp_path: Path) -> None:
    shorter = tree | {"sets": {"further": tree["sets"]["further"]}}
    html = page.write(tmp_path, shorter).read_text(encoding="utf-8")
    assert "<p>Not measured (evaluate.failures).</p>" in html
    assert "<img" not in html


# The command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "nothing-here"], "no config"),
        (["--data", "nothing-here", "--recipes", "strided"], "no such file"),
        (["--recipes", "stridet"], "did you mean strided"),
        (["--test", "photos"], "--test 'photos': write it as NAME=PATH"),
        (["--pretrained", "=x"], "write it as NAME=PATH"),
        (["--set", "evaluate.photo=3"], "did you mean evaluate.photos"),
        (["--recipes", "strided", "--checkpoint", "none.safetensors"], "no weights file none"),
        (["--minutes", "0"], "--minutes 0: at least 0.001"),
        (["--classifier", "nothing.pth", "--recipes", "strided"], "no weights file nothing.pth"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["benchmark", "--out", str(tmp_path), *arguments]) == 2
    shown = capsys.readouterr().err.splitlines()
    assert shown[-1].startswith("error: ")
    assert said in shown[-1]
    assert not list(tmp_path.iterdir())
