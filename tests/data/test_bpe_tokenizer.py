"""Byte-pair vocabularies of our own: learnt from a text, exact both ways, saved whole, and checked."""

import base64
import concurrent.futures
import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from nanogpt_cli.data.tokenizers import bpe_training
from nanogpt_cli.data.tokenizers.base import TOKENIZER_FILE, load_tokenizer, save_tokenizer, tokenizer_hash
from nanogpt_cli.data.tokenizers.bpe import BpeTokenizer
from nanogpt_cli.data.tokenizers.bpe_training import default_vocab_size, train_bpe
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Notice, NullReporter
from tests.data.conftest import Recorder
from tests.data.tokenizer_samples import ANY_TEXT, CORPUS, SPECIAL, trained

END = ("<|endoftext|>",)


def learn(text: str, vocab_size: int | None = None, **options: Any) -> BpeTokenizer:
    settings = {"pattern": "gpt4", "special_tokens": END, "reporter": NullReporter()} | options
    return train_bpe([text], vocab_size=vocab_size, **settings)


# ---- learning


def test_the_first_merges_are_the_commonest_pairs() -> None:
    """By hand: "ab" six times, then "abc" four times (twice "abd"); pairs never reach across words."""
    tokenizer = learn("abc abc abc abc abd abd", 300)
    merged = [token for token in tokenizer._tokens if token and len(token) > 1]
    assert merged[0] == b"ab"
    assert set(merged) == {b"ab", b" ab", b" abc", b" abd"}
    assert tokenizer.encode("abc abd").tolist() == [256, ord("c"), merged.index(b" abd") + 256]


def test_a_merge_joins_two_earlier_tokens() -> None:
    known: set[bytes] = set()
    for token in trained()._tokens:
        assert token is not None
        assert len(token) == 1 or any({token[:i], token[i:]} <= known for i in range(1, len(token)))
        known.add(token)


def test_ids_are_bytes_then_merges_then_special_tokens() -> None:
    tokenizer = trained("gpt4", 700)
    assert tokenizer.vocab_size == 700
    assert tokenizer._tokens[:256] == [bytes([i]) for i in range(256)]
    assert tokenizer.special_tokens == {name: 696 + i for i, name in enumerate(SPECIAL)}
    assert tokenizer.end_of_text == 696
    assert tokenizer.decode([696, 697]) == "<|endoftext|><|im_start|>"
    assert tokenizer.encode("é").dtype == np.uint16
    lengths = tokenizer.token_bytes()
    assert lengths.shape == (700,)
    assert lengths[:256].tolist() == [1] * 256
    assert lengths[696:].tolist() == [0] * 4


def test_the_same_text_gives_the_same_vocabulary() -> None:
    first, second = learn(CORPUS * 3, 900), learn(CORPUS * 3, 900)
    assert tokenizer_hash(first) == tokenizer_hash(second)
    others = [learn(CORPUS * 3, 899), learn(CORPUS * 3, 900, pattern="gpt2"), trained()]
    assert len({tokenizer_hash(tokenizer) for tokenizer in (first, *others)}) == 4


def test_patterns_split_otherwise() -> None:
    text = "12345 " * 50
    assert max(map(len, filter(None, learn(text, 300, pattern="gpt2")._tokens))) == len(" 12345")
    assert max(map(len, filter(None, learn(text, 300, pattern="gpt4")._tokens))) == len("123")


def test_too_little_text_gives_fewer_ids_and_says_so(recorder: Recorder) -> None:
    tokenizer = learn("to be or not to be", 5000, reporter=recorder)
    assert 257 < tokenizer.vocab_size < 270
    (notice,) = [event.message for event in recorder.events if isinstance(event, Notice)]
    assert f"{tokenizer.vocab_size} ids instead of 5,000" in notice
    assert learn("x", 257).vocab_size == 257


def test_the_default_size_fits_the_text_and_is_said(recorder: Recorder) -> None:
    sizes = [default_vocab_size(size) for size in (1, 10**6, 1_115_394, 10**7, 10**8, 10**12)]
    assert sizes == [512, 512, 1024, 8192, 32768, 32768]
    tokenizer = learn(CORPUS, reporter=recorder)
    assert tokenizer.vocab_size == 512
    (notice,) = [event.message for event in recorder.events if isinstance(event, Notice)]
    assert notice.startswith("--vocab-size 512 chosen for")


def test_no_text_is_an_error() -> None:
    with pytest.raises(NanoGPTError, match="no text to train a bpe tokenizer on"):
        learn("")


