"""What a Ray worker refuses, and clusters that are not there; the rest needs Ray: test_engines."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from fake_model import fake_colorizer

from pix2color import __version__
from pix2color.errors import Pix2ColorError
from pix2color.jobs.mirror import Mirror
from pix2color.jobs.pipeline import JobOptions, WorkerStartError
from pix2color.jobs.planner import Job
from pix2color.jobs.processes import ChildLimits, Network
from pix2color.jobs.ray_engine import RayCluster, Worker, colorize_jobs


def worker(network: Network) -> Worker:
    return Worker(network, JobOptions(fake_colorizer().decode), ChildLimits(), 1)


@pytest.mark.parametrize(
    ("version", "folder", "words", "remedy"),
    [
        ("0.0.1", ".", f"has pix2color {__version__}, and 0.0.1 started the run", "same version"),
        (__version__, "not/here", "has no folder not/here", "all machines share"),
        (__version__, ".", "weights", "all machines"),
    ],
)
def test_a_worker_that_is_not_like_the_start_is_named(
    version: str, folder: str, words: str, remedy: str
) -> None:
    with pytest.raises(WorkerStartError) as caught:
        worker(Network(device="cpu", digest="0" * 12)).prepare(version, [Path(folder)])
    assert words in caught.value.message and remedy in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_cluster_that_does_not_listen_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs the extra [ray]")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    jobs = [Job(tmp_path / "a.jpg", tmp_path / "out/a.jpg")]
    for cluster in (RayCluster(address), RayCluster()):
        with pytest.raises(Pix2ColorError, match=f"{address} cannot be reached") as caught:
            list(
                colorize_jobs(
                    jobs, Network(), JobOptions(fake_colorizer().decode), cluster, mirror=Mirror()
                )
            )
        assert "ray start --head" in caught.value.remedy and "\n" not in str(caught.value)
        monkeypatch.setenv("RAY_ADDRESS", address)


def test_no_photos_need_no_cluster() -> None:
    options = JobOptions(fake_colorizer().decode)
    assert not list(colorize_jobs([], Network(), options, RayCluster("nowhere:1"), mirror=Mirror()))
