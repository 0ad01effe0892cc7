"""Encodings: detected where a file says so, chosen where not, and each wrong byte named with its place."""

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.data.sources import base
from nanogpt_cli.data.sources.encoding_guess import likely_encoding
from nanogpt_cli.data.sources.encodings import detect
from nanogpt_cli.errors import UsageError
from tests.data.conftest import TEXTS
from tests.data.sources.reading import COMPRESS, Notes, documents, refusal, text

SAMPLES = {
    "cp1252": "Les élèves étaient à l’école, où l’été “déjà” commençait. Señor, mañana será otro día. Größe.",
    "gb18030": "话说天下大势,分久必合,合久必分。周末七国分争,并入于秦。",
    "big5": "話說天下大勢,分久必合,合久必分。周末七國分爭,併入於秦。",
    "shift_jis": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "euc_jp": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "euc_kr": "모든 국민은 법 앞에 평등하다. 누구든지 성별 종교 또는 사회적 신분에 의하여",
    "cp1251": "Все счастливые семьи похожи друг на друга, каждая несчастливая семья",
    "koi8-r": "Все счастливые семьи похожи друг на друга, каждая несчастливая семья",
    "cp1253": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι",
    "cp1256": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق",
}


@pytest.mark.parametrize("encoding", SAMPLES)
def test_the_hint_names_the_encoding_and_the_command_works(encoding: str) -> None:
    Path("t.txt").write_bytes(SAMPLES[encoding].encode(encoding))
    error = refusal("t.txt")
    assert error.message.startswith("t.txt is not UTF-8: byte ")
    assert f"nanogpt prepare t.txt --encoding {encoding} " in error.hint
    assert text("t.txt", encoding=encoding) == SAMPLES[encoding]


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
    monkeypatch: pytest.MonkeyPatch, raw: bytes, offset: int, value: str, piece: int
) -> None:
    monkeypatch.setattr(base, "PIECE_BYTES", piece)
    Path("t.txt").write_bytes(raw)
    error = refusal("t.txt")
    assert error.message == f"t.txt is not UTF-8: byte {offset} (0x{value}) cannot be decoded"
    assert "nanogpt prepare t.txt --e" in error.hint


@given(
    content=st.text(max_size=40),
    bad=st.sampled_from([b"\xff", b"\xc0", b"\xe9 ", b"\xed\xa0\x80"]),
    piece=st.integers(1, 9),
)
def test_the_offset_is_that_of_the_first_wrong_byte(
    tmp_path_factory: pytest.TempPathFactory, content: str, bad: bytes, piece: int
) -> None:
    raw = content.replace("\0", "").encode()
    path = tmp_path_factory.mktemp("t") / "t.txt"
    path.write_bytes(b"x" + raw + bad)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "PIECE_BYTES", piece)
        assert f": byte {1 + len(raw)} (0x{bad[0]:02X}) " in refusal(path).message


def test_the_offset_in_a_compressed_file_is_that_of_the_unpacked_text() -> None:
    Path("t.gz").write_bytes(COMPRESS["gzip"](b"a" * 70_000 + b"\xff"))
    assert "byte 70,000 (0xFF) of the unpacked text" in refusal("t.gz").message


@pytest.mark.parametrize(("encoding", "piece"), [("gb18030", 3), ("utf-16", 3), ("shift_jis", 1)])
def test_other_encodings_name_the_place_too(
    monkeypatch: pytest.MonkeyPatch, encoding: str, piece: int
) -> None:
    monkeypatch.setattr(base, "PIECE_BYTES", piece)
    good = "日本".encode(encoding)
    Path("t.txt").write_bytes(good + b"\xff")
    assert f"byte {len(good)} (0xFF)" in refusal("t.txt", encoding=encoding).message
    assert "--errors replace" in refusal("t.txt", encoding=encoding).hint


