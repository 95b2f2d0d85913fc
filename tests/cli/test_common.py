"""What all commands share: errors in the words of the command, and progress."""

from __future__ import annotations

import pickle
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


def test_an_error_crosses_processes_with_its_remedy() -> None:
    error = pickle.loads(pickle.dumps(TrainingError("no run", remedy="leave {resume} out")))
    assert str(error) == "no run; leave resume out"


def test_braces_in_a_file_name_stay_as_they_are() -> None:
    assert str(Pix2ColorError("{size}.jpg: broken", remedy="scan again")) == (
        "{size}.jpg: broken; scan again"
    )
