"""Tokenizers: exact round trips, agreement with naive references, and errors that name the culprit."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import requests
import tiktoken
from hypothesis import example, given
from hypothesis import strategies as st

from nanogpt_cli.data.tokenizers import base as tokenizers
from nanogpt_cli.data.tokenizers.base import (
    TOKENIZER_FILE,
    ByteTokenizer,
    CharTokenizer,
    TiktokenTokenizer,
    build_tokenizer,
    load_tokenizer,
    save_tokenizer,
    tokenizer_hash,
)
from nanogpt_cli.errors import NanoGPTError, UsageError

ANY_STRING = st.text(st.characters(exclude_categories=()))  # lone surrogates included


# ---- char


@given(st.text(min_size=1))
def test_char_round_trip(text: str) -> None:
    tokenizer = build_tokenizer("char", text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(ids.tolist()) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert tokenizer.token_bytes()[ids].sum() == len(text.encode())


@given(st.text(min_size=1), st.text())
def test_char_equals_the_naive_reference(vocabulary: str, text: str) -> None:
    tokenizer = build_tokenizer("char", vocabulary)
    stoi = {character: i for i, character in enumerate(sorted(set(vocabulary)))}
    assert tokenizer.vocab_size == len(stoi)
    known = "".join(character for character in text if character in stoi) + vocabulary
    assert tokenizer.encode(known).tolist() == [stoi[character] for character in known]


@given(st.text(min_size=1), ANY_STRING)
@example("abc", "a\udce9b")
def test_char_names_every_unknown_character(vocabulary: str, text: str) -> None:
    unknown = [character for character in dict.fromkeys(text) if character not in vocabulary]
    tokenizer = build_tokenizer("char", vocabulary)
    if not unknown:
        assert len(tokenizer.encode(text)) == len(text)
        return
    with pytest.raises(NanoGPTError) as caught:
        tokenizer.encode(text)
    for character in unknown[:8]:
        assert f"U+{ord(character):04X}" in caught.value.message
    caught.value.message.encode()  # can be printed, lone surrogates or not


def test_char_error_message() -> None:
    tokenizer = build_tokenizer("char", "abc")
    with pytest.raises(NanoGPTError) as caught:
        tokenizer.encode("caféé 中")
    assert caught.value.message == (
        "the prompt has 4 characters the vocabulary does not: "
        "'f' (U+0066), 'é' (U+00E9), ' ' (U+0020), '中' (U+4E2D)"
    )
    assert "--tokenizer byte" in caught.value.hint
    with pytest.raises(NanoGPTError, match=r"^line 3 has a character the vocabulary does not: '\\udce9'"):
        tokenizer.encode("a\udce9", what="line 3")
    with pytest.raises(NanoGPTError, match="U\\+0301 COMBINING ACUTE ACCENT"):
        tokenizer.encode("a\u0301")
    with pytest.raises(NanoGPTError, match="and 18 more"):
        tokenizer.encode("defghijklmnopqrstuvwxyz012")


def test_char_dtype_changes_beyond_65536() -> None:
    characters = "".join(chr(i) for i in range(0x20000) if not 0xD800 <= i <= 0xDFFF)
    assert CharTokenizer(characters[: 1 << 16]).encode(characters[: 1 << 16]).dtype == np.uint16
    larger = CharTokenizer(characters[: (1 << 16) + 1])
    ids = larger.encode(characters[: (1 << 16) + 1])
    assert ids.dtype == np.uint32
    assert ids[-1] == 1 << 16


# ---- byte


@given(st.text())
def test_byte_round_trip(text: str) -> None:
    ids = ByteTokenizer().encode(text)
    assert ids.tolist() == list(text.encode())
    assert ByteTokenizer().decode(ids) == text
    assert ByteTokenizer().decode_bytes(ids) == text.encode()


@given(ANY_STRING)
@example("a\udce9b")  # a byte of the command line that is no UTF-8
@example("\ud83d\ude00")  # both halves of one character
def test_no_string_breaks_byte_or_gpt2(gpt2: TiktokenTokenizer, text: str) -> None:
    """Arguments of a command line may hold lone surrogates (undecodable bytes); tiktoken's rule holds."""
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert ByteTokenizer().decode(ByteTokenizer().encode(text)) == joined
    assert gpt2.decode(gpt2.encode(text)) == joined


