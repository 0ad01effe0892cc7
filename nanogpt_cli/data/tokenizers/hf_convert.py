"""When a byte-level BPE of Hugging Face's `tokenizers` equals tiktoken's, and its ranks.

Both merge the neighbours of lowest rank first, the leftmost of equals. `tokenizers` ranks the pairs that its
list of merges names; tiktoken ranks what a pair spells. A span of text becomes a token by the same merges
wherever it stands, as long as no merge reaches across its ends. So let S(t) be what the token t's own bytes
become by the merges alone. Where S(t) is t, the last merge of S(t) is the only one that ever gives t. Where
S(t) has three tokens or more, no two neighbours ever spell t. Only where S(t) has two would tiktoken merge
what `tokenizers` does not. Both give the same ids for every word, if

- the merges' results have rising ids, so that ids are ranks;
- no S(t) has two tokens;
- every S(t) is t, or `ignore_merges` is set: tiktoken looks a whole word up before it merges;
- the words are split by a pattern that both know.
"""

import itertools
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from nanogpt_cli.data.tokenizers.bpe import GPT2_TOKENS_SHA256, BpeTokenizer
from nanogpt_cli.data.tokenizers.hf import HfTokenizer, byte_pieces
from nanogpt_cli.data.tokenizers.tiktoken_names import END_OF_TEXT, GPT2_END_OF_TEXT
from nanogpt_cli.data.tokenizers.word_patterns import PATTERNS

# Texts that tell splitting rules and vocabularies apart, and that a tokenizer must give back.
PROBES: Final = (
    "",
    " ",
    "Hello world, it's we'll THEY'RE I'D 'S 'tis don’t",
    "  two   spaces\tand\t\ttabs \n\n new\r\nlines\r\r\n   \n  end  ",
    "0 12 345 6789 01234567890 3.14 1,000,000 ٣٤٥ Ⅻ ½ 二十",
    "ÀÉÎõü ßẞ ĳ ﬁ Å Å é é ｆｕｌｌ Ⅸ ſ K 'ſ",
    "你好，世界！今天天气很好。「引用」 こんにちは、カタカナ 한국어 텍스트",
    "مرحبا بالعالم שלום עולם नमस्ते दुनिया ไทยภาษา ქართული Ελληνικά Привет",
    "😀👍🏽👩‍👩‍👧‍👦🇪🇸 ☃️ ∑∫√ →⇒ ½° \u200b\u00a0\u3000\ufeff\u0085\u2028",
    "<|endoftext|> <|im_start|>user<|im_end|> [UNK] <unk> </s> <s> <0x41> ▁▁ ▁a",
    "def f(x):\n    return {'a': x[0]}  # …\n\n\n@@ -1,2 +1,2 @@\n***\n////\n-----\n$$$%%%^^^",
    "\x00\x01\x1b[31m\x7f \U000e0001 \U0010fffd \ue000 a\u0301\u0302\u0303b",
    "aaaaaaaaaaaaaaaaaaaaaaaa AbCdEfG HTTPServer camelCase snake_case https://example.org/?q=1&r=%20",
)


def to_ranks(document: Mapping[str, Any], kept: HfTokenizer) -> tuple[BpeTokenizer | None, str]:
    """The same tokenizer for tiktoken; else None, and why not. `kept` is what it must agree with."""
    pattern = _pattern(document["pre_tokenizer"])
    if pattern is None:
        return None, "it splits words in a way of its own"
    if reason := _difference(document["model"]):
        return None, reason
    pieces = byte_pieces(document["model"]["vocab"])
    tokens = [pieces.get(i) for i in range(max(pieces) + 1)]
    try:
        converted = BpeTokenizer(
            tokens,
            pattern=pattern,
            special_tokens=kept.special_tokens,
            end_of_text=kept.end_of_text,
            name="hf",
        )
    except ValueError as error:
        return None, str(error)
    is_gpt2 = converted.to_document()["sha256"] == GPT2_TOKENS_SHA256
    if is_gpt2 and pattern == "gpt2" and kept.special_tokens == {END_OF_TEXT: GPT2_END_OF_TEXT}:
        converted.name = "gpt2"
    for text in PROBES:
        if not np.array_equal(converted.encode(text), kept.encode(text)):
            return None, f"tiktoken splits {text[:20]!r} otherwise"
    return converted, ""


def _pattern(splitter: Mapping[str, Any] | None) -> str | None:
    """The name of the pattern that a pre-tokenizer splits by; None for any other way."""
    if splitter is None:
        return None
    parts = splitter["pretokenizers"] if splitter["type"] == "Sequence" else [splitter]
    *first, last = parts
    if last["type"] != "ByteLevel":
        return None
    if not first:
        return "gpt2" if last.get("use_regex", True) else None
    (split, *more) = first
    wanted = {"type": "Split", "behavior": "Isolated", "invert": False}
    if more or last.get("use_regex", True) or any(split.get(key) != value for key, value in wanted.items()):
        return None
    return pattern_name(split["pattern"].get("Regex"))


def pattern_name(spelling: str | None) -> str | None:
    """The known pattern that a tokenizer.json spells so."""
    return next((name for name, pattern in PATTERNS.items() if spelling in pattern.known), None)


def _difference(model: Mapping[str, Any]) -> str | None:
    """Why tiktoken would merge otherwise, by the conditions above; None where it would not."""
    from tokenizers import models

    vocab, merges = model["vocab"], [tuple(merge) for merge in model["merges"]]
    results = [vocab["".join(merge)] for merge in merges]
    if any(later < earlier for earlier, later in itertools.pairwise(results)):
        return "its ids do not rise in the order of its merges"
    library = models.BPE(vocab=dict(vocab), merges=merges, cache_capacity=0)
    for token in vocab:
        if len(token) < 2:
            continue
        parts = len(library.tokenize(token))
        if parts == 2:
            return f"its merges leave {token!r} in two tokens, and tiktoken would join them"
        if parts > 2 and not model.get("ignore_merges"):
            return f"its merges never give {token!r}, and tiktoken would"
    return None
