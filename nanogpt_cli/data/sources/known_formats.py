"""Files people take for text that are not, told from their first bytes, and how to get text out of them."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nanogpt_cli.errors import NanoGPTError

PARQUET_MAGIC: Final = b"PAR1"


@dataclass(frozen=True, kw_only=True)
class KnownFormat:
    """A format that is no text: what to call it, and what to type ({path}, {stem} filled in)."""

    name: str
    command: str


_ZIP = KnownFormat(
    name="a zip archive or an office document", command="unzip {path}, or save it as plain text"
)
_IMAGE = KnownFormat(name="a picture", command="get the text out of it with tesseract {path} {stem}")
_MODEL = KnownFormat(name="a model or an array of numbers", command="give the text it was made of")
_PROGRAM = KnownFormat(name="a program", command="give its source text")
_MAGIC: Final = (
    (b"%PDF-", KnownFormat(name="a PDF", command="pdftotext {path} {stem}.txt")),
    (b"PK\x03\x04", _ZIP),
    (b"PK\x05\x06", _ZIP),
    (b"{\\rtf", KnownFormat(name="an RTF document", command="pandoc {path} -t plain -o {stem}.txt")),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        KnownFormat(name="an old Word or Excel document", command="antiword {path} > {stem}.txt"),
    ),
    (b"\x89PNG\r\n", _IMAGE),
    (b"\xff\xd8\xff", _IMAGE),
    (b"GIF87a", _IMAGE),
    (b"GIF89a", _IMAGE),
    (b"7z\xbc\xaf\x27\x1c", KnownFormat(name="a 7z archive", command="7z x {path}")),
    (b"Rar!\x1a\x07", KnownFormat(name="a rar archive", command="unrar x {path}")),
    (b"\x04\x22\x4d\x18", KnownFormat(name="lz4-compressed", command="lz4 -d {path} {stem}.txt")),
    (
        b"SQLite format 3\0",
        KnownFormat(name="a SQLite database", command="sqlite3 {path} .dump > {stem}.sql"),
    ),
    (b"ARROW1\0\0", KnownFormat(name="an Arrow file", command="write it as Parquet, and prepare that")),
    (b"\x93NUMPY", _MODEL),
    (b"\x89HDF\r\n", _MODEL),
    (b"GGUF\x02\0\0\0", _MODEL),
    (b"GGUF\x03\0\0\0", _MODEL),
    (b"\x7fELF", _PROGRAM),
    # Found only where compressed content was unpacked once and is still compressed.
    (b"\x1f\x8b", KnownFormat(name="compressed twice", command="gunzip --keep {path}")),
    (b"\x28\xb5\x2f\xfd", KnownFormat(name="compressed twice", command="zstd -d {path}")),
    (b"\xfd7zXZ\0", KnownFormat(name="compressed twice", command="xz --decompress --keep {path}")),
)
_TAR: Final = KnownFormat(name="a tar archive", command="tar xf {path}, and prepare the folder it gives")


def known_format(head: bytes) -> KnownFormat | None:
    """What the first bytes of a file say it is, where that is no text."""
    for magic, known in _MAGIC:
        if head.startswith(magic):
            return known
    return _TAR if head[257:262] == b"ustar" else None


def refuse(known: KnownFormat, label: str, argument: str) -> NanoGPTError:
    """The error for a file of a known format; `argument` is how the user names it on a command line."""
    stem = Path(argument).stem if argument != "-" else "input"
    hint = known.command.format(path=shlex.quote(argument), stem=shlex.quote(stem))
    return NanoGPTError(f"{label} is {known.name}, not plain text", hint)
