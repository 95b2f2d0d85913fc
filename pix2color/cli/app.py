"""python -m pix2color app: color photos in a browser."""

from __future__ import annotations

import argparse
import time

from pix2color.cli import common

_EXAMPLE = """example:
  python -m pix2color app                        for this machine alone
  python -m pix2color app --host 0.0.0.0         for the local network: see docs/web-app.md
"""
_RANGES = {
    "port": (0, 65_535),
    "max_megapixels": (0.001, 100_000),
    "max_files": (1, common.MOST),
    "max_upload": (0.001, 1_000_000),
    "queue": (1, common.MOST),
    "idle": (0.001, 1_000_000),
}


def main(argv: list[str] | None = None) -> int:
    """Serve the app until Ctrl-C or SIGTERM."""
    options = parser().parse_args(argv)
    return common.run_command(_serve, options)


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = common.Parser(
        prog="python -m pix2color app",
        description="A web app that colors photos on this machine.",
        epilog=_EXAMPLE,
    )
    # fmt: off
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    add("--port", type=int, default=7860, metavar="N", help="default: 7860; 0 takes a free one")
    add("--share", action="store_true", help="a public address, through gradio's servers")
    add("--allowed-host", action="append", default=[], metavar="NAME",
        help="a host name that browsers may use for this server, beside localhost and --host; may"
        " be repeated")
    add = parser.add_argument_group("network").add_argument
    add("--checkpoint", metavar="FILE|USER/REPO",
        help="a release file, or its name on the Hugging Face Hub; default: the packaged weights")
    add("--device", help="cpu, cuda, ...; default: a GPU where there is one")
    add = parser.add_argument_group("limits").add_argument
    add("--max-megapixels", type=float, default=40.0, metavar="N",
        help="refuse larger photos (default 40)")
    add("--max-files", type=int, default=100, metavar="N",
        help="photos a client may have at a time (default 100)")
    add("--max-upload", type=float, default=500.0, metavar="MB",
        help="largest upload, and sum of a client's photos (default 500)")
    add("--queue", type=int, default=32, metavar="N",
        help="requests that may wait; further ones are refused (default 32)")
    add("--idle", type=float, default=60.0, metavar="MINUTES",
        help="after which a client's photos are removed (default 60)")
    # fmt: on
    return parser


def _serve(options: argparse.Namespace) -> int:
    common.check_ranges(options, **_RANGES)
    common.stop_on_sigterm()
    from pix2color.app.limits import ServerLimits
    from pix2color.app.server import serve
    from pix2color.inference.colorizer import Colorizer

    limits = ServerLimits(
        megapixels=options.max_megapixels,
        files=options.max_files,
        upload_bytes=int(options.max_upload * 1e6),
        queue=options.queue,
        idle_seconds=60 * options.idle,
    )
    colorizer = Colorizer.from_pretrained(options.checkpoint, options.device)
    with serve(
        colorizer,
        host=options.host,
        port=options.port or None,
        share=options.share,
        allowed_hosts=options.allowed_host,
        limits=limits,
    ) as app:
        print(f"web app: {app.url}", flush=True)
        if app.share_url:
            print(f"public address: {app.share_url}", flush=True)
        while True:
            time.sleep(3600)
