"""Sources: no byte of a text is lost or translated, and whatever is not text is refused with its place."""

import importlib
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.data.sources import text_file
from nanogpt_cli.data.sources.names import check_name, safe_name
from nanogpt_cli.data.sources.open import open_source
from nanogpt_cli.data.sources.text_file import TextFile
from nanogpt_cli.errors import NanoGPTError, UsageError


def read(path: Path) -> str:
    return "".join(piece for document in open_source(str(path)).documents() for piece in document)


def refusal(path: Path | str) -> NanoGPTError:
    with pytest.raises(NanoGPTError) as caught:
        read(Path(path))
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


@given(text=st.text(min_size=1).filter(lambda text: "\0" not in text), piece=st.integers(1, 7))
def test_text_arrives_whole_whatever_the_piece_size(
    tmp_path_factory: pytest.TempPathFactory, text: str, piece: int
) -> None:
    path = tmp_path_factory.mktemp("text") / "input.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "PIECE_BYTES", max(piece, 4))  # enough for a byte order mark
        assert read(path) == text.removeprefix("\ufeff")


def test_newlines_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_bytes(b"unix\nwindows\r\nold mac\rmixed\n\r")
    assert read(path) == "unix\nwindows\r\nold mac\rmixed\n\r"


def test_byte_order_mark_is_dropped_once(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_bytes(b"\xef\xbb\xbfab\xef\xbb\xbf")
    assert read(path) == "ab\ufeff"


def test_a_source_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_text("twice")
    source = TextFile(path)
    assert ["".join(document) for document in source.documents()] == ["twice"]
    assert ["".join(document) for document in source.documents()] == ["twice"]


@pytest.mark.parametrize("piece", [4, 5, 6, 7, 1 << 20])
@pytest.mark.parametrize(
    ("raw", "offset", "value"),
    [
        (b"abcdefgh\xe9 caf", 8, "E9"),  # Latin-1
        (b"\xef\xbb\xbfabcdefgh\xff", 11, "FF"),  # after a byte order mark
        ("中文中文".encode()[:-1], 9, "E6"),  # ends inside a character
        ("中文中".encode() + b"\xe4\xb8a", 9, "E4"),  # a character broken off
    ],
)
def test_invalid_utf8_names_file_and_offset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: bytes, offset: int, value: str, piece: int
) -> None:
    monkeypatch.setattr(text_file, "PIECE_BYTES", piece)
    path = tmp_path / "input.txt"
    path.write_bytes(raw)
    error = refusal(path)
    assert error.message == f"{path} is not UTF-8: byte {offset} (0x{value}) cannot be decoded"
    assert "iconv -f WINDOWS-1252 -t UTF-8" in error.hint


@pytest.mark.parametrize("piece", [4, 6, 1 << 20])
def test_nul_bytes_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(text_file, "PIECE_BYTES", piece)
    path = tmp_path / "input.bin"
    path.write_bytes("中文中文".encode() + b"\0abc")
    assert refusal(path).message == f"{path} is not text: byte 12 is NUL, as in binary files"


@pytest.mark.parametrize(
    ("head", "what", "command"),
    [
        (b"\x1f\x8b\x08", "gzip-compressed", "gunzip --keep book.dat"),
        (b"\x28\xb5\x2f\xfd", "zstd-compressed", "zstd -d book.dat"),
        (b"\xfd7zXZ\0", "xz-compressed", "xz --decompress --keep book.dat"),
        (b"PK\x03\x04", "a zip archive", "unzip book.dat"),
        (b"%PDF-1.7", "a PDF", "pdftotext book.dat book.txt"),
        ("\ufeffhi".encode("utf-16-le"), "UTF-16 text", "iconv -f UTF-16 -t UTF-8 book.dat > book-utf8.txt"),
        ("\ufeffhi".encode("utf-16-be"), "UTF-16 text", "iconv -f UTF-16 -t UTF-8 book.dat > book-utf8.txt"),
    ],
)
def test_known_formats_get_the_command_that_helps(head: bytes, what: str, command: str) -> None:
    Path("book.dat").write_bytes(head)
    error = refusal("book.dat")
    assert what in error.message
    assert command in error.hint


def test_missing_file_suggests_a_text_that_exists() -> None:
    assert refusal("input.txt").message == "there is no file input.txt"
    assert "nanogpt prepare python-docs" in refusal("input.txt").hint
    Path("inputs.txt").write_text("x")
    Path("another.txt").write_text("x")
    assert refusal("input.txt").hint == "nanogpt prepare inputs.txt --tokenizer char"
    assert "nanogpt prepare python-docs" in refusal("no/such/folder.txt").hint


def test_folder_empty_file_and_device(tmp_path: Path) -> None:
    assert refusal(tmp_path).message == f"{tmp_path} is a folder, not a text file"
    assert f"cat {tmp_path}/*.txt" in refusal(tmp_path).hint
    Path("empty.txt").touch()
    assert refusal("empty.txt").message == "empty.txt is empty"
    if os.name == "posix":
        assert "is not a regular file" in refusal("/dev/null").message


def test_unreadable_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("secret.txt").write_text("x")
    source = open_source("secret.txt")

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(NanoGPTError, match="cannot be read: permission denied"):
        list(next(source.documents()))


# ---- python-docs


def test_python_docs_is_the_running_pythons_own_text() -> None:
    topics = importlib.import_module("pydoc_data.topics").topics
    documents = ["".join(document) for document in open_source("python-docs").documents()]
    assert len(documents) == len(topics)
    assert documents == [topics[name].rstrip() + "\n\n" for name in sorted(topics)]


def test_python_without_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    error = refusal("python-docs")
    assert "installed without pydoc_data" in error.message


# ---- names


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("input", "input"),
        ("my text (1)", "my-text-1"),
        ("红楼梦", "红楼梦"),
        ("a/../b", "a-..-b"),
        ("..", "dataset"),
        ("--help", "help"),
        ("$(rm)", "rm"),
        ("", "dataset"),
    ],
)
def test_safe_names(stem: str, name: str) -> None:
    assert safe_name(stem) == name
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "a b", "-x", ".hidden", "x" * 300, "a\\b"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a dataset") as caught:
        check_name(name)
    assert caught.value.hint.startswith("--name ")
