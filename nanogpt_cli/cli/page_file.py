"""Writes a report where the user wants it: whole or not at all, and never over what is no page."""

import sys
from pathlib import Path

from nanogpt_cli.cli import console
from nanogpt_cli.errors import NanoGPTError, UsageError, os_reason
from nanogpt_cli.files import write_atomic


def check_page(target: str) -> None:
    """Refuse, before anything is read, a target that cannot or must not be written.

    An earlier report is replaced without asking; anything else of that name is somebody's log or text, and
    most likely named by mistake.
    """
    path = Path(target)
    if target == "-":
        return
    if path.is_dir():
        raise UsageError(f"--html {target} is a folder", f"name a file: --html {path / 'report.html'}")
    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} of --html {target} is missing", f"mkdir -p {path.parent}")
    if path.exists() and not _is_page(path):
        raise UsageError(
            f"--html {target} would replace a file that is no HTML page",
            "name another file: --html report.html",
        )


def write_page(page: str, target: str, *, language: str, quiet: bool) -> None:
    """The page to `target`, or to stdout for "-"."""
    from nanogpt_cli.explain.catalogue import load_catalogue

    if target == "-":
        sys.stdout.buffer.write(page.encode("utf-8"))
        sys.stdout.flush()
        return
    path = Path(target)
    try:
        write_atomic(path, page)
    except OSError as error:
        raise NanoGPTError(
            f"{path} cannot be written: {os_reason(error)}", "name another file: --html FILE"
        ) from error
    words = load_catalogue(language)
    console.note(words.text("page", "wrote", path=str(path), kilobytes=len(page) / 1000), quiet=quiet)


def _is_page(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(100).lstrip()
    except OSError:
        return False  # what cannot be read is not ours
    return not start or start[:14].lower() == b"<!doctype html"
