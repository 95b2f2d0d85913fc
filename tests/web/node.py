"""The page's modules in node: functions that need no browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "pix2color/web/page"


def run_in_node(folder: Path, module: str, body: str, given: Any) -> Any:
    """What `body` returns; it has the module as `page` and plain values as `given`.

    Args:
        folder: a temporary one.
        module: a file of PAGE.
        body: of a JavaScript function.
        given: as JSON.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    copy = folder / "page"
    shutil.copytree(PAGE, copy, dirs_exist_ok=True)
    (copy / "package.json").write_text('{"type": "module"}')
    script = folder / "run.mjs"
    script.write_text(
        'import { readFileSync } from "node:fs";\n'
        f"import * as page from {json.dumps((copy / module).as_uri())};\n"
        'const given = JSON.parse(readFileSync(0, "utf8"));\n'
        f"const result = (() => {{\n{body}\n}})();\n"
        "console.log(JSON.stringify(result));\n"
    )
    done = subprocess.run(
        [node, str(script)], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
