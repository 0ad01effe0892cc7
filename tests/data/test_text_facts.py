"""What tokens tell without a model, against figures worked out another way."""

from pathlib import Path

import numpy as np
import pytest

from nanogpt_cli.data.dataset import Dataset, open_dataset
from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.data.text_facts import TextFacts, text_facts
from nanogpt_cli.data.tokenizers.char import CharTokenizer
from nanogpt_cli.errors import NanoGPTError


def facts_of(text: str, tokenizer: str = "char", *, batch_size: int = 4) -> tuple[Dataset, TextFacts]:
    Path("input.txt").write_text(text, encoding="utf-8")
    prepare("input.txt", tokenizer=tokenizer, overwrite=True)
    dataset = open_dataset("input")
    return dataset, text_facts(dataset, block_size=8, batch_size=batch_size, seed=1)


def test_characters_and_words_of_a_token() -> None:
    _, facts = facts_of("the cat sat on the mat " * 200)
    assert facts.chars_per_token == 1.0
    assert facts.words_per_token == pytest.approx(6 / 23, rel=0.02)
    _, facts = facts_of("Où ça ?\n" * 500, "byte")
    assert facts.chars_per_token == pytest.approx(8 / 10, rel=0.01)


def test_spaces_do_not_part_chinese_words() -> None:
    _, facts = facts_of("床前明月光，疑是地上霜。举头望明月，低头思故乡。\n" * 100)
    assert facts.chars_per_token == 1.0
    assert facts.words_per_token is None


def test_the_unigram_loss_is_the_entropy() -> None:
    _, facts = facts_of("aaab" * 1000)
    assert facts.unigram_loss == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), abs=1e-3)


def test_equal_batches_have_no_spread_and_larger_ones_less() -> None:
    _, facts = facts_of("ab" * 2000)
    assert facts.batch_spread == pytest.approx(0.0, abs=1e-9)
    text = "".join(np.random.default_rng(0).choice(list("aaaaaabbbc"), 40_000))
    small, large = (facts_of(text, batch_size=size)[1].batch_spread for size in (4, 64))
    nats = np.array([-np.log(0.6)] * 6 + [-np.log(0.3)] * 3 + [-np.log(0.1)])
    # Independent characters: the deviation of one, divided by the root of 4 · 8.
    assert small == pytest.approx(nats.std() / np.sqrt(32), rel=0.25)
    assert large == pytest.approx(small / 4, rel=0.35)


def test_long_texts_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(np.random.default_rng(0).choice(list("aaab"), 40_000))
    _, whole = facts_of(text)
    monkeypatch.setattr("nanogpt_cli.data.text_facts._COUNTED_TOKENS", 4096)
    _, sampled = facts_of(text)
    assert sampled.unigram_loss == pytest.approx(whole.unigram_loss, rel=0.05)
    assert sampled.unigram_loss != whole.unigram_loss


def test_a_vocabulary_that_cannot_be_had_leaves_the_lengths_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_args: object) -> str:
        raise NanoGPTError("the vocabulary is not here", "fetch it")

    monkeypatch.setattr(CharTokenizer, "decode", missing)
    _, facts = facts_of("some text " * 100)
    assert (facts.chars_per_token, facts.words_per_token) == (None, None)


def test_a_vocabulary_that_is_only_assumed_leaves_the_lengths_open() -> None:
    folder = Path("data/foreign")
    folder.mkdir(parents=True)
    for split in ("train", "val"):
        np.arange(2000, dtype=np.uint16).tofile(folder / f"{split}.bin")
    dataset: Dataset = open_dataset("foreign")
    facts = text_facts(dataset, block_size=8, batch_size=4, seed=1)
    assert (facts.chars_per_token, facts.words_per_token) == (None, None)
    assert facts.unigram_loss == pytest.approx(np.log(2000), rel=1e-3)
