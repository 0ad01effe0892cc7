"""Where text comes from: a file, or a corpus that needs no network. Each is read again for every pass.

A source gives documents, each as pieces of text whose concatenation is the document. No newline is lost or
translated (CRLF stays CRLF), a UTF-8 byte order mark is dropped, and anything that is not UTF-8 text is an
error with the place where it shows.
"""

import codecs
import difflib
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol

from nanogpt_cli.errors import NanoGPTError, UsageError

PIECE_BYTES: Final = 1 << 20
PYTHON_DOCS: Final = "python-docs"

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


class Source(Protocol):
    """Text that can be read as often as needed."""

    @property
    def label(self) -> str:
        """What the user called it."""

    @property
    def dataset_name(self) -> str:
        """The name of a dataset made of it, unless the user gives one."""

    @property
    def kind(self) -> str:
        """`file` or `builtin`, for meta.json."""

    @property
    def collection(self) -> bool:
        """Whether a document's end deserves the end-of-text token; a single text is no collection."""

    @property
    def size_bytes(self) -> int | None:
        """About how much there is to read, for a progress bar."""

    def documents(self) -> Iterator[Iterator[str]]:
        """Every document, as pieces of text in order."""


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


class TextFile:
    """One UTF-8 text file: one document."""

    kind = "file"
    collection = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.label = readable(str(path))
        self.dataset_name = safe_name(path.stem)
        self.size_bytes: int | None = path.stat().st_size

    def documents(self) -> Iterator[Iterator[str]]:
        """The file's text; raises NanoGPTError where it is not UTF-8 text."""
        yield self._pieces()

    def _pieces(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        start = 0  # file offset of the bytes the decoder has not turned into text yet
        try:
            with self.path.open("rb") as file:
                raw = file.read(PIECE_BYTES)
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


class PythonDocs:
    """The language reference that every Python carries in `pydoc_data`: a corpus without a network.

    About 450 kB of English; its exact text depends on the Python version. Topics come in alphabetical order.
    """

    label = PYTHON_DOCS
    dataset_name = PYTHON_DOCS
    kind = "builtin"
    collection = True
    size_bytes: int | None = None

    def documents(self) -> Iterator[Iterator[str]]:
        """One document per topic."""
        try:
            topics: dict[str, str] = import_module("pydoc_data.topics").topics
        except ImportError:
            raise NanoGPTError(
                "this Python was installed without pydoc_data, which holds the corpus python-docs",
                "use a text file instead: nanogpt prepare input.txt --tokenizer char",
            ) from None
        for topic in sorted(topics):
            yield iter([topics[topic].rstrip() + "\n\n"])


def readable(text: str) -> str:
    """Text that UTF-8 can hold: a file name's bytes that are not UTF-8 become U+FFFD."""
    return re.sub(r"[\ud800-\udfff]", "\ufffd", text)


def safe_name(text: str) -> str:
    """A folder name that needs no quoting in any shell: letters of any script, digits, `_`, `.`, `-`."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "dataset"


def check_name(name: str) -> str:
    """`name` if it can be a dataset's; raises UsageError otherwise."""
    if name != safe_name(name) or len(name.encode()) > 200:  # most file systems end at 255 bytes
        raise UsageError(
            f"{name!r} cannot name a dataset: use letters, digits, '_', '-' and '.'",
            f"--name {safe_name(name)[:60]}",
        )
    return name


def _missing_hint(path: Path) -> str:
    folder = path.parent
    texts = sorted(p.name for p in folder.glob("*.txt")) if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, texts, n=1) or texts[:1]
    if near:
        return f"nanogpt prepare {folder / near[0]} --tokenizer char"
    return "check the path, or start with the built-in corpus: nanogpt prepare python-docs --tokenizer char"
