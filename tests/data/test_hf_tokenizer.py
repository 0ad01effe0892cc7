"""Hugging Face's tokenizer.json: the same ids as the library gives, through tiktoken where that is proven."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from tokenizers import Tokenizer, pre_tokenizers

from nanogpt_cli.data.tokenizers.base import (
    TOKENIZER_FILE,
    TiktokenTokenizer,
    load_tokenizer,
    save_tokenizer,
    tokenizer_hash,
)
from nanogpt_cli.data.tokenizers.bpe import BpeTokenizer
from nanogpt_cli.data.tokenizers.hf import HfTokenizer
from nanogpt_cli.data.tokenizers.hf_reader import read_hf_tokenizer
from nanogpt_cli.data.tokenizers.word_patterns import PATTERNS
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Notice, NullReporter
from tests.data.conftest import Recorder
from tests.data.tokenizer_samples import (
    ANY_TEXT,
    CORPUS,
    SPECIAL,
    TRICKY,
    byte_fallback,
    hugging_face,
    split_by,
    write_json,
)
from tests.gpt2_vocabulary import gpt2_files

DIGITS = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)


@pytest.fixture(scope="module")
def gpt2_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2's tokenizer.json, made of its two older files as transformers does."""
    folder = gpt2_files()
    lines = (folder / "vocab.bpe").read_text(encoding="utf-8").splitlines()
    document = hugging_face(pre_tokenizers.ByteLevel(add_prefix_space=False), special=())
    document["model"]["vocab"] = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    document["model"]["merges"] = lines[1:]
    document["added_tokens"] = [{"id": 50256, "content": "<|endoftext|>", "special": True}]
    return write_json(document, tmp_path_factory.mktemp("gpt2") / "tokenizer.json")


def read(document: object, reporter: Any = None) -> BpeTokenizer | HfTokenizer:
    return read_hf_tokenizer(write_json(document), reporter or NullReporter())


def library_ids(document: dict[str, Any], text: str) -> list[int]:
    """What the library gives for a text without its special tokens."""
    plain = Tokenizer.from_str(json.dumps(document | {"added_tokens": []}))
    ids: list[int] = plain.encode(text, add_special_tokens=False).ids
    return ids


@pytest.mark.parametrize("name", PATTERNS)
def test_a_byte_level_bpe_becomes_ranks(name: str) -> None:
    document = hugging_face(split_by(PATTERNS[name].known[0]))
    tokenizer = read(document)
    assert isinstance(tokenizer, BpeTokenizer)
    assert (tokenizer.name, tokenizer.pattern, tokenizer.vocab_size) == ("hf", name, 700)
    assert tokenizer.special_tokens == {special: i for i, special in enumerate(SPECIAL)}
    assert tokenizer.end_of_text == 0

    @given(ANY_TEXT)
    def check(text: str) -> None:
        ids = tokenizer.encode(text).tolist()
        assert ids == library_ids(document, text)
        assert tokenizer.decode(ids) == text

    check()


def test_gpt2s_own_file_is_gpt2(gpt2: TiktokenTokenizer, gpt2_json: Path) -> None:
    tokenizer = read_hf_tokenizer(gpt2_json, NullReporter())
    assert isinstance(tokenizer, BpeTokenizer)
    assert (tokenizer.name, tokenizer.vocab_size, tokenizer.end_of_text) == ("gpt2", 50257, 50256)
    assert tokenizer_hash(tokenizer) == tokenizer_hash(gpt2)
    assert tokenizer.encode(CORPUS).tolist() == gpt2.encode(CORPUS).tolist()
    save_tokenizer(tokenizer, Path())
    assert tokenizer_hash(load_tokenizer(Path())) == tokenizer_hash(gpt2)


def test_all_merges_of_every_token_as_llama3_has_them() -> None:
    """Llama 3's file lists each way to join a token from two others, and looks whole words up first."""
    document = hugging_face(split_by(PATTERNS["llama3"].known[0]), special=())
    vocab = document["model"]["vocab"]
    merges = [
        [token[:i], token[i:]]
        for token in sorted(vocab, key=vocab.__getitem__)
        for i in range(1, len(token))
        if token[:i] in vocab and token[i:] in vocab
    ]
    assert len(merges) > len(document["model"]["merges"])
    document["model"] |= {"merges": merges, "ignore_merges": True}
    # A word that no merges give; only looking it up finds it.
    vocab["ĠÂĠÂĠÂ"] = 700
    document["added_tokens"] = [
        {"id": 701, "content": "<|begin_of_text|>", "special": True},
        {"id": 702, "content": "<|end_of_text|>", "special": True},
    ]
    tokenizer = read(document)
    assert isinstance(tokenizer, BpeTokenizer)
    assert (tokenizer.vocab_size, tokenizer.end_of_text) == (703, 702)
    assert tokenizer.encode(CORPUS).tolist() == library_ids(document, CORPUS)