def test_half_a_character_decodes_to_the_replacement_character() -> None:
    assert ByteTokenizer().decode([0x61, 0xE4, 0xB8]) == "a�"
    assert ByteTokenizer().decode_bytes([0x61, 0xE4, 0xB8]) == b"a\xe4\xb8"


# ---- gpt2


def test_literal_gpt2_ids(gpt2: TiktokenTokenizer) -> None:
    assert gpt2.encode("hello world").tolist() == [31373, 995]
    assert gpt2.encode("hello world").dtype == np.uint16
    assert (gpt2.vocab_size, gpt2.end_of_text) == (50257, 50256)
    encoding = tiktoken.get_encoding("gpt2")
    assert (encoding.n_vocab, encoding.eot_token) == (gpt2.vocab_size, gpt2.end_of_text)


@given(st.text())
def test_gpt2_round_trip(gpt2: TiktokenTokenizer, text: str) -> None:
    ids = gpt2.encode(text)
    assert ids.tolist() == tiktoken.get_encoding("gpt2").encode_ordinary(text)
    assert gpt2.decode(ids) == text
    assert gpt2.decode_bytes(ids) == text.encode()
    assert gpt2.token_bytes()[ids].sum() == len(text.encode())


def test_special_text_is_ordinary_text(gpt2: TiktokenTokenizer) -> None:
    ids = gpt2.encode("a<|endoftext|>b")
    assert 50256 not in ids
    assert gpt2.decode(ids) == "a<|endoftext|>b"
    assert gpt2.decode([50256]) == "<|endoftext|>"
    assert gpt2.token_bytes()[50256] == 0  # it stands for no text, so it adds nothing to bits per byte


