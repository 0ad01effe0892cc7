"""Tokenizers for tests: trained on pages in four languages, and tokenizer.json files of all kinds."""

import functools
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from nanogpt_cli.data.tokenizers.bpe import BpeTokenizer
from nanogpt_cli.data.tokenizers.bpe_training import train_bpe
from nanogpt_cli.data.tokenizers.word_patterns import PATTERNS
from nanogpt_cli.events import NullReporter

TEXTS = Path(__file__).parent.parent / "fixtures" / "texts"
CORPUS = "".join(path.read_bytes().decode("utf-8") for path in sorted(TEXTS.glob("*.txt")))
SPECIAL = ("<|endoftext|>", "<|im_start|>", "[UNK]", "</s>")
# What makes patterns differ: contractions, numbers, marks, punctuation before newlines, runs of white space.
TRICKY = st.text(
    st.sampled_from("abÉAB中ت'’sdlrevtm12٣.,!?/…，。「 \t\n\r\u3000\u00a0\u0301-_😀\u2581"), max_size=60
)
ANY_TEXT = st.text() | TRICKY


@functools.cache
def trained(pattern: str = "gpt4", vocab_size: int = 700) -> BpeTokenizer:
    """A vocabulary learnt from the fixtures, with four special tokens."""
    return train_bpe(
        [CORPUS], vocab_size=vocab_size, pattern=pattern, special_tokens=SPECIAL, reporter=NullReporter()
    )


def split_by(spelling: str, *, use_regex: bool = False) -> Any:
    """The pre-tokenizer of a byte-level vocabulary that splits words by a pattern."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(spelling), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex),
        ]
    )


def hugging_face(splitter: Any = None, special: tuple[str, ...] = SPECIAL) -> dict[str, Any]:
    """The tokenizer.json of a byte-level BPE trained on the fixtures by the library."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = splitter or split_by(PATTERNS["qwen2"].known[0])
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([CORPUS], trainer)
    document: dict[str, Any] = json.loads(tokenizer.to_str())
    return document


def byte_fallback() -> dict[str, Any]:
    """A tokenizer.json as Llama 2's: characters, "▁" for a space, and bytes for what is unknown."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("▁", "▁"), ("i", "s"), ("▁", "a")]
    for token in [*"▁abcdefghijklmnopqrstuvwxyz'é中", *("".join(merge) for merge in merges)]:
        vocab[token] = len(vocab)
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": name, "special": True} for name, i in list(vocab.items())[:3]],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "byte_fallback": True,
            "fuse_unk": True,
            "vocab": vocab,
            "merges": [" ".join(merge) for merge in merges],
        },
    }


def write_json(document: object, path: Path | str = "tokenizer.json") -> Path:
    """Write a tokenizer.json."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document), encoding="utf-8")
    return target