def swap_two_merges(document: dict[str, Any]) -> None:
    merges = document["model"]["merges"]
    merges[10], merges[11] = merges[11], merges[10]


def drop_a_merge(document: dict[str, Any]) -> None:
    """Its token stays in the vocabulary, and tiktoken would go on joining it."""
    del document["model"]["merges"][10]


def unreachable_word(document: dict[str, Any]) -> None:
    document["model"]["vocab"]["zzqqxx"] = 700


def own_splitting(document: dict[str, Any]) -> None:
    document["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\w+|\W+"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (swap_two_merges, "its ids do not rise in the order of its merges"),
        (drop_a_merge, "in two tokens, and tiktoken would join them"),
        (unreachable_word, "its merges never give 'zzqqxx', and tiktoken would"),
        (own_splitting, "it splits words in a way of its own"),
    ],
)
def test_what_is_not_proven_is_run_by_the_library(
    edit: Callable[[dict[str, Any]], None], reason: str, recorder: Recorder
) -> None:
    document = hugging_face()
    edit(document)
    tokenizer = read(document, recorder)
    assert isinstance(tokenizer, HfTokenizer)
    (notice,) = [event.message for event in recorder.events if isinstance(event, Notice)]
    assert reason in notice
    assert tokenizer.encode(CORPUS).tolist() == library_ids(document, CORPUS)


@pytest.mark.parametrize("kind", ["digits", "bytes"])
def test_the_librarys_own_keep_every_text(kind: str) -> None:
    tokenizer = read(hugging_face(DIGITS) if kind == "digits" else byte_fallback())
    assert isinstance(tokenizer, HfTokenizer)
    control = set(tokenizer.special_tokens.values())
    assert control

    @given(ANY_TEXT)
    def check(text: str) -> None:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode_bytes(ids) == text.encode()
        assert tokenizer.token_bytes()[ids].sum() == len(text.encode())
        assert not set(ids.tolist()) & control

    check()

    @given(TRICKY, TRICKY)
    def cut_anywhere(text: str, what_follows: str) -> None:
        whole = text * 5
        cut = tokenizer.safe_cut(whole)
        parts = [
            *tokenizer.encode(whole[:cut]).tolist(),
            *tokenizer.encode(whole[cut:] + what_follows).tolist(),
        ]
        assert parts == tokenizer.encode(whole + what_follows).tolist()

    cut_anywhere()
    assert len(CORPUS) - tokenizer.safe_cut(CORPUS) < 200


def test_bytes_stand_in_for_what_a_vocabulary_of_characters_lacks(recorder: Recorder) -> None:
    tokenizer = read(byte_fallback(), recorder)
    ids = byte_fallback()["model"]["vocab"]
    expected = ["▁the", "▁", "c", "a", "t", "▁", "<0x5A>", "中", "<0xE2>", "<0x96>", "<0x81>"]
    assert tokenizer.encode(" the cat Z中▁").tolist() == [ids[name] for name in expected]
    assert tokenizer.end_of_text == 2
    notices = [event.message for event in recorder.events if isinstance(event, Notice)]
    assert "the space it puts before every text is left out" in notices[0]


@pytest.mark.parametrize("kind", ["ranks", "library", "bytes"])
def test_text_that_spells_a_special_token_is_text(kind: str) -> None:
    document = byte_fallback() if kind == "bytes" else hugging_face(DIGITS if kind == "library" else None)
    tokenizer = read(document)
    for name in [*SPECIAL, *tokenizer.special_tokens, "<0x41>"]:
        ids = tokenizer.encode(f"a{name}b {name}")
        assert not set(ids.tolist()) & set(tokenizer.special_tokens.values())
        assert tokenizer.decode(ids) == f"a{name}b {name}"
    control = next(iter(tokenizer.special_tokens.items()))
    assert tokenizer.decode([control[1]]) == control[0]
    assert tokenizer.token_bytes()[control[1]] == 0


def test_a_word_that_is_also_a_special_token_never_becomes_one() -> None:
    document = hugging_face()
    word = next(token for token in document["model"]["vocab"] if token.isalpha() and len(token) > 2)
    document["added_tokens"].append(
        {"id": document["model"]["vocab"][word], "content": word, "special": True}
    )
    tokenizer = read(document)
    assert tokenizer.special_tokens[word] not in tokenizer.encode(f"{word} {word}").tolist()


