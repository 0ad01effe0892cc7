"""The first pass over a text: how much there is, which characters occur, and its checksum.

nanoGPT splits by position, which needs the length first; a character vocabulary needs every character.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from nanogpt_cli.data.char_tokenizer import MAX_CODE_POINTS, code_points
from nanogpt_cli.data.sources.base import Source
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Progress, Reporter


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one pass over a source tells."""

    characters: int
    bytes: int  # of UTF-8
    documents: int
    sha256: str  # of the UTF-8 bytes
    alphabet: str  # every character that occurs, sorted


def survey(source: Source, reporter: Reporter) -> Survey:
    """Read the whole source once, in constant memory."""
    digest = hashlib.sha256()
    seen = np.zeros(MAX_CODE_POINTS, dtype=bool)
    characters = size_bytes = documents = 0
    for document in source.documents():
        documents += 1
        for text in document:
            raw = text.encode("utf-8")
            digest.update(raw)
            seen[code_points(text)] = True
            characters += len(text)
            size_bytes += len(raw)
            reporter.emit(Progress(task="reading", done=size_bytes, total=source.size_bytes, unit="bytes"))
    return Survey(
        characters=characters,
        bytes=size_bytes,
        documents=documents,
        sha256=digest.hexdigest(),
        alphabet=np.flatnonzero(seen).astype("<u4").tobytes().decode("utf-32-le"),
    )


def split_position(found: Survey, val_fraction: float, label: str) -> int:
    """How many characters train gets, as nanoGPT counts; an empty split is an error."""
    position = int(found.characters * (1 - val_fraction))
    if 0 < position < found.characters:
        return position
    which = "training" if position == 0 else "validation"
    if found.characters < 2:
        count = "1 character" if found.characters else "no text"
        raise NanoGPTError(
            f"{label} holds {count}, too little to split into train and val",
            "give a longer text, or try: nanogpt prepare python-docs --tokenizer char",
        )
    raise NanoGPTError(
        f"{label} has only {found.characters} characters: with --val-fraction {val_fraction} "
        f"no {which} text is left",
        "give a longer text, or split it evenly: --val-fraction 0.5",
    )
