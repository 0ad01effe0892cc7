"""The command line as tests call it: in process for speed, or as a true process for signals and streams."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from nanogpt_cli.cli import app, console

ROOT = Path(__file__).resolve().parent.parent


class Result(NamedTuple):
    """What one command left behind: `code, out, err = run_cli(...)` works too."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one JSON document of `--json`; fails if anything else is on stdout."""
        return json.loads(self.out)


def run_cli(*args: object, stdin: str | bytes = "") -> Result:
    """Run `nanogpt ARGS` in this process; an exception that escapes is a bug and fails the test."""
    out, err = _text_stream(), _text_stream()
    raw = stdin.encode() if isinstance(stdin, str) else stdin
    console.stderr_console.cache_clear()  # it remembers the terminal of whoever asked first
    try:
        with (
            mock.patch.object(sys, "stdin", _text_stream(raw)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = app.run([str(arg) for arg in args])
    finally:
        console.stderr_console.cache_clear()
    return Result(code, _text_of(out), _text_of(err))


def subprocess_cli(
    *args: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout_seconds: float = 240,
) -> Result:
    """Run `python -m nanogpt_cli ARGS` as a true process; `env` is added to this test's environment."""
    done = subprocess.run(
        [sys.executable, "-m", "nanogpt_cli", *map(str, args)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout_seconds,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def _text_stream(content: bytes = b"") -> io.TextIOWrapper:
    # A wrapper over bytes, as the real streams are: commands may use `.buffer` for raw text.
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="", write_through=True)


def _text_of(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8")
