"""What a name on the command line means, the errors for names that cannot be read, and unused options."""

import io
import os
import socket
import sys
from pathlib import Path

import pytest

from nanogpt_cli.data.sources.base import SourceOptions
from nanogpt_cli.data.sources.open import open_sources
from nanogpt_cli.errors import NanoGPTError, UsageError
from tests.data.sources.reading import Notes, documents, jsonl, refusal


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"piped in")))


@pytest.mark.parametrize(
    ("head", "what", "command"),
    [
        (b"PK\x03\x04", "a zip archive or an office document", "unzip book.dat"),
        (b"%PDF-1.7", "a PDF", "pdftotext book.dat book.txt"),
        (b"{\\rtf1 text}", "an RTF document", "pandoc book.dat -t plain -o book.txt"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            "an old Word or Excel document",
            "antiword book.dat > book.txt",
        ),
        (b"\x89PNG\r\n", "a picture", "tesseract book.dat book"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x book.dat"),
        (b"x" * 257 + b"ustar\0", "a tar archive", "tar xf book.dat"),
    ],
)
def test_known_formats_get_the_command_that_helps(head: bytes, what: str, command: str) -> None:
    Path("book.dat").write_bytes(head)
    error = refusal("book.dat")
    assert error.message == f"book.dat is {what}, not plain text"
    assert command in error.hint


def test_missing_file_suggests_a_text_that_exists() -> None:
    assert refusal("input.txt").message == "there is no file input.txt"
    assert "nanogpt prepare python-docs" in refusal("input.txt").hint
    Path("inputs.txt").write_text("x")
    Path("another.txt").write_text("x")
    assert refusal("input.txt").hint == "nanogpt prepare inputs.txt --tokenizer char"
    assert "nanogpt prepare python-docs" in refusal("no/such/folder.txt").hint
    Path("table.csv").write_text("x")
    assert refusal("tabel.csv").hint == "nanogpt prepare table.csv --tokenizer char"


def test_empty_file_and_link_to_nowhere() -> None:
    Path("empty.txt").touch()
    assert refusal("empty.txt").message == "empty.txt is empty"
    if os.name == "posix":
        Path("link").symlink_to("nowhere")
        Path("circle").symlink_to("circle")
        for name in ("link", "circle"):
            assert refusal(name).message == f"{name} is a link to nowhere, or a circle of links"


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices as on Unix")
def test_pipes_sockets_and_devices_are_sent_to_standard_input() -> None:
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    for name in ("pipe", "socket", "/dev/null"):
        error = refusal(name)
        assert error.message.startswith(f"{name} is not a regular file")
        assert error.hint.endswith(
            f"{'command' if name == '/dev/null' else f'cat {name}'} | nanogpt prepare -"
        )


def test_unreadable_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("secret.txt").write_text("x")

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    error = refusal("secret.txt")
    assert error.message == "secret.txt cannot be read: permission denied"
    assert error.hint == "chmod u+r secret.txt"


# ---- standard input


@pytest.mark.usefixtures("piped")
def test_standard_input_is_one_text_read_once() -> None:
    source = open_sources(["-"])
    assert (source.collection, source.repeatable, source.size_bytes, source.kind) == (
        False,
        False,
        None,
        "stdin",
    )
    assert source.dataset_name == "stdin"
    assert ["".join(document) for document in source.documents()] == ["piped in"]
    assert source.done_bytes == len("piped in")
    with pytest.raises(AssertionError):
        next(source.documents())


@pytest.mark.usefixtures("piped")
def test_standard_input_among_others_makes_all_of_them_unrepeatable() -> None:
    Path("a.txt").write_text("a")
    source = open_sources(["a.txt", "-"])
    assert (source.collection, source.repeatable, source.size_bytes) == (True, False, None)
    assert ["".join(document) for document in source.documents()] == ["a", "piped in"]
    assert isinstance(refusal("-", "-"), UsageError)


def test_empty_standard_input_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert refusal("-").message == "standard input is empty"
    monkeypatch.setattr(sys, "stdin", None)
    assert refusal("-").message == "there is no standard input"


def test_standard_input_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for raw, message, hint in (
        (
            b"caf\xe9 au lait",
            "is not UTF-8: byte 3 (0xE9) cannot be decoded",
            "nanogpt prepare - --encoding cp1252",
        ),
        (b"%PDF-1.7", "is a PDF, not plain text", "pdftotext - input.txt"),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        error = refusal("-")
        assert error.message == f"standard input {message}"
        assert hint in error.hint


def test_a_builtin_corpus_wins_over_a_folder_of_its_name_and_says_so() -> None:
    Path("python-docs").mkdir()
    notes = Notes()
    assert len(documents("python-docs", notes=notes)) > 50
    assert notes.notices == ["python-docs is the built-in corpus; the file or folder here is ./python-docs"]


# ---- options


@pytest.mark.parametrize(
    "options",
    [
        {"include": ("*.md",)},
        {"exclude": ("*.md",)},
        {"text_column": "text"},
        {"config": "en"},
        {"split": "train"},
        {"revision": "main"},
        {"streaming": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_an_option_without_a_use_is_refused(options: dict[str, object]) -> None:
    Path("a.txt").write_text("x")
    error = refusal("a.txt", **options)
    flag = "--" + next(iter(options)).replace("_", "-")
    assert isinstance(error, UsageError)
    assert error.message.startswith(f"{flag} is for ")
    assert error.hint == f"leave {flag} out"


def test_an_option_that_one_of_several_sources_uses_is_fine() -> None:
    Path("a.txt").write_text("a")
    Path("t.jsonl").write_bytes(jsonl([{"x": "b", "y": "c"}]))
    assert documents("a.txt", "t.jsonl", text_column="y") == ["a", "c"]
    options = SourceOptions(text_column="y")
    assert open_sources(["a.txt"], options, beside=["t.jsonl"]).label == "a.txt"
    assert refusal("python-docs", encoding="utf-8").hint == "leave --encoding out"


def test_max_docs() -> None:
    Path("t.jsonl").write_bytes(jsonl([{"text": str(number)} for number in range(9)]))
    Path("a.txt").write_text("a")
    assert documents("t.jsonl", "a.txt", max_docs=3) == ["0", "1", "2"]
    assert documents("a.txt", "t.jsonl", max_docs=2) == ["a", "0"]
    assert documents("t.jsonl", max_docs=100) == [str(number) for number in range(9)]
    source = open_sources(["t.jsonl"], SourceOptions(max_docs=2))
    assert [list(document) for _ in range(2) for document in source.documents()] == [["0"], ["1"]] * 2
    assert (source.size_bytes, source.kind, source.collection) == (None, "table", True)
    for wrong in (0, -1):
        with pytest.raises(NanoGPTError, match="--max-docs must be at least 1"):
            open_sources(["a.txt"], SourceOptions(max_docs=wrong))


def test_an_empty_name_is_not_the_current_folder() -> None:
    """`nanogpt prepare "$FILE"` with FILE unset prepared every text in the folder."""
    Path("a.txt").write_text("a")
    for names in ([""], ["a.txt", " "]):
        with pytest.raises(UsageError, match="a source has an empty name"):
            open_sources(names)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("input.txt", "input"),
        ("my text (1).txt", "my-text-1"),
        ("corpus.v2.txt.gz", "corpus.v2"),
        ("rows.jsonl.zst", "rows"),
        ("book", "book"),
        ("sub/deep.md", "deep"),
    ],
)
def test_a_dataset_is_named_after_its_source(path: str, name: str) -> None:
    Path("sub").mkdir()
    Path(path).write_bytes(jsonl([{"text": "x"}]))
    assert open_sources([path]).dataset_name == name


def test_a_folder_names_a_dataset_however_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("my texts")
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    assert open_sources(["my texts"]).dataset_name == "my-texts"
    assert open_sources(["my texts/"]).dataset_name == "my-texts"
    assert open_sources(["my texts/*.txt"]).dataset_name == "my-texts"
    monkeypatch.chdir(folder)
    for name in (".", "./", "*", "../my texts"):
        assert open_sources([name]).dataset_name == "my-texts"
