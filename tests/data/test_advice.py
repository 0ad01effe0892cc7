"""Advice on the tokenizer: given where the choice is poor, with the numbers, and not where it is fine."""

from typing import Any

import pytest

from nanogpt_cli.data.tokenizers.advice import advise

MB = 1_000_000


def about(
    kind: str, vocab_size: int, tokens: int, characters: int, size_bytes: int, **more: Any
) -> str | None:
    facts = {"name": kind, "ids_used": None} | more
    return advise(
        kind=kind,
        vocab_size=vocab_size,
        tokens=tokens,
        characters=characters,
        size_bytes=size_bytes,
        **facts,
    )


@pytest.mark.parametrize(
    "fine",
    [
        about("char", 65, 1_115_394, 1_115_394, 1_115_394),  # tinyshakespeare
        about("char", 3000, MB, MB, 3 * MB),  # a Chinese novel
        about("char", 40, 200, 200, 200),  # a first try
        about("byte", 256, MB, MB, MB),
        about("bpe", 1024, 428_000, 1_115_394, 1_115_394),  # what is chosen for tinyshakespeare
        about("bpe", 512, 500, 1000, 1000),  # the smallest size that is chosen
        about("bpe", 32_768, 25 * MB, 100 * MB, 100 * MB),
        about("bpe", 8192, 2 * MB, 3 * MB, 9 * MB),  # Chinese
        about("tiktoken", 50_257, 2_500 * MB, 9_000 * MB, 9_000 * MB, name="gpt2", ids_used=50_200),
        about("tiktoken", 50_257, 25 * MB, 100 * MB, 100 * MB, name="gpt2", ids_used=None),
        about("hf", 32_000, 25 * MB, 100 * MB, 100 * MB, name="hf", ids_used=31_000),
        about("char", 0, 0, 0, 0),
    ],
)
def test_nothing_is_said_where_the_choice_is_fine(fine: str | None) -> None:
    assert fine is None


@pytest.mark.parametrize(
    ("advice", "parts"),
    [
        (about("char", 20_000, 9 * MB, 9 * MB, 27 * MB), ["20,000 distinct characters", "--tokenizer byte"]),
        (
            about("char", 1200, 9600, 9600, 28_800),
            ["the 1,200 characters occurs only 8 times", "byte"],
        ),
        (about("char", 90, 100 * MB, 100 * MB, 100 * MB), ["100 MB", "--tokenizer bpe --vocab-size 32768"]),
        (
            about("byte", 256, 8 * MB, 8 * MB, 8 * MB),
            ["8 MB", "bpe --vocab-size 4096", "a third"],
        ),
        (
            about("tiktoken", 50_257, 2 * MB, MB, 3 * MB, name="gpt2"),
            [
                "gpt2 needs 2.0 tokens for one character",
                "other languages",
                "--tokenizer bpe --vocab-size 2048",
            ],
        ),
        (
            about("tiktoken", 50_257, 2000, 1000, 3000, name="gpt2"),
            ["gpt2 needs 2.0 tokens for one character", "--tokenizer char has the characters"],
        ),
        (
            about("tiktoken", 50_257, 11 * MB, 12 * MB, 20 * MB, name="gpt2", ids_used=9000),
            ["gpt2 gives only 1.8 bytes per token", "--tokenizer bpe --vocab-size 16384"],
        ),
        (
            about("tiktoken", 50_257, 338_025, 1_115_394, 1_115_394, name="gpt2", ids_used=11_706),
            ["only 11,706 of the 50,257 ids of gpt2 occur", "bpe --vocab-size 1024", "--init_from gpt2"],
        ),
        (
            about("hf", 32_000, 250_000, MB, MB, name="hf", ids_used=20_000),
            ["each of the 32,000 ids of this tokenizer occurs only 8 times", "--vocab-size 512"],
        ),
        (
            about("bpe", 12_713, 306_000, 1_115_394, 1_115_394),
            ["each of the 12,713 ids occurs only 24 times", "--vocab-size 1024 fits this text"],
        ),
        (
            about("bpe", 512, 50 * MB, 100 * MB, 100 * MB),
            ["512 ids are few for 100 MB", "2.0 bytes per token", "--vocab-size 32768"],
        ),
        (about("bpe", 4096, 2 * MB, MB, 3 * MB), ["bpe needs 2.0 tokens for one character"]),
    ],
)
def test_a_poor_choice_is_named_with_a_better_one(advice: str | None, parts: list[str]) -> None:
    assert advice is not None
    assert "\n" not in advice
    for part in parts:
        assert part in advice
