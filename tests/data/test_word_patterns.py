"""Words end where the patterns say, in both spellings; and a text may be cut where `last_word_end` says."""

import itertools
import sys

import pytest
import tiktoken
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from nanogpt_cli.data.tokenizers.bpe import BpeTokenizer
from nanogpt_cli.data.tokenizers.bpe_training import byte_of_character
from nanogpt_cli.data.tokenizers.word_patterns import PATTERNS, cut_long_blanks, last_word_end
from tests.data.tokenizer_samples import CORPUS, TRICKY, split_by, trained

# A vocabulary in which any two bytes of a word merge, so that the ids show where words end.
CHARACTER = {byte: character for character, byte in byte_of_character().items()}
PAIRS = [bytes(pair) for pair in itertools.product(range(256), repeat=2)]
RANKS = {token: i for i, token in enumerate([*(bytes([i]) for i in range(256)), *PAIRS])}
VISIBLE = {token: "".join(CHARACTER[byte] for byte in token) for token in RANKS}


@pytest.fixture(scope="module")
def pair_model() -> models.BPE:
    vocab = {VISIBLE[token]: i for token, i in RANKS.items()}
    return models.BPE(vocab=vocab, merges=[(CHARACTER[a], CHARACTER[b]) for a, b in PAIRS])


@pytest.mark.parametrize("name", PATTERNS)
def test_both_spellings_split_every_character_alike(name: str, pair_model: models.BPE) -> None:
    """Every 499th code point here; all 188,772 of Unicode 14 were seen to agree once."""
    ours = tiktoken.Encoding("x", pat_str=PATTERNS[name].ours, mergeable_ranks=RANKS, special_tokens={})
    characters = [
        chr(i) for i in (*range(0x250), *range(0x250, sys.maxunicode, 89)) if not 0xD800 <= i < 0xE000
    ]
    lines = [f"ab{c}{c}c 1{c} {c}d'{c}\t{c}\n  {c} x{c}  \n {c}12345" for c in characters]
    for spelling in PATTERNS[name].known:
        library = Tokenizer(pair_model)
        library.pre_tokenizer = split_by(spelling)
        theirs = library.encode_batch_fast(lines, add_special_tokens=False)
        assert [encoding.ids for encoding in theirs] == ours.encode_ordinary_batch(lines, num_threads=1)

    @given(TRICKY)
    @example("  \n  ")
    def check(text: str) -> None:
        assert ours.encode_ordinary(text) == library.encode(text, add_special_tokens=False).ids

    check()


def test_the_library_splits_byte_level_as_gpt2(pair_model: models.BPE) -> None:
    ours = tiktoken.Encoding("x", pat_str=PATTERNS["gpt2"].ours, mergeable_ranks=RANKS, special_tokens={})
    library = Tokenizer(pair_model)
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

    @given(TRICKY)
    def check(text: str) -> None:
        assert ours.encode_ordinary(text) == library.encode(text, add_special_tokens=False).ids

    check()


@pytest.mark.parametrize("name", PATTERNS)
def test_a_text_encodes_in_two_parts_as_whole(name: str) -> None:
    tokenizer = BpeTokenizer(list(RANKS), pattern=name, special_tokens={}, end_of_text=None)

    @given(TRICKY, TRICKY)
    @example("a b ", "\n")
    @example("1 \n 2", "'s")
    @example("ab.\n", "")
    @example("ab.,", "\n")
    def check(text: str, what_follows: str) -> None:
        cut = tokenizer.safe_cut(text)
        whole = text + what_follows
        parts = [*tokenizer.encode(whole[:cut]).tolist(), *tokenizer.encode(whole[cut:]).tolist()]
        assert parts == tokenizer.encode(whole).tolist()

    check()


@pytest.mark.parametrize("text", [CORPUS, "12 34 56 78\n" * 9, "नमस्ते दुनिया कैसे हैं आप\n" * 9, "a, b; c.\n" * 9])
def test_texts_have_word_ends(text: str) -> None:
    assert len(text) - last_word_end(text) < 40


def test_a_word_without_end_has_no_cut() -> None:
    assert last_word_end("") == last_word_end("x") == last_word_end("x" * 500) == last_word_end("   ") == 0
    assert last_word_end("don't") == 0


@given(st.lists(st.sampled_from(["a", " ", "\n", " " * 30_000, "\t" * 90_000, "b" * 40_000]), max_size=12))
def test_long_blanks_are_cut_from_where_they_start(parts: list[str]) -> None:
    text = "".join(parts)
    cut = cut_long_blanks(text)
    assert "".join(cut) == text
    for part in cut:
        runs = [len(run) for run in part.replace("a", "b").split("b")]
        assert max(runs, default=0) <= 75_000  # the matcher overflows somewhat above 100,000
    first, *others = cut_long_blanks("b" + text)  # wherever a run stands, it is cut alike
    assert [first.removeprefix("b"), *others] == cut


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("blank", [" ", "\n", "\r\n \n"])
def test_a_million_blanks_do_not_overflow_the_matcher(name: str, blank: str) -> None:
    """tiktoken's matcher ran out of stack, and a Rust panic ended the program."""
    tokenizer = trained()
    tokenizer = type(tokenizer)(
        tokenizer._tokens, pattern=name, special_tokens=tokenizer.special_tokens, end_of_text=None
    )
    text = "x" + blank * (1_000_000 // len(blank)) + "y"
    assert tokenizer.decode_bytes(tokenizer.encode(text)) == text.encode()