def test_memory_bounds_what_is_learnt_from(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    """Text whose words hardly repeat, such as Chinese, is sampled more thinly, but from everywhere."""
    monkeypatch.setattr(bpe_training, "_DISTINCT_WORD_BYTES", 3000)
    pieces = [f"{chr(0x4E00 + i)}{chr(0x4E00 + i)}" * 50 for i in range(100)]  # 300 bytes in one word each
    used = bpe_training._within_memory(pieces, 30_000)
    assert len(used) == 10
    assert used == bpe_training._within_memory(pieces, 30_000)
    assert max(pieces.index(piece) for piece in used) > 50 > min(pieces.index(piece) for piece in used)
    train_bpe(pieces, vocab_size=300, pattern="gpt4", special_tokens=END, reporter=recorder)
    assert recorder.progress[-1].done == recorder.progress[-1].total == 3000


@pytest.mark.parametrize("text", ["ab" * 200_000, " " * 400_000, "<>" * 200_000, "b" + "\n \n" * 130_000])
def test_a_word_of_any_length_is_learnt_from_quickly(text: str) -> None:
    """A merge inside a word takes time in proportion to its length: 3 MB of blanks took 15 seconds."""
    tokenizer = learn(text, 300, pattern="gpt2")
    assert max(map(len, filter(None, tokenizer._tokens))) <= 256
    parts = list(bpe_training._without_long_words(text))
    assert "".join(parts) == text
    assert max(map(len, parts)) <= 257


# ---- both ways


@given(ANY_TEXT)
def test_round_trip(text: str) -> None:
    for pattern in ("gpt4", "gpt2"):
        tokenizer = trained(pattern)
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode_bytes(ids) == text.encode()
        assert tokenizer.token_bytes()[ids].sum() == len(text.encode())
        assert not set(ids.tolist()) & set(tokenizer.special_tokens.values())


def test_text_that_spells_a_special_token_is_text() -> None:
    tokenizer = trained()
    for name in SPECIAL:
        ids = tokenizer.encode(f"a{name}b {name}")
        assert not set(ids.tolist()) & set(tokenizer.special_tokens.values())
        assert tokenizer.decode(ids) == f"a{name}b {name}"


@given(ANY_TEXT)
def test_encoding_is_the_plain_algorithm(text: str) -> None:
    """Within a word: join the neighbours of the lowest rank, the leftmost first, until none are left."""
    tokenizer = trained()
    ranks = {token: i for i, token in enumerate(tokenizer._tokens)}
    for word in text.split(" "):
        if not word.isalpha() or not word:
            continue
        parts = [bytes([byte]) for byte in word.encode()]
        while len(parts) > 1:
            joined = [ranks.get(a + b, 1 << 30) for a, b in itertools.pairwise(parts)]
            best = joined.index(min(joined))
            if joined[best] == 1 << 30:
                break
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        assert tokenizer.encode(word).tolist() == [ranks[part] for part in parts]


def test_threads_share_one_tokenizer() -> None:
    tokenizer = learn(CORPUS, 400)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: tokenizer.encode(CORPUS).tolist(), range(16)))
    assert results == [tokenizer.encode(CORPUS).tolist()] * 16


# ---- the file


def test_the_file_gives_the_same_tokenizer(tmp_path: Path) -> None:
    tokenizer = trained("gpt2")
    path = save_tokenizer(tokenizer, tmp_path)
    again = load_tokenizer(tmp_path)
    assert isinstance(again, BpeTokenizer)
    assert tokenizer_hash(again) == tokenizer_hash(tokenizer)
    assert again.encode(CORPUS).tolist() == tokenizer.encode(CORPUS).tolist()
    assert (again.end_of_text, again.pattern) == (tokenizer.end_of_text, "gpt2")
    assert path.stat().st_size < 12 * tokenizer.vocab_size


def change(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        document[key] = value

    return edit


def replace_tokens(*edits: tuple[int, bytes]) -> Callable[[dict[str, Any]], None]:
    """Other tokens, with the right checksum."""

    def edit(document: dict[str, Any]) -> None:
        words = document["tokens"].split(" ")
        for i, token in edits:
            words[i] = base64.b64encode(token).decode()
        document["tokens"] = " ".join(words)
        document["sha256"] = hashlib.sha256(document["tokens"].encode()).hexdigest()

    return edit


def not_base64(document: dict[str, Any]) -> None:
    document["tokens"] += " ???"
    document["sha256"] = hashlib.sha256(document["tokens"].encode()).hexdigest()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda document: document.pop("pattern"), "a part of the bpe vocabulary is missing"),
        (change("pattern", "(a+)+"), "its pattern '(a+)+' is none of gpt2, gpt4"),
        (lambda document: change("tokens", document["tokens"][:-4])(document), "their checksum differs"),
        (not_base64, "its tokens are not Base64"),
        (replace_tokens((300, b"zz"), (301, b"zz")), "two of its ids stand for the same bytes"),
        (replace_tokens((65, b"zzz")), "1 of the 256 bytes have no id"),
        (change("vocab_size", 701), "it says 701 ids and has 700"),
        (change("special_tokens", {"<|endoftext|>": 5}), "two of its tokens have the same id"),
        (change("special_tokens", {"<|endoftext|>": 1 << 40}), "impossible ids"),
        (change("special_tokens", {"<|endoftext|>": "696"}), "impossible ids"),
        (change("end_of_text", 5), "its end of text, id 5, is no special token"),
        (change("end_of_text", -1), "outside the vocabulary of 700"),
        (change("name", "gpt2"), "it is called gpt2, and its tokens are others"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, edit: Callable[[Any], object], message: str) -> None:
    path = save_tokenizer(trained(), tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    edit(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(NanoGPTError) as caught:
        load_tokenizer(tmp_path)
    assert str(tmp_path / TOKENIZER_FILE) in caught.value.message
    assert message in caught.value.message
    assert caught.value.hint