def test_invalid_bytes_can_be_replaced_and_are_counted() -> None:
    Path("t.txt").write_bytes(b"caf\xe9 \0 \xff")
    notes = Notes()
    assert documents("t.txt", errors="replace", notes=notes) == ["caf\ufffd \ufffd \ufffd"]
    assert notes.warnings == ["t.txt: 3 U+FFFD stand where bytes are no text"]


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("language", ["english", "spanish", "french", "chinese"])
def test_utf16_without_a_mark_shows_in_its_zeros(name: str, language: str) -> None:
    content = (TEXTS / f"{language}.txt").read_bytes().decode()
    Path("t.txt").write_bytes(content.encode(name))
    notes = Notes()
    assert documents("t.txt", notes=notes) == [content]
    assert notes.notices == ["t.txt is read as UTF-16, told from its zero bytes"]


@pytest.mark.parametrize(
    "raw",
    [
        b"abc\0def",
        b"ab\0cdef\0",
        b"a\0b\0c",
        bytes(range(65)) * 2,
        b"".join(
            number.to_bytes(2, "little") for number in range(1, 65)
        ),  # nanoGPT's train.bin of characters
        b"".join(
            (number * 7919 % 50257).to_bytes(2, "little") for number in range(4096)
        ),  # and of GPT-2's ids
        b"\x7fELF\2\1\1\0",
    ],
)
def test_binary_data_with_zeros_is_no_utf16(raw: bytes) -> None:
    assert detect(raw, None).name == "utf-8"


@pytest.mark.parametrize("piece", [4, 6, 1 << 20])
def test_nul_bytes_are_no_text(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(base, "PIECE_BYTES", piece)
    Path("t.bin").write_bytes("中文中文".encode() + b"\0abc")
    assert refusal("t.bin").message == "t.bin is not text: byte 12 is NUL, as in binary files"
    Path("t16").write_bytes("\ufeffā中\0b".encode("utf-16-le"))
    assert refusal("t16").message == "t16 is not text: byte 6 is NUL, as in binary files"


@pytest.mark.parametrize(
    "name", ["utf-8", "UTF8", "utf-8-sig", "utf_16", "utf-16-le", "U32", "latin-1", "cp1252"]
)
def test_names_of_encodings_are_pythons_with_or_without_a_mark(name: str) -> None:
    codec = codecs.lookup(name).name
    Path("plain").write_bytes("né".encode(codec.removesuffix("-sig")))
    assert text("plain", encoding=name) == "né"
    if codec.startswith("utf"):
        raw = "\ufeffné".encode(codec.removesuffix("-sig") + ("-le" if codec in ("utf-16", "utf-32") else ""))
        Path("marked").write_bytes(raw)
        assert text("marked", encoding=name) == "né"


@pytest.mark.parametrize(
    ("name", "near"),
    [("utf-9", "utf-8"), ("utf9", "utf8"), ("cp12522", "cp1252"), ("gb1803", "gb18030"), ("sjis8", "sjis")],
)
def test_an_unknown_encoding_is_an_error_with_near_names(name: str, near: str) -> None:
    Path("t.txt").write_text("x")
    error = refusal("t.txt", encoding=name)
    assert isinstance(error, UsageError)
    assert near in error.message
    assert error.hint.startswith("--encoding ")


@pytest.mark.parametrize("name", ["hex", "rot13", "base64", "unicode_escape", "utf-7", "idna", "", "a\0b"])
def test_codecs_that_are_no_encodings_of_files_are_refused(name: str) -> None:
    Path("t.txt").write_text("x")
    assert "there is no encoding" in refusal("t.txt", encoding=name).message


def test_the_byte_order_mark_is_dropped_once_and_newlines_stay() -> None:
    Path("t.txt").write_bytes(b"\xef\xbb\xbfunix\nwindows\r\nmac\rmixed\n\r\xef\xbb\xbf")
    assert text("t.txt") == "unix\nwindows\r\nmac\rmixed\n\r\ufeff"


def test_damaged_utf8_is_not_taken_for_another_encoding() -> None:
    raw = "中文段落".encode() * 50
    assert likely_encoding(raw[:-1], len(raw) - 3) is None
    assert likely_encoding(raw + b"\xff", len(raw)) is None
