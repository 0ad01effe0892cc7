"""The version number that each of our JSON files carries: a newer one is not guessed at."""

from collections.abc import Mapping
from pathlib import Path

from nanogpt_cli.errors import NanoGPTError


def check_format_version(path: Path, document: Mapping[str, object], supported: int) -> None:
    """Raise NanoGPTError unless the `format_version` that the file `path` carries is `supported`."""
    version = document.get("format_version")
    if version != supported:
        raise NanoGPTError(
            f"{path} has format version {version}, this nanogpt reads {supported}",
            "pip install --upgrade nanogpt-cli",
        )
