"""Child processes: what a scan does to its process costs that scan alone."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from archives import CODECS, ROOT, photo, start, wait_for_outputs
from outputs import outputs

from pix2color.cli import infer
from pix2color.errors import EXIT_INTERRUPTED
from pix2color.inference.colorizer import Colorizer
from pix2color.jobs import pipeline
from pix2color.jobs.pipeline import JobOptions, Outcome, WorkerStartError
from pix2color.jobs.planner import plan_jobs
from pix2color.jobs.processes import ChildLimits, Children, Network
from pix2color.jobs.store import FolderStore


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer.from_pretrained(device="cpu")


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three good photos; child processes have the dangerous decoders."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(CODECS))))
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / f"in/{number}.jpg").write_bytes(photo(number))
    return tmp_path / "in"


def mark(scans: Path, *words: str) -> None:
    for word in words:
        name, _, _ = word.partition("=")
        (scans / f"{name}.jpg").write_bytes(photo(9, comment=f"pix2color-test:{word};"))


def color(
    scans: Path, out: Path, colorizer: Colorizer, *, workers: int = 1, seconds: float = 60,
) -> dict[str, Outcome]:  # fmt: skip
    options = JobOptions(colorizer.resolve_decode(input_size=32))
    network = Network(device="cpu", digest=colorizer.digest)
    with Children(network, options, ChildLimits(seconds, memory=2**28)) as children:
        found = pipeline.colorize_jobs(
            plan_jobs([scans], out).jobs, lambda: pytest.fail("colored in this process"), options,
            workers=workers, processes=children,
        )  # fmt: skip
        return {outcome.job.source.name: outcome for outcome in found}


def in_threads(scans: Path, out: Path, colorizer: Colorizer) -> dict[str, bytes]:
    options = JobOptions(colorizer.resolve_decode(input_size=32))
    for _ in pipeline.colorize_jobs(plan_jobs([scans], out).jobs, lambda: colorizer, options):
        pass
    return outputs(out)


def child_processes() -> list[psutil.Process]:
    """Those of `Children`: multiprocessing has another one that stays."""
    return [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]


def statuses(found: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.status for name, outcome in sorted(found.items())}


def test_a_decoder_that_ends_its_process_costs_its_photo(
    scans: Path, tmp_path: Path, colorizer: Colorizer
) -> None:
    expected = in_threads(scans, tmp_path / "threads", colorizer)
    mark(scans, "exit", f"once={tmp_path / 'died'}")
    found = color(scans, tmp_path / "out", colorizer)
    assert statuses(found) == {
        "0.jpg": "done", "1.jpg": "done", "2.jpg": "done", "exit.jpg": "failed", "once.jpg": "done",
    }  # fmt: skip
    assert found["exit.jpg"].reason == "crashed the decoder: ended with exit code 3"
    assert (tmp_path / "died").exists(), "it crashed once, and was done alone"
    written = outputs(tmp_path / "out")
    del written["once.jpg"]
    assert written == expected
    assert not child_processes()


@pytest.mark.slow
def test_a_decoder_that_blocks_or_eats_memory_costs_its_photo(
    scans: Path, tmp_path: Path, colorizer: Colorizer
) -> None:
    expected = in_threads(scans, tmp_path / "threads", colorizer)
    mark(scans, "hang", "eat")
    found = color(scans, tmp_path / "out", colorizer, workers=2, seconds=5)
    assert statuses(found) == {
        **dict.fromkeys(("0.jpg", "1.jpg", "2.jpg"), "done"), "eat.jpg": "failed",
        "hang.jpg": "failed",
    }  # fmt: skip
    assert found["eat.jpg"].reason == "out of memory"
    assert found["hang.jpg"].reason == "crashed the decoder: not done within 5 s"
    assert outputs(tmp_path / "out") == expected
    assert not child_processes()


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Network("nowhere.safetensors", "cpu"), "nowhere.safetensors"),
        (Network(device="cpu", digest="0123456789ab"), "0123456789ab where the run was started"),
    ],
)
def test_a_network_that_a_child_cannot_load_ends_the_run(
    network: Network, words: str, scans: Path, tmp_path: Path, colorizer: Colorizer
) -> None:
    options = JobOptions(colorizer.decode)
    jobs = plan_jobs([scans], tmp_path / "out").jobs
    with Children(network, options) as children, pytest.raises(WorkerStartError, match=words) as e:
        list(
            pipeline.colorize_jobs(jobs, lambda: colorizer, options, workers=1, processes=children)
        )
    assert "\n" not in str(e.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_a_photo_that_blocks(scans: Path, tmp_path: Path) -> None:
    mark(scans, "hang")
    out = tmp_path / "out"
    process = start(scans, "--out", out, "--isolate", "--time-limit", 3600)
    wait_for_outputs(FolderStore(out), 3, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None, "the photo under way is waited for"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == EXIT_INTERRUPTED and "Traceback" not in errors, errors
    assert not psutil.wait_procs(children, timeout=20)[1]
    assert sorted(outputs(out)) == ["0.jpg", "1.jpg", "2.jpg"]


@pytest.mark.slow
@pytest.mark.parametrize(("least", "failed"), [(4, True), (5, False)])
def test_runs_of_many_photos_have_child_processes_by_default(
    least: int, failed: bool, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The dangerous decoders are those of child processes."""
    mark(scans, "exit")
    monkeypatch.setattr("pix2color.cli.engines.ISOLATED_FROM", least)
    arguments = [str(scans), "--out", str(tmp_path / "out"), "--size", "32", "--device", "cpu"]
    assert infer.main(arguments) == failed
    assert ("crashed the decoder" in capsys.readouterr().err) == failed
