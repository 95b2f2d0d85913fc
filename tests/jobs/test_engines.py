"""Archives in a store whose machines, workers, decoders and network fail.

After each run the outputs and the commits of the record are those of an undisturbed run, byte for
byte; nothing was done twice and nothing else is left.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from archives import (
    CODECS,
    RECORD,
    ROOT,
    fill,
    kill_one,
    result,
    run,
    start,
    wait_for_outputs,
)
from s3_server import new_s3_url

from pix2color.errors import EXIT_INTERRUPTED
from pix2color.jobs.store import Store, open_store

COUNTS = (
    pytest.param(24, marks=pytest.mark.slow),
    pytest.param(2000, marks=pytest.mark.exhaustive),
)


class Archive:
    """Scans in a bucket, and how an undisturbed run colors them.

    One ends the process that decodes it; of 2,000, another one blocks its process.
    """

    def __init__(self, count: int) -> None:
        self.bucket = new_s3_url()
        marked = {7: "exit", 1200: "hang"} if count > 1200 else {7: "exit"}
        self.failing, self.good = len(marked), count - len(marked)
        fill(open_store(f"{self.bucket}/scans"), count, marked)
        self.scans = f"{self.bucket}/scans".replace("s3://", "flaky://")
        self._outs = 0
        out, url = self.out()
        done = run(self.scans, "--out", url, "--isolate", "--time-limit", "15")
        assert done.returncode == 1, done.stderr
        assert done.stderr.count("crashed the decoder") == self.failing
        self.expected = result(out)
        assert sum(not name.startswith(".") for name in self.expected) == self.good

    def out(self) -> tuple[Store, str]:
        """An empty place for outputs: its store, and its URL on the bad network."""
        self._outs += 1
        url = f"{self.bucket}/colored-{self._outs}"
        return open_store(url), url.replace("s3://", "flaky://")

    def check(self, out: Store) -> None:
        """Compare a finished run with the undisturbed one."""
        assert result(out) == self.expected


@pytest.fixture(scope="module")
def _environment() -> Iterator[None]:
    """Of all processes: the dangerous decoders and the bad network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(CODECS))))
        patch.setenv("PIX2COLOR_TEST_FLAKY", "0")
        new_s3_url()  # sets the server's address
        yield


@pytest.fixture(scope="module")
def archives(_environment: None) -> Callable[[int], Archive]:
    made: dict[int, Archive] = {}

    def archive(count: int) -> Archive:
        if count not in made:
            made[count] = Archive(count)
        return made[count]

    return archive


@pytest.fixture(scope="module")
def cluster(_environment: None) -> Iterator[Any]:
    """Two Ray nodes of one processor each, whose network to the store is bad."""
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs the extra [ray]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIX2COLOR_TEST_FLAKY", "10")
        # Seconds rather than a minute until a machine counts as lost.
        quick = {"health_check_period_ms": 1000, "health_check_initial_delay_ms": 1000}
        nodes = cluster_utils.Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": quick}
        )
        nodes.second = nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def once_each(out: Store) -> bool:
    """Whether no photo has two lines in the record."""
    names = [e.name for e in out.list(f"{RECORD}runs") if e.name.endswith(".jsonl")]
    targets = Counter(
        json.loads(line)["target"] for name in names for line in out.read(name).splitlines()
    )
    return max(targets.values()) == 1


def remove_node(cluster: Any) -> None:
    """Take the second machine away, and bring another one for the tests that follow."""
    cluster.remove_node(cluster.second, allow_graceful=False)
    cluster.second = cluster.add_node(num_cpus=1)


def kill_worker(cluster: Any) -> None:
    """SIGKILL to a Ray worker at work, at whatever photo."""
    kill_one(os.getpid(), "ray::Worker")


@pytest.mark.parametrize("disturb", [remove_node, kill_worker])
@pytest.mark.parametrize("count", COUNTS)
def test_a_cluster_that_loses_a_machine_or_a_worker(
    count: int, disturb: Callable[[Any], None], cluster: Any, tmp_path: Path,
    archives: Callable[[int], Archive], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With decoders that end and block their process, and one call in ten that goes wrong."""
    archive = archives(count)
    out, url = archive.out()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PIX2COLOR_TEST_FLAKY", "10")
    process = start(
        archive.scans, "--out", url, "--engine", "ray", "--ray-address", cluster.address,
        "--time-limit", 15,
    )  # fmt: skip
    wait_for_outputs(out, count // 8, process)
    disturb(cluster)
    said, errors = process.communicate(timeout=540)
    assert process.returncode == 1, errors
    assert f"{archive.good} of {count} photos colored" in said, errors
    assert errors.count("crashed the decoder") == archive.failing and "Traceback" not in errors
    archive.check(out)
    assert once_each(out)
    assert not [*tmp_path.glob("pix2color-*")], "copies on this machine"


@pytest.mark.parametrize("count", COUNTS)
def test_ctrl_c_on_a_cluster_leaves_a_record_from_which_the_run_goes_on(
    count: int, cluster: Any, archives: Callable[[int], Archive]
) -> None:
    archive = archives(count)
    out, url = archive.out()
    arguments = (
        archive.scans, "--out", url, "--engine", "ray", "--ray-address", cluster.address,
        "--time-limit", 15, "--resume",
    )  # fmt: skip
    process = start(*arguments)
    wait_for_outputs(out, 3, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == EXIT_INTERRUPTED, errors
    assert "stopping after the photos under way" in errors
    done = sum(not e.name.startswith(".") for e in out.list())
    assert 3 <= done < archive.good
    again = run(*arguments)
    assert f"{archive.good - done} of {count} photos colored, {done} skipped" in again.stdout
    archive.check(out)


@pytest.mark.parametrize("count", COUNTS)
def test_child_processes_that_are_killed_on_a_bad_network(
    count: int, tmp_path: Path, archives: Callable[[int], Archive], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = archives(count)
    out, url = archive.out()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PIX2COLOR_TEST_FLAKY", "10")
    process = start(archive.scans, "--out", url, "--isolate", "--time-limit", 15)
    for outputs in (3, count // 4, count // 2):
        wait_for_outputs(out, outputs, process)
        kill_one(process.pid, "spawn_main")
    _, errors = process.communicate(timeout=540)
    assert process.returncode == 1, errors
    archive.check(out)
    assert once_each(out)
    assert not [*tmp_path.glob("pix2color-*")], "copies on this machine"


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_no_process_and_goes_on(
    archives: Callable[[int], Archive],
) -> None:
    archive = archives(24)
    out, url = archive.out()
    arguments = (archive.scans, "--out", url, "--isolate", "--time-limit", "15", "--resume")
    process = start(*arguments)
    wait_for_outputs(out, 3, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(children, timeout=20)[1]
    assert run(*arguments).returncode == 1
    archive.check(out)
