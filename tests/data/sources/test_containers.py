"""Any text arrives as it was, whatever it comes in and whatever size the pieces are read in."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.data.sources import base, byte_stream
from nanogpt_cli.data.sources.base import SourceOptions
from nanogpt_cli.data.sources.open import open_sources
from tests.data.sources.reading import (
    COMPRESS,
    csv_bytes,
    documents,
    jsonl,
    parquet_bytes,
    refusal,
    text,
    zstd,
)

# A NUL byte means binary data in a file; a mark at the beginning is the encoding's, and no text.
TEXTS = st.text(min_size=1).filter(lambda text: "\0" not in text and text[0] != "\ufeff")
LINES = st.lists(st.sampled_from(["a\n", "b\r\n", "c\r", "中文", "\u2028", "\x1c", '"', ",", "é\n"])).map(
    "".join
)
ANY = TEXTS | LINES.filter(bool)
PIECES = st.integers(1, 9)

FILES: dict[str, Callable[[str], bytes]] = {
    "t.txt": lambda text: text.encode(),
    "t.md": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "gzip": lambda text: COMPRESS["gzip"](text.encode()),
    "bzip2": lambda text: COMPRESS["bzip2"](text.encode()),
    "xz": lambda text: COMPRESS["xz"](text.encode()),
    "zstd": lambda text: COMPRESS["zstd"](text.encode()),
    "utf-16": lambda text: ("\ufeff" + text).encode("utf-16-le"),
    "utf-16-be.gz": lambda text: COMPRESS["gzip"](("\ufeff" + text).encode("utf-16-be")),
    "utf-32": lambda text: ("\ufeff" + text).encode("utf-32-be"),
    "t.jsonl": lambda text: jsonl([{"id": 1, "text": text}]),
    "t.ndjson.zst": lambda text: zstd(json.dumps({"text": text}, ensure_ascii=False).encode()),
    "t.json": lambda text: json.dumps([{"text": text}], indent=1).encode(),
    "t.csv": lambda text: csv_bytes([["id", "text"], [1, text]]),
    "t.tsv.xz": lambda text: COMPRESS["xz"](csv_bytes([["text", "n"], [text, 1]], delimiter="\t")),
    "t.parquet": lambda text: parquet_bytes({"text": [text], "id": [1]}),
    "t.parquet.gz": lambda text: COMPRESS["gzip"](parquet_bytes({"text": [text]})),
}


@pytest.mark.parametrize("name", FILES)
@given(content=ANY, piece=PIECES)
def test_a_text_arrives_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: str, piece: int
) -> None:
    path = tmp_path_factory.mktemp("t") / name
    path.write_bytes(FILES[name](content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "PIECE_BYTES", piece)
        patch.setattr(byte_stream, "HEAD_BYTES", 5)
        assert text(path) == content


@given(content=ANY, piece=PIECES, packing=st.sampled_from([None, *COMPRESS]))
def test_standard_input_gives_the_text_as_it_was(content: str, piece: int, packing: str | None) -> None:
    raw = content.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "PIECE_BYTES", piece)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(COMPRESS[packing](raw) if packing else raw)))
        assert text("-") == content


@given(rows=st.lists(st.text(min_size=1), min_size=1, max_size=9), piece=PIECES)
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_rows_arrive_in_order_and_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], kind: str, piece: int
) -> None:
    """Tables other than CSV may hold NUL: there it is a character like any other."""
    if kind == "csv":
        rows = [row.replace("\0", "0") for row in rows]
    raw = {
        "jsonl": lambda: jsonl([{"text": row} for row in rows]),
        "json": lambda: json.dumps([{"text": row} for row in rows]).encode(),
        "csv": lambda: csv_bytes([["text"], *([row] for row in rows)]),
        "parquet": lambda: parquet_bytes({"text": rows}, row_group_size=2),
    }[kind]()
    path = tmp_path_factory.mktemp("t") / f"t.{kind}"
    path.write_bytes(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "PIECE_BYTES", piece)
        assert documents(path) == rows


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("utf-16-be")])
def test_bytes_done_end_at_the_size_of_the_file_in_every_pass(name: str) -> None:
    Path(name).write_bytes(FILES[name]("line\n" * 5000))
    source = open_sources([name])
    for _ in range(2):
        for document in source.documents():
            assert "".join(document) == "line\n" * 5000
            assert 0 < source.done_bytes <= Path(name).stat().st_size
        assert source.done_bytes == source.size_bytes == Path(name).stat().st_size


def test_pieces_are_bounded_whatever_the_container() -> None:
    long = "x" * 3_000_000
    Path("t.txt.gz").write_bytes(COMPRESS["gzip"](long.encode()))
    Path("t.jsonl").write_bytes(jsonl([{"text": long}]))
    for name in ("t.txt.gz", "t.jsonl"):
        (sizes,) = [[len(piece) for piece in document] for document in open_sources([name]).documents()]
        assert sum(sizes) == 3_000_000
        assert max(sizes) <= base.PIECE_BYTES


@pytest.mark.parametrize("packing", COMPRESS)
def test_members_joined_are_one_text(packing: str) -> None:
    compress = COMPRESS[packing]
    Path("t").write_bytes(compress(b"one\n") + compress(b"") + compress("zwölf\n".encode()))
    assert text("t") == "one\nzwölf\n"


def test_a_skippable_frame_before_zstandard_is_skipped() -> None:
    Path("t").write_bytes(b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note" + zstd(b"text"))
    assert text("t") == "text"


@pytest.mark.parametrize("packing", COMPRESS)
@pytest.mark.parametrize("lost", [1, 6, 3000])
def test_a_cut_off_file_is_refused(packing: str, lost: int) -> None:
    raw = COMPRESS[packing]("".join(f"Zeile {n * n}\n" for n in range(4000)).encode())
    Path("t.txt").write_bytes(raw[:-lost] if lost < len(raw) - 40 else raw[:40])
    error = refusal("t.txt")
    assert error.message == f"t.txt is incomplete: its {packing} data ends too early"


@pytest.mark.parametrize("packing", COMPRESS)
def test_a_damaged_file_is_refused(packing: str) -> None:
    raw = bytearray(COMPRESS[packing]("".join(f"Zeile {n * n}\n" for n in range(2000)).encode()))
    if packing == "zstd":
        raw += b"no frame"  # damage inside may go unseen: Arrow writes no checksums
    else:
        middle = len(raw) // 2
        raw[middle : middle + 40] = bytes(byte ^ 0x55 for byte in raw[middle : middle + 40])
    Path("t.txt").write_bytes(raw)
    assert refusal("t.txt").message.startswith(f"t.txt is damaged: its {packing} data cannot be unpacked")


def test_options_of_a_source_that_is_read_again() -> None:
    Path("t.txt").write_bytes("né".encode("cp1252"))
    source = open_sources(["t.txt"], SourceOptions(encoding="cp1252"))
    assert source.repeatable
    assert [["".join(document) for document in source.documents()] for _ in range(2)] == [["né"], ["né"]]
