"""Tables: the text column, rows without text, and every fault with its file and line."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.data.sources import base, csv_table, json_blocks, opening, parquet_table, table_file
from nanogpt_cli.errors import NanoGPTError, UsageError
from tests.data.sources.reading import (
    COMPRESS,
    Notes,
    csv_bytes,
    documents,
    jsonl,
    parquet_bytes,
    refusal,
)

ROWS: list[object] = [
    {"id": 1, "text": "one"},
    {"id": 2, "text": None},
    {"id": 3},
    {"text": ""},
    {"text": "two\n"},
]
TABLES = {
    "t.jsonl": jsonl(ROWS),
    "t.json": json.dumps(ROWS, indent=2).encode(),
    "t.csv": csv_bytes([["id", "text"], [1, "one"], [2, ""], [3], [4, ""], [5, "two\n"]]),
    "t.tsv": csv_bytes([["id", "text"], [1, "one"], [2, ""], [3], [4, ""], [5, "two\n"]], delimiter="\t"),
    "t.parquet": parquet_bytes({"id": [1, 2, 3, 4, 5], "text": ["one", None, None, "", "two\n"]}),
}


# ---- the column


@pytest.mark.parametrize("name", TABLES)
def test_the_obvious_column_is_taken_and_said(name: str) -> None:
    Path(name).write_bytes(TABLES[name])
    notes = Notes()
    assert documents(name, notes=notes) == ["one", "two\n"]
    assert notes.notices == [f"the text is column 'text' of {name} (--text-column chooses another)"]
    (warning,) = notes.warnings
    assert warning.startswith(f"column 'text' of {name}: 3 rows without text skipped (")


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_column_lists_those_there_are(name: str) -> None:
    Path(name).write_bytes(TABLES[name])
    error = refusal(name, text_column="txt")
    assert isinstance(error, UsageError)
    assert error.message.startswith(f"{name} has no column 'txt'; it has id")
    assert error.hint == "--text-column text"


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_no_guess_where_nothing_is_obvious(suffix: str) -> None:
    raw = {
        "jsonl": jsonl([{"question": "a", "reply": "b", "n": 1}]),
        "csv": csv_bytes([["question", "reply"], ["a", "b"]]),
        "parquet": parquet_bytes({"question": ["a"], "reply": ["b"], "n": [1]}),
    }[suffix]
    Path(f"t.{suffix}").write_bytes(raw)
    error = refusal(f"t.{suffix}")
    assert error.message.startswith(f"which column of t.{suffix} is the text? It has question, reply")
    assert error.hint == "--text-column question"
    assert documents(f"t.{suffix}", text_column="reply") == ["b"]


def test_the_only_column_of_strings_is_obvious_and_usual_names_win_over_others() -> None:
    Path("one.jsonl").write_bytes(jsonl([{"n": 1, "quote": "q", "x": {"y": 1}}]))
    assert documents("one.jsonl") == ["q"]
    Path("usual.csv").write_bytes(csv_bytes([["title", "url", "Content"], ["t", "u", "c"]]))
    assert documents("usual.csv") == ["c"]


def test_a_column_first_met_after_nulls_and_missing_values() -> None:
    Path("t.jsonl").write_bytes(jsonl([{"id": 1}, {"id": 2, "body": None}, {"id": 3, "body": "x"}]))
    assert documents("t.jsonl") == ["x"]


@pytest.mark.parametrize("column", [None, "messages"])
def test_chats_are_an_error_that_says_how_to_make_text(column: str | None) -> None:
    turns = [{"role": "user", "content": "hi"}]
    Path("t.jsonl").write_bytes(jsonl([{"messages": turns, "id": 1}]))
    Path("t.parquet").write_bytes(parquet_bytes({"messages": [turns], "id": [1]}))
    for name in ("t.jsonl", "t.parquet"):
        error = refusal(name, text_column=column)
        assert error.message == f"column 'messages' of {name} holds lists, as chats do, not text"
    assert "jq -c" in refusal("t.jsonl").hint


def test_a_nested_value_among_texts_is_an_error() -> None:
    Path("t.jsonl").write_bytes(jsonl([{"text": "a"}, {"text": ["b"]}]))
    assert "holds lists, as chats do, not text" in refusal("t.jsonl").message


def test_a_column_that_holds_no_text_at_all() -> None:
    Path("t.jsonl").write_bytes(jsonl([{"id": 1, "text": ""}, {"text": None}]))
    assert refusal("t.jsonl", text_column="text").message.startswith("column 'text' of t.jsonl holds no text")
    Path("n.parquet").write_bytes(parquet_bytes({"id": [1, 2]}))
    assert refusal("n.parquet").message == "n.parquet has no column of text; it has id (int64)"
    assert "holds int64, not text" in refusal("n.parquet", text_column="id").message
    Path("empty.csv").write_bytes(b"text\n")
    assert refusal("empty.csv").message == "column 'text' of empty.csv holds no text"
    Path("blank.jsonl").write_bytes(b"\n\n")
    assert refusal("blank.jsonl").message == "blank.jsonl holds no rows"


# ---- JSON


def test_records_that_are_strings_are_texts() -> None:
    Path("t.json").write_text('["one", "two"]')
    Path("t.jsonl").write_text('"one"\n"two"')
    assert documents("t.json") == documents("t.jsonl") == ["one", "two"]


@pytest.mark.parametrize("piece", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("t.jsonl", '{"text":"a"}\n\n{"text":"b"', "line 3: not JSON (expecting ',' delimiter, column 12)"),
        ("t.jsonl", '{"text":"a"}\n{"text":"b"} x', "line 2: not JSON (extra data, column 13)"),
        ("t.jsonl", '{"text":"a"}\r\n[1]', "line 2: a record must be an object, not lists"),
        ("t.jsonl", '{"text":"a"}\n{"text":"\\ud83d"}', "line 2: half a character (a lone \\ud83d or alike)"),
        ("t.jsonl", '{"text":"a"}\n{"text":' + "9" * 5000 + "}", "line 2: not JSON (Exceeds the limit"),
        ("t.jsonl", '{"text":"a"}\n' + "[" * 200_000, "line 2: not JSON (nested too deeply)"),
        (
            "t.json",
            '[{"text":"a"},\n{"text":"b"\n{"text":"c"}]',
            "line 3: not JSON (expecting ',' delimiter,",
        ),
        ("t.json", '[{"text":"a"},\n{"text":"b"}', "line 2: not JSON (the list ends too early)"),
        ("t.json", '[{"text":"a"}\n{"text":"b"}]', "line 2: not JSON (a comma is missing)"),
        ("t.json", '[{"text":"a"},\n,]', "line 2: not JSON (a record is missing before the comma)"),
        ("t.json", '[{"text":"a"}]\n]', "line 2: not JSON (more follows the end of the list)"),
        ("t.json", '{"text":"a"}\n{"text":"b', "line 2: not JSON (unterminated string"),
    ],
)
def test_faults_of_json_name_the_line(
    monkeypatch: pytest.MonkeyPatch, name: str, raw: str, message: str, piece: int
) -> None:
    monkeypatch.setattr(base, "PIECE_BYTES", max(piece, len(raw) // 5000))
    Path(name).write_text(raw, newline="")
    assert refusal(name).message.startswith(f"{name}, {message}")


def test_half_characters_can_be_replaced() -> None:
    Path("t.jsonl").write_text('{"text":"a\\ud83d!"}\n{"text":"\\ud83d\\ude00"}')
    assert documents("t.jsonl", errors="replace") == ["a\ufffd!", "😀"]


def test_json_objects_in_a_row_and_a_trailing_comma() -> None:
    Path("row.json").write_text('{"text": "a"}\n  {"text": "b"}{"text": "c"}')
    assert documents("row.json") == ["a", "b", "c"]
    Path("comma.json").write_text('[{"text": "a"},]')
    assert documents("comma.json") == ["a"]


def test_a_fault_early_in_a_long_json_list_is_found_without_reading_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "PIECE_BYTES", 100)
    Path("t.json").write_text('[{"text": "a"}, {"text": oops}, ' + '{"text": "b"}, ' * 10_000 + "]")
    given_out = 0
    real = opening.Opening.text

    def counted(self: opening.Opening) -> object:
        nonlocal given_out
        for piece in real(self):
            given_out += len(piece)
            yield piece

    monkeypatch.setattr(opening.Opening, "text", counted)
    assert "not JSON" in refusal("t.json").message
    assert given_out < 10_000


VALUES = st.one_of(
    st.text(),
    st.none(),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.lists(st.text(), max_size=2),
    st.just("\ud83d"),
)
RECORDS = st.lists(st.dictionaries(st.sampled_from(["text", "n", "", "té"]), VALUES), min_size=1, max_size=5)


def outcome(path: Path, block: int) -> tuple[object, ...]:
    """The documents and warnings, or the error, when blocks of so many characters take the fast way."""
    notes = Notes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_blocks, "_FEWEST", block)
        try:
            return (*documents(path, text_column="text", notes=notes), *notes.warnings)
        except NanoGPTError as error:
            return error.message, error.hint


@given(records=RECORDS, ascii_only=st.booleans(), end=st.sampled_from(["\n", "\r\n", "\n\n", " \n", "{}\n"]))
def test_the_fast_way_through_json_lines_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, object]], ascii_only: bool, end: str
) -> None:
    lines = (json.dumps(record, ensure_ascii=ascii_only) for record in records)
    path = tmp_path_factory.mktemp("t") / "t.jsonl"
    path.write_bytes("".join(line + end for line in lines).encode("utf-8", "surrogatepass"))
    assert outcome(path, 1) == outcome(path, 1 << 30)


def test_the_fast_way_is_taken_for_ordinary_lines() -> None:
    rows = [{"id": number, "text": f"Zeile {number}\n"} for number in range(5000)]
    block = jsonl(list(rows)).decode()
    assert json_blocks.column_of(block, "text") == [row["text"] for row in rows]
    assert json_blocks.column_of(block[:1000], "text") is None  # too short to be worth it
    for odd in ('{"text": 5}', '{"text": "a"}{"text": "b"}', '{"text":\n"a"}', "\n", '{"text": "\\ud83d"}'):
        assert json_blocks.column_of(block + odd, "text") is None


def test_a_json_value_too_long_for_a_record_is_not_parsed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("t.json").write_text(json.dumps({"features": list(range(50_000))}))
    monkeypatch.setattr(base, "PIECE_BYTES", 100)
    monkeypatch.setattr(table_file, "_LONGEST_FOUND", 1000)
    assert refusal("t.json", text_column="x").message == "t.json has no column 'x'; it has features (lists)"
    assert documents("*.json") == [Path("t.json").read_text()]


# ---- CSV


CELLS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)


@given(
    rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    piece=st.integers(1, 9),
)
def test_csv_of_any_dialect_gives_its_cells(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    end: str,
    separator: str,
    piece: int,
) -> None:
    raw = csv_bytes(
        [["id", "text"], *map(list, rows)], lineterminator=end, delimiter=separator, quoting=csv.QUOTE_ALL
    )
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "PIECE_BYTES", piece)
        assert documents(path) == [text for _id, text in rows]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("text\nHello, world\n", "t.csv, line 2: 2 fields under a header of 1"),
        ('text,n\n"a\nb",1\nc,d,2\n', "t.csv, line 4: 3 fields under a header of 2"),
        ('text\n"Hello\nworld\n', "t.csv: a quote is opened and never closed"),
        ('text\n"Hello" he said\n', "t.csv, line 2: not CSV (',' expected after '\"')"),
        ("text,text\na,b\n", "t.csv, line 1: two columns are called 'text'"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_faults_of_csv_name_the_line(
    monkeypatch: pytest.MonkeyPatch, raw: str, message: str, end: str, piece: int
) -> None:
    monkeypatch.setattr(base, "PIECE_BYTES", piece)
    Path("t.csv").write_text(raw.replace("\n", end), newline="")
    assert refusal("t.csv").message == message


def test_long_fields_empty_lines_and_trailing_separators() -> None:
    long = "x" * 200_000
    Path("t.csv").write_bytes(csv_bytes([["text", "n"], [long, 1], [], ["b", 2, ""]]))
    assert documents("t.csv") == [long, "b"]


def test_a_field_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "_LONGEST_FIELD", 1000)
    Path("t.csv").write_text('text\n"' + "word\n" * 300)
    assert refusal("t.csv").message == "t.csv: a quote is opened and never closed"
    monkeypatch.setattr(opening, "_LONGEST_LINE", 1000)
    monkeypatch.setattr(base, "PIECE_BYTES", 100)
    Path("l.csv").write_text("text" * 300)
    assert "has a line of more than 1,000 characters" in refusal("l.csv").message


# ---- Parquet


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary()], ids=str
)
def test_every_arrow_type_of_text(kind: pa.DataType) -> None:
    values = ["één", None, "中文", "één"]
    raw = [value and value.encode() for value in values] if kind == pa.binary() else values
    Path("t.parquet").write_bytes(parquet_bytes({"text": pa.array(raw, kind)}))
    assert documents("t.parquet") == ["één", "中文", "één"]


def test_parquet_with_long_rows_is_read_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_table, "_BATCH_BYTES", 10_000)
    sizes = []
    real = parquet_table.ParquetTable._strings

    def counted(self: parquet_table.ParquetTable, column: pa.Array, rows_before: int) -> list[str | None]:
        sizes.append(len(column))
        return real(self, column, rows_before)

    monkeypatch.setattr(parquet_table.ParquetTable, "_strings", counted)
    rows = [f"{number:03}" * 1000 for number in range(50)]
    Path("t.parquet").write_bytes(parquet_bytes({"text": rows, "n": list(range(50))}, use_dictionary=False))
    assert documents("t.parquet") == rows
    assert max(sizes) <= 3


def test_parquet_is_known_by_its_content_and_read_across_row_groups() -> None:
    rows = [f"row {number}" for number in range(1000)]
    Path("data.bin").write_bytes(parquet_bytes({"text": rows}, row_group_size=300))
    assert documents("data.bin") == rows


def test_bytes_that_are_no_text_in_parquet_name_the_row() -> None:
    Path("t.parquet").write_bytes(parquet_bytes({"text": pa.array([b"ok", b"caf\xe9"], pa.binary())}))
    error = refusal("t.parquet")
    assert "t.parquet, row 2 is not UTF-8" in error.message
    assert "byte 3 of its text (0xE9)" in error.message
    assert documents("t.parquet", errors="replace") == ["ok", "caf\ufffd"]


def test_an_encoding_says_nothing_about_parquet() -> None:
    Path("t.parquet").write_bytes(parquet_bytes({"text": ["é"]}))
    notes = Notes()
    assert documents("t.parquet", encoding="cp1252", notes=notes) == ["é"]
    assert notes.warnings == ["t.parquet: text in Parquet is UTF-8, whatever --encoding says"]


def test_damaged_parquet() -> None:
    raw = parquet_bytes({"text": ["a" * 100]})
    Path("t.parquet").write_bytes(raw[:-9])
    assert refusal("t.parquet").message.startswith("t.parquet is damaged or no Parquet (")
    Path("t.parquet.gz").write_bytes(COMPRESS["gzip"](b"no parquet"))
    assert refusal("t.parquet.gz").message.startswith("t.parquet.gz is damaged or no Parquet (")
