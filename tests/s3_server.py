"""An S3 server on this machine, which moto keeps in memory."""

from __future__ import annotations

import functools
import os
import secrets

import pytest


@functools.cache
def _start() -> None:
    """Start it for the rest of the tests of this process, and point s3fs at it."""
    reason = "needs the extra [cloud-test]"
    pytest.importorskip("s3fs", reason=reason)
    server = pytest.importorskip("moto.server", reason=reason).ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    os.environ["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "testing"


def new_s3_url() -> str:
    """The URL of an empty bucket; skips the test where s3fs or moto is missing."""
    _start()
    import s3fs

    bucket = f"bucket-{secrets.token_hex(6)}"
    s3fs.S3FileSystem().mkdir(bucket)
    return f"s3://{bucket}"
