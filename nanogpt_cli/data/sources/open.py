"""From what a command line names to a source that can be read."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from nanogpt_cli.data.sources.base import Source, SourceOptions
from nanogpt_cli.data.sources.python_docs import PYTHON_DOCS, PythonDocs
from nanogpt_cli.data.sources.text_file import TextFile
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Reporter


def open_sources(
    names: Sequence[str], options: SourceOptions | None = None, reporter: Reporter | None = None
) -> Source:
    """The source that `names` are together; what cannot be read at all is an error here."""
    (name,) = names
    return open_source(name)


def open_source(source: str) -> Source:
    """The source that a command line names; what cannot be read at all is an error here."""
    if source == PYTHON_DOCS:
        return PythonDocs()
    path = Path(source)
    if path.is_dir():
        raise NanoGPTError(
            f"{path} is a folder, not a text file",
            f"join its texts into one file: cat {path}/*.txt > input.txt && nanogpt prepare input.txt",
        )
    if not path.exists():
        raise NanoGPTError(f"there is no file {path}", _missing_hint(path))
    if not path.is_file():
        raise NanoGPTError(
            f"{path} is not a regular file, and it must be read twice",
            f"save it first: cat {path} > input.txt && nanogpt prepare input.txt",
        )
    if path.stat().st_size == 0:
        raise NanoGPTError(
            f"{path} is empty", "put some text into it, or try: nanogpt prepare python-docs --tokenizer char"
        )
    return TextFile(path)


def _missing_hint(path: Path) -> str:
    folder = path.parent
    texts = sorted(p.name for p in folder.glob("*.txt")) if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, texts, n=1) or texts[:1]
    if near:
        return f"nanogpt prepare {folder / near[0]} --tokenizer char"
    return "check the path, or start with the built-in corpus: nanogpt prepare python-docs --tokenizer char"
