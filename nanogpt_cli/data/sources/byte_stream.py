"""The bytes of a file or of standard input, unpacked where they are compressed, in constant memory.

Compression is told from the first bytes, never from the name. gzip, xz and bzip2 are the standard library's,
Zstandard is Apache Arrow's, which `datasets` brings along. All four read files of several members joined.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import shlex
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

from nanogpt_cli.data.sources.names import readable
from nanogpt_cli.errors import NanoGPTError, os_reason

HEAD_BYTES: Final = 8192  # of the unpacked content, looked at before anything is made of it
_RAW_BUFFER_BYTES: Final = 1 << 18

# Magic numbers: RFC 1952 (gzip), RFC 8878 (Zstandard, and its skippable frames), xz and bzip2 file formats.
_COMPRESSIONS: Final = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
}
_SKIPPABLE_ZSTD: Final = b"\x2a\x4d\x18"  # after one byte 0x50 to 0x5F
STANDARD_INPUT: Final = "standard input"
COMPRESSED_SUFFIXES: Final = (".gz", ".gzip", ".zst", ".zstd", ".xz", ".bz2")


class Meter:
    """How many bytes were read so far, of the file as it lies on the disk."""

    def __init__(self) -> None:
        self.done = 0


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def compression_of(head: bytes) -> str | None:
    """`gzip`, `zstd`, `xz`, `bzip2`, or None."""
    for magic, name in _COMPRESSIONS.items():
        if head.startswith(magic):
            # "BZh" may also begin a text; bzip2 goes on with a level and a block's or the end's magic.
            if name == "bzip2" and head[4:10] not in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"):
                return None
            return name
    if len(head) >= 4 and 0x50 <= head[0] <= 0x5F and head[1:4] == _SKIPPABLE_ZSTD:
        return "zstd"
    return None


class ByteStream:
    """Unpacked bytes with their beginning in `head`; `read` gives all of them, the head included."""

    def __init__(self, file: _Readable, label: str, compression: str | None) -> None:
        self.label = label
        self.argument = "-" if label == STANDARD_INPUT else label  # what the user calls it
        self.compression = compression
        self._file = file
        self.head = self._read_head()
        self._waiting = self.head

    def _read_head(self) -> bytes:
        head = b""
        while len(head) < HEAD_BYTES and (more := self._read(HEAD_BYTES - len(head))):
            head += more
        return head

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`, none at the end; raises NanoGPTError where they are damaged."""
        if self._waiting:
            piece, self._waiting = self._waiting[:size], self._waiting[size:]
            return piece
        return self._read(size)

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except EOFError:
            raise self._cut_short() from None
        except (OSError, zlib.error, lzma.LZMAError) as error:
            if self.compression is None or (isinstance(error, OSError) and error.errno):
                reason = os_reason(error) if isinstance(error, OSError) else str(error)
                raise NanoGPTError(
                    f"{self.label} cannot be read: {reason}", "check the disk it lies on, or copy it again"
                ) from None
            if "Truncated" in str(error):  # Arrow's word
                raise self._cut_short() from None
            if "too much memory" in str(error):  # Zstandard's window of more than 128 MiB
                raise NanoGPTError(
                    f"{self.label} is packed with so long a window that unpacking fills the memory",
                    f"unpack it first: zstd -d --long=31 {shlex.quote(self.argument)}",
                ) from None
            raise NanoGPTError(
                f"{self.label} is damaged: its {self.compression} data cannot be unpacked ({error})",
                "download or copy it again",
            ) from None

    def _cut_short(self) -> NanoGPTError:
        return NanoGPTError(
            f"{self.label} is incomplete: its {self.compression} data ends too early",
            "download or copy it again, to its end",
        )


@contextlib.contextmanager
def open_file(path: Path, meter: Meter) -> Iterator[ByteStream]:
    """The content of a file, unpacked; `meter` follows its bytes on the disk."""
    label = readable(str(path))
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise unreadable(path, error) from None
    with file, _unpacked(_Counted(file, meter), label) as stream:
        yield stream


@contextlib.contextmanager
def open_pipe(file: BinaryIO, meter: Meter) -> Iterator[ByteStream]:
    """What comes through standard input, unpacked."""
    with _unpacked(_Counted(file, meter), STANDARD_INPUT) as stream:
        yield stream


def unreadable(path: Path, error: OSError) -> NanoGPTError:
    """What to say of a file that cannot be opened."""
    if isinstance(error, PermissionError):
        return NanoGPTError(
            f"{path} cannot be read: permission denied", f"chmod u+r {shlex.quote(str(path))}"
        )
    return NanoGPTError(
        f"{path} cannot be read: {os_reason(error)}", f"check it: ls -l {shlex.quote(str(path))}"
    )


@contextlib.contextmanager
def _unpacked(raw: "_Counted", label: str) -> Iterator[ByteStream]:
    compression = compression_of(raw.peek())
    if compression is None:
        yield ByteStream(raw, label, None)
        return
    with contextlib.closing(_decompressor(raw, compression)) as unpacked:
        yield ByteStream(cast("_Readable", unpacked), label, compression)


def _decompressor(raw: "_Counted", compression: str) -> io.BufferedIOBase:
    if compression == "zstd":
        import pyarrow as pa  # here: it takes a moment, and few need it

        return cast("io.BufferedIOBase", pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"))
    buffered = io.BufferedReader(raw, _RAW_BUFFER_BYTES)
    if compression == "gzip":
        return gzip.GzipFile(fileobj=buffered)
    return lzma.LZMAFile(buffered) if compression == "xz" else bz2.BZ2File(buffered)


class _Counted(io.RawIOBase):
    """A file whose first bytes can be looked at, and which counts what is read."""

    def __init__(self, file: io.RawIOBase | BinaryIO, meter: Meter) -> None:
        super().__init__()
        self._file = file
        self._meter = meter
        self._head = b""

    def peek(self) -> bytes:
        """The first 16 bytes, or all where there are fewer."""
        while len(self._head) < 16 and (more := self._file.read(16 - len(self._head))):
            self._head += more
        return self._head

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._head:
            data = self._head if size < 0 else self._head[:size]
            self._head = self._head[len(data) :]
        else:
            data = self._file.read(size) or b""
        self._meter.done += len(data)
        return data

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
