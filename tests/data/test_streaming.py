"""Encoding piece by piece gives what the whole text gives, for every pattern tiktoken knows."""

import sys

import pytest
import regex
import tiktoken_ext.openai_public as openai
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.data.preparing import streaming
from nanogpt_cli.data.preparing.streaming import TRAIN, VAL, chunks
from nanogpt_cli.data.tokenizers.base import ByteTokenizer, TiktokenTokenizer, Tokenizer, build_tokenizer
from nanogpt_cli.data.tokenizers.tiktoken_names import last_word_end
from tests.data.memory_source import MemorySource

# What makes patterns differ: contractions, numbers, marks, punctuation before newlines, runs of white space.
TRICKY = st.text(st.sampled_from("abÉ中ت'’sdlrevtm12٣.,!?/…，。「 \t\n\r\u3000\u00a0\u0301-_😀"), max_size=60)


def by_pieces(tokenizer: Tokenizer, pieces: list[str]) -> list[int]:
    source = MemorySource([pieces], collection=False)
    cut = chunks(source, lambda _: sys.maxsize, tokenizer.safe_cut)
    return [i for chunk in cut for part in chunk for i in tokenizer.encode(part.text).tolist()]


@given(st.lists(st.text() | TRICKY))
def test_gpt2_by_pieces_equals_the_whole(gpt2: TiktokenTokenizer, pieces: list[str]) -> None:
    assert by_pieces(gpt2, pieces) == gpt2.encode("".join(pieces)).tolist()


@given(st.lists(TRICKY))
def test_bytes_and_characters_by_pieces(pieces: list[str]) -> None:
    whole = "".join(pieces)
    for tokenizer in (ByteTokenizer(), build_tokenizer("char", whole or "x")):
        assert by_pieces(tokenizer, pieces) == tokenizer.encode(whole).tolist()


def patterns() -> dict[str, str]:
    """The word patterns of all encodings, without their vocabularies (which need a network)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai, "load_tiktoken_bpe", lambda *args, **options: {})
        patch.setattr(openai, "data_gym_to_mergeable_bpe_ranks", lambda *args, **options: {})
        return {name: build()["pat_str"] for name, build in openai.ENCODING_CONSTRUCTORS.items()}


@pytest.mark.parametrize(("name", "pattern"), patterns().items())
def test_a_word_end_divides_the_words_of_every_pattern(name: str, pattern: str) -> None:
    compiled = regex.compile(pattern)

    @given(TRICKY, TRICKY)
    def check(text: str, what_follows: str) -> None:
        cut = last_word_end(text)
        whole = text + what_follows
        divided = compiled.findall(whole[:cut]) + compiled.findall(whole[cut:])
        assert divided == compiled.findall(whole)

    check()


def test_languages_have_word_ends(language_text: str, gpt2: TiktokenTokenizer) -> None:
    assert len(language_text) - last_word_end(language_text) < 100
    pieces = [language_text[i : i + 50] for i in range(0, len(language_text), 50)]
    assert by_pieces(gpt2, pieces) == gpt2.encode(language_text).tolist()


def test_memory_stays_bounded_without_word_ends(
    gpt2: TiktokenTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_MAX_PENDING_CHARACTERS", 30)
    monkeypatch.setattr(streaming, "CHUNK_CHARACTERS", 1)
    source = MemorySource([["0123456789"] * 7])
    cut = list(chunks(source, lambda _: sys.maxsize, gpt2.safe_cut))
    assert [[len(part.text) for part in chunk] for chunk in cut] == [[30], [30], [10]]


DOCUMENTS = st.lists(st.lists(st.text("ab c.é中😀\n", max_size=12), max_size=4), max_size=8)


@given(DOCUMENTS, st.data())
def test_chunks_hold_every_document_whole_and_on_its_side(
    documents: list[list[str]], data: st.DataObject
) -> None:
    """Whatever the pieces and the place of the split: nothing is lost, doubled or moved."""
    source = MemorySource(documents)
    room = [data.draw(st.integers(0, len(text) + 1)) for text in source.texts]
    size = data.draw(st.integers(1, 40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "CHUNK_CHARACTERS", size)
        cut = list(chunks(source, room.__getitem__, ByteTokenizer().safe_cut))
    sides: list[list[str]] = [["", ""]]
    for part in (part for chunk in cut for part in chunk):
        assert part.text
        assert part.side in {TRAIN, VAL}
        sides[-1][part.side] += part.text
        if part.ends:
            sides.append(["", ""])
    assert sides.pop() == ["", ""]
    assert sides == [[text[:n], text[n:]] for text, n in zip(source.texts, room, strict=True)]
    for chunk in cut[:-1]:
        assert sum(len(part.text) for part in chunk) >= size
