"""One UTF-8 text file: whatever is not text is refused with the place where it shows."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nanogpt_cli.data.sources.base import PIECE_BYTES
from nanogpt_cli.data.sources.names import readable, safe_name
from nanogpt_cli.errors import NanoGPTError

# First bytes of files people take for text, and the command that gets the text out of them.
_MAGIC: Final = (
    (b"\x1f\x8b", "gzip-compressed", "gunzip --keep {path}"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "zstd -d {path}"),
    (b"\xfd7zXZ", "xz-compressed", "xz --decompress --keep {path}"),
    (b"PK\x03\x04", "a zip archive or an office document", "unzip {path}, or save it as plain text"),
    (b"%PDF", "a PDF", "pdftotext {path} {stem}.txt"),
    (b"\xff\xfe", "UTF-16 text", "iconv -f UTF-16 -t UTF-8 {path} > {stem}-utf8.txt"),
    (b"\xfe\xff", "UTF-16 text", "iconv -f UTF-16 -t UTF-8 {path} > {stem}-utf8.txt"),
)


class TextFile:
    """One UTF-8 text file: one document."""

    kind = "file"
    collection = False
    repeatable = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.label = readable(str(path))
        self.dataset_name = safe_name(path.stem)
        self.size_bytes: int | None = path.stat().st_size
        self.done_bytes = 0

    def documents(self) -> Iterator[Iterator[str]]:
        """The file's text; raises NanoGPTError where it is not UTF-8 text."""
        yield self._pieces()

    def _pieces(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        start = 0  # file offset of the bytes the decoder has not turned into text yet
        try:
            with self.path.open("rb") as file:
                raw = file.read(PIECE_BYTES)
                self.done_bytes = len(raw)
                self._refuse_known_formats(raw)
                if raw.startswith(codecs.BOM_UTF8):
                    raw, start = raw[len(codecs.BOM_UTF8) :], len(codecs.BOM_UTF8)
                while True:
                    waiting = len(decoder.getstate()[0])
                    yield self._decode(decoder, raw, start - waiting)
                    if not raw:
                        return
                    start += len(raw)
                    raw = file.read(PIECE_BYTES)
                    self.done_bytes += len(raw)
        except PermissionError:
            raise NanoGPTError(
                f"{self.path} cannot be read: permission denied", f"chmod u+r {self.path}"
            ) from None

    def _decode(self, decoder: codecs.IncrementalDecoder, raw: bytes, offset: int) -> str:
        """Text of the next bytes, none of them meaning the end; `offset` is where the waiting bytes began."""
        if (nul := raw.find(b"\0")) >= 0:
            nul += offset + len(decoder.getstate()[0])
            raise NanoGPTError(
                f"{self.path} is not text: byte {nul:,} is NUL, as in binary files",
                "give a UTF-8 text file: nanogpt prepare input.txt --tokenizer char",
            )
        try:
            return decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            value = error.object[error.start]
            raise NanoGPTError(
                f"{self.path} is not UTF-8: byte {offset + error.start:,} (0x{value:02X}) cannot be decoded",
                f"convert it: iconv -f WINDOWS-1252 -t UTF-8 {self.path} > {self.path.stem}-utf8.txt "
                "(GB18030 instead for older Chinese texts)",
            ) from None

    def _refuse_known_formats(self, head: bytes) -> None:
        for magic, what, command in _MAGIC:
            if head.startswith(magic):
                hint = command.format(path=self.path, stem=self.path.stem)
                raise NanoGPTError(f"{self.path} is {what}, not plain UTF-8 text", hint)