def test_gaps_in_a_vocabulary(gpt2: TiktokenTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """cl100k_base has no token 100256: such an id decodes to U+FFFD, and has no exact bytes."""
    ranks = {bytes([i]): i for i in range(256)}
    gap = tiktoken.Encoding("gap", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens={"<|e|>": 258})
    monkeypatch.setattr("nanogpt_cli.data.tokenizers.tiktoken_names.load_encoding", lambda name: gap)
    tokenizer = TiktokenTokenizer("gap")
    assert (tokenizer.vocab_size, tokenizer.end_of_text) == (259, None)
    assert tokenizer.decode([97, 256, 98]) == "a�b"
    assert tokenizer.token_bytes()[256:].tolist() == [0, 0, 0]
    with pytest.raises(NanoGPTError, match="token id 256 is outside the vocabulary of 259"):
        tokenizer.decode_bytes([97, 256])


@pytest.mark.parametrize("wrong", [-1, 256, 70_000])
def test_ids_beyond_the_vocabulary(gpt2: TiktokenTokenizer, wrong: int) -> None:
    for tokenizer in (ByteTokenizer(), build_tokenizer("char", "abc")):
        assert tokenizer.decode([wrong]) == "�"
        with pytest.raises(NanoGPTError, match=f"token id {wrong} is outside"):
            tokenizer.decode_bytes([wrong])
    assert gpt2.decode([31373, 50300, 995]) == "hello� world"  # a padding row of a 50,304-row embedding
    with pytest.raises(NanoGPTError, match="token id 50300 is outside the vocabulary of 50,257"):
        gpt2.decode_bytes([50300])


def test_empty_text(gpt2: TiktokenTokenizer) -> None:
    for tokenizer in (ByteTokenizer(), build_tokenizer("char", "abc"), gpt2):
        assert tokenizer.encode("").shape == (0,)
        assert tokenizer.decode([]) == ""
        assert tokenizer.decode_bytes([]) == b""


def test_unknown_tokenizer_lists_those_that_exist() -> None:
    with pytest.raises(UsageError) as caught:
        tokenizers.check_tokenizer_name("gtp2")
    assert caught.value.message == "there is no tokenizer 'gtp2'"
    assert "char, byte, " in caught.value.hint
    assert "gpt2" in caught.value.hint


@pytest.mark.parametrize(
    "error", [requests.ConnectionError("no route to host"), ValueError("Hash mismatch"), OSError("")]
)
def test_unreachable_vocabulary(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(tiktoken, "get_encoding", fail)
    with pytest.raises(NanoGPTError) as caught:
        tokenizers.check_tokenizer_name("r50k_base")
    assert caught.value.message.startswith("the r50k_base vocabulary is not on this computer")
    assert "TIKTOKEN_CACHE_DIR" in caught.value.hint


# ---- the file


def test_save_and_load(gpt2: TiktokenTokenizer, tmp_path: Path) -> None:
    for tokenizer in (ByteTokenizer(), build_tokenizer("char", 'a\n\r\x00\u0301中😀\\"'), gpt2):
        path = save_tokenizer(tokenizer, tmp_path)
        assert path == tmp_path / TOKENIZER_FILE
        again = load_tokenizer(tmp_path)
        assert again.to_document() == tokenizer.to_document()
        assert tokenizer_hash(again) == tokenizer_hash(tokenizer)


def test_a_saved_bpe_tokenizer_loads_without_its_vocabulary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training on a prepared dataset must not need the network."""
    save_tokenizer(TiktokenTokenizer("o200k_base", vocab_size=200019, end_of_text=199999), tmp_path)
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: pytest.fail("the vocabulary was loaded"))
    assert load_tokenizer(tmp_path).vocab_size == 200019


def test_another_version_of_a_vocabulary(gpt2: TiktokenTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanogpt_cli.data.tokenizers.tiktoken_names.load_encoding", tiktoken.get_encoding)
    saved = tokenizers.tokenizer_from_document({**gpt2.to_document(), "name": "gpt2"})
    saved.vocab_size = 50281  # type: ignore[misc]
    with pytest.raises(NanoGPTError, match="gpt2 has 50,257 ids, the saved one 50,281"):
        saved.encode("hello")


def test_hash_tells_vocabularies_apart() -> None:
    documents = [build_tokenizer("char", "abc"), build_tokenizer("char", "abd"), ByteTokenizer()]
    assert len({tokenizer_hash(tokenizer) for tokenizer in documents}) == 3
    # Spelt out so that a change of the canonical form, which would orphan checkpoints, is noticed.
    assert tokenizer_hash(ByteTokenizer()) == hashlib.sha256(b'{"kind":"byte","name":"byte"}').hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no nanogpt_tokenizer.json"),
        ("{", "is damaged: not JSON"),
        ("[" * 100_000, "is damaged: not JSON"),
        ('{"version": "1.0", "model": {}}', "is not a nanogpt tokenizer"),
        ({"format_version": 2}, "has format version 2, this nanogpt reads 1"),
        ({"kind": "morse"}, "unknown kind 'morse'"),
        ({"kind": "char", "characters": "aba"}, "its characters are not distinct"),
        ({"kind": "char", "characters": ""}, "its characters are not distinct"),
        ({"kind": "char", "characters": "a\ud800"}, "half a surrogate pair"),
        ({"kind": "tiktoken", "name": "x", "vocab_size": 0, "end_of_text": None}, "sizes make no sense"),
    ],
)
def test_damaged_tokenizer_file(tmp_path: Path, content: object, message: str) -> None:
    if isinstance(content, dict):
        content = json.dumps({"format": "nanogpt-tokenizer", "format_version": 1, **content})
    if content is not None:
        (tmp_path / TOKENIZER_FILE).write_text(str(content))
    with pytest.raises(NanoGPTError, match=message) as caught:
        load_tokenizer(tmp_path)
    assert caught.value.hint
