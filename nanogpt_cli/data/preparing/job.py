"""A preparation under way, as `job.json` in its folder keeps it: what a resumed one need not find out again.

{"format": "nanogpt-prepare", "format_version": 1, "request": …, "cut": how texts are cut into chunks,
 "tokenizer_sha256", "surveys": one for each source, "splits": likewise, "ids_used", "mark": …}
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from nanogpt_cli import files
from nanogpt_cli.data.binfile import dtype_for
from nanogpt_cli.data.preparing import streaming
from nanogpt_cli.data.preparing.mark import Mark, mark_from_document
from nanogpt_cli.data.preparing.request import Request
from nanogpt_cli.data.preparing.splitting import Split, split_from_document
from nanogpt_cli.data.preparing.survey import Survey
from nanogpt_cli.data.sources import base
from nanogpt_cli.data.tokenizers.base import Tokenizer, load_tokenizer, tokenizer_hash
from nanogpt_cli.errors import NanoGPTError

JOB_FILE: Final = "job.json"
_FORMAT: Final = "nanogpt-prepare"
_FORMAT_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that is decided before the first token is written."""

    request: Request
    tokenizer: Tokenizer
    surveys: Sequence[Survey]  # of the sources, and of the validation text where there is one
    splits: Sequence[Split]
    ids_used: int | None  # where it is known beforehand how many distinct ids will occur

    def save(self, folder: Path, mark: Mark) -> None:
        """Note in `folder` how far the job has come; the tokenizer must lie there already."""
        files.write_json(
            folder / JOB_FILE,
            {
                "format": _FORMAT,
                "format_version": _FORMAT_VERSION,
                "request": self.request.to_document(),
                "cut": _cut(),
                "tokenizer_sha256": tokenizer_hash(self.tokenizer),
                "surveys": [asdict(found) for found in self.surveys],
                "splits": [split.to_document() for split in self.splits],
                "ids_used": self.ids_used,
                "mark": mark.to_document(),
            },
        )


def load_job(folder: Path, request: Request) -> tuple[Job, Mark] | None:
    """The job in `folder`, if it is what `request` asks for and can go on; None for everything else."""
    try:
        document: Any = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
        expected = (_FORMAT, _FORMAT_VERSION, request.to_document(), _cut())
        if tuple(document[key] for key in ("format", "format_version", "request", "cut")) != expected:
            return None
        tokenizer = load_tokenizer(folder)
        if tokenizer_hash(tokenizer) != document["tokenizer_sha256"]:
            return None
        job = Job(
            request=request,
            tokenizer=tokenizer,
            surveys=[Survey(**raw) for raw in document["surveys"]],
            splits=[split_from_document(raw) for raw in document["splits"]],
            ids_used=document["ids_used"],
        )
        mark = mark_from_document(document["mark"])
        return (job, mark) if _files_are_there(folder, tokenizer, mark) else None
    except (OSError, ValueError, KeyError, TypeError, NanoGPTError):
        return None  # nothing to resume: it is done again from the beginning


def _files_are_there(folder: Path, tokenizer: Tokenizer, mark: Mark) -> bool:
    item_bytes = dtype_for(tokenizer.vocab_size).itemsize
    return all(
        (folder / f"{name}.bin").stat().st_size >= side.tokens * item_bytes
        for name, side in (("train", mark.train), ("val", mark.val))
    )


def _cut() -> list[int]:
    """What decides where chunks begin: the mark counts them."""
    return [streaming.CHUNK_CHARACTERS, base.PIECE_BYTES]