def test_the_file_gives_the_same_tokenizer(tmp_path: Path) -> None:
    for document in (hugging_face(DIGITS), byte_fallback()):
        tokenizer = read(document)
        path = save_tokenizer(tokenizer, tmp_path)
        again = load_tokenizer(tmp_path)
        assert again.kind == "hf"
        assert tokenizer_hash(again) == tokenizer_hash(tokenizer)
        assert np.array_equal(again.encode(CORPUS), tokenizer.encode(CORPUS))
        saved = json.loads(path.read_text(encoding="utf-8"))
        saved["definition"] = saved["definition"].replace("a", "b", 1)
        path.write_text(json.dumps(saved), encoding="utf-8")
        with pytest.raises(NanoGPTError, match="its definition has changed"):
            load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "definition", ["{}", "[]", '{"model": {"vocab": 3}}', '{"model": {"vocab": {}}}', "{"]
)
def test_a_definition_that_is_none(tmp_path: Path, definition: str) -> None:
    """Its checksum may be right all the same."""
    saved = json.loads(save_tokenizer(read(byte_fallback()), tmp_path).read_text(encoding="utf-8"))
    saved |= {"definition": definition, "sha256": hashlib.sha256(definition.encode()).hexdigest()}
    (tmp_path / TOKENIZER_FILE).write_text(json.dumps(saved), encoding="utf-8")
    with pytest.raises(NanoGPTError, match="is damaged: "):
        load_tokenizer(tmp_path)


def normalized(*steps: str) -> dict[str, Any]:
    normalizer = {"type": "Sequence", "normalizers": [{"type": step} for step in steps]}
    return hugging_face() | {"normalizer": normalizer}


def without_bytes() -> dict[str, Any]:
    document = hugging_face()
    for token in ("!", "z"):
        del document["model"]["vocab"][token]
    merges = document["model"]["merges"]
    document["model"]["merges"] = [pair for pair in merges if not set("!z") & set("".join(pair))]
    document["model"]["vocab"] = {
        token: i
        for token, i in document["model"]["vocab"].items()
        if len(token) == 1 or not set("!z") & set(token)
    }
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (normalized("Lowercase"), "cannot be used: it lowercases"),
        (normalized("NFC", "StripAccents"), "cannot be used: it strips accents"),
        (normalized("NFKC"), "it rewrites characters (NFKC)"),
        ({"model": {"type": "WordPiece", "vocab": {}}}, "it is a WordPiece tokenizer"),
        ({"model": {"type": "Unigram", "vocab": []}}, "it is a Unigram tokenizer"),
        (hugging_face() | {"pre_tokenizer": {"type": "Whitespace"}}, "a character it does not know is lost"),
        (without_bytes(), "2 of the 256 bytes have no id"),
        ([], "it has no model"),
        ({"model": {"type": "BPE"}, "pre_tokenizer": {"type": "ByteLevel"}}, "KeyError"),
        (hugging_face() | {"pre_tokenizer": {"type": "Nonsense"}}, "a character it does not know is lost"),
    ],
)
def test_what_would_lose_text_is_refused(document: object, message: str) -> None:
    with pytest.raises(NanoGPTError) as caught:
        read(document)
    assert message in caught.value.message
    assert caught.value.message.startswith("tokenizer.json ")
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_pattern_that_drops_text_is_refused() -> None:
    document = hugging_face()
    split = document["pre_tokenizer"]["pretokenizers"][0]
    split |= {"behavior": "Removed", "invert": True}
    assert isinstance(read(document), BpeTokenizer)  # keeps what matches, and that is everything
    split["pattern"]["Regex"] = r"\w+"
    with pytest.raises(NanoGPTError, match="drops what lies between"):
        read(document)


def test_nfc_is_left_out_and_said(recorder: Recorder) -> None:
    tokenizer = read(normalized("NFC"), recorder)
    assert tokenizer.decode(tokenizer.encode("e\u0301")) == "e\u0301"
    (notice,) = [event.message for event in recorder.events if isinstance(event, Notice)]
    assert "NFC normalization is left out" in notice


def test_the_end_of_text_may_be_named_beside_it(tmp_path: Path) -> None:
    document = hugging_face(special=("<pad>", "<|im_end|>"))
    assert read(document).end_of_text is None
    write_json({"eos_token": {"content": "<|im_end|>"}}, "tokenizer_config.json")
    assert read(document).end_of_text == 1
    write_json({"eos_token": "<nowhere>"}, "tokenizer_config.json")
    assert read(document).end_of_text is None
