"""What all commands share: errors in the words of the command, and progress."""

from __future__ import annotations

import pickle
import signal
from argparse import Namespace

import pytest

from pix2color.cli import common
from pix2color.errors import EXIT_FAILED, PhotoError, Pix2ColorError, TrainingError

REMEDY = "raise {max_megapixels} to 312, or reduce the photo"


def test_a_library_error_names_arguments_and_a_command_its_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = PhotoError("311 megapixels are above 300", remedy=REMEDY)
    assert str(error) == (
        "311 megapixels are above 300; raise max_megapixels to 312, or reduce the photo"
    )

    def fail(options: Namespace) -> int:
        raise error

    assert common.run_command(fail, Namespace(max_megapixels=300)) == EXIT_FAILED
    assert capsys.readouterr().err == (
        "error: 311 megapixels are above 300; raise --max-megapixels to 312, or reduce the photo\n"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (Namespace(data=[], set=[]), "set --data"),
        (Namespace(set=[]), "set --set data.roots=VALUE"),
        (Namespace(), "set data.roots"),
    ],
)
def test_a_config_key_is_an_option_or_a_set_value(options: Namespace, text: str) -> None:
    error = Pix2ColorError("no photos", remedy="set {data.roots}")
    shown = error.describe(lambda name: common.option_name(name, options))
    assert shown == f"no photos; {text}"


def test_a_description_is_wrapped_and_the_lines_of_examples_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    examples = f"examples:\n  python infer.py {'photos/ ' * 9}\n  python infer.py --help\n"
    text = common.Parser(description="word " * 30, epilog=examples).format_help()
    words, _, rest = text.partition("examples:")
    assert words.count("word") == 30 and all(len(line) < 40 for line in words.splitlines())
    assert f"examples:{rest}" == examples


def test_an_error_crosses_processes_with_its_remedy() -> None:
    error = pickle.loads(pickle.dumps(TrainingError("no run", remedy="leave {resume} out")))
    assert str(error) == "no run; leave resume out"


def test_braces_in_a_file_name_stay_as_they_are() -> None:
    assert str(Pix2ColorError("{size}.jpg: broken", remedy="scan again")) == (
        "{size}.jpg: broken; scan again"
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A list whose only number is the time that the progress bar sees."""
    now = [1000.0]
    monkeypatch.setattr(common.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_counts_what_was_done_since_the_restart(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """A training that is resumed at 60 % and does 10 % in two minutes has six minutes to go."""
    bar = common.ProgressBar(1.0, plain=True, interval=0)
    clock[0] += 300  # of reading photos
    bar.restart(1.0, initial=0.6)
    clock[0] += 120
    bar.advance_to(0.7, loss=1.5)
    assert capsys.readouterr().err == "70.0%, 6.0 min left, loss 1.5\n"


def test_lines_hold_counts_rate_time_left_and_failures(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with common.ProgressBar(50, unit="photos", description="a\x07b", plain=True) as bar:
        for number in range(20):
            clock[0] += 1
            bar.update(2, failed=number == 3)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "a\\x07b 20/50 photos (2.0/s), 15 s left, failed 1",
        "a\\x07b 40/50 photos (2.0/s), 5 s left, failed 1",
    ]


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common.sys.stderr, "isatty", lambda: True)
    with common.ProgressBar(None, unit="photos") as bar:
        bar.update(3, failed=True)
        bar.write("note")
        bar.restart(1.0, "second", initial=0.5)
    shown = capsys.readouterr().err
    for text in ("\r3 photos", "failed=1", "note\n", "second 50.0%"):
        assert text in shown


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with common.ProgressBar(2, unit="photos", quiet=True, interval=0) as bar:
        bar.update()
        bar.write("note")
    assert capsys.readouterr() == ("", "")


def test_a_second_ctrl_c_interrupts_and_a_second_sigterm_does_not() -> None:
    calls = []
    with common.stop_requested(lambda: calls.append(1)) as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert stop() and calls == [1]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
