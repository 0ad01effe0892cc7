"""How byte-pair tokenizers split a text into words before they merge bytes, and where a word surely ends.

The patterns are those of the vocabularies people share: GPT-2's, GPT-4's and GPT-4o's (o200k) as OpenAI has
published them (https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py), Llama 3's and
Qwen 2's as their tokenizer.json spell them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class WordPattern:
    """One way to split, in two spellings of the same language.

    `ours` is for tiktoken, with possessive repeats where those change no match. `known` are the spellings of
    tokenizer.json, for Oniguruma, to which `{1,3}+` would mean something else.
    """

    ours: str
    known: tuple[str, ...]


_CONTRACTION: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LLAMA3: Final = (
    _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3_OURS: Final = (
    _CONTRACTION
    + r"|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s*[\r\n]+|\s+(?!\S)|\s"
)
_O200K: Final = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + _CONTRACTION + "?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + _CONTRACTION + "?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS: Final[Mapping[str, WordPattern]] = {
    "gpt2": WordPattern(
        ours=r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
        known=(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",),
    ),
    "gpt4": WordPattern(
        ours=r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s*[\r\n]|\s+(?!\S)|\s",
        known=(
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
            r"|\s*[\r\n]|\s+(?!\S)|\s+",
        ),
    ),
    "llama3": WordPattern(ours=_LLAMA3_OURS, known=(_LLAMA3,)),
    "qwen2": WordPattern(ours=_LLAMA3_OURS.replace("{1,3}+", ""), known=(_LLAMA3.replace("{1,3}", ""),)),
    "o200k": WordPattern(ours=_O200K, known=(_O200K,)),
}
# Between a letter or digit and one of these every pattern ends a word, and no word before it depends on what
# follows: letters and digits are matched greedily, and only an apostrophe or a mark can continue them.
_ENDS: Final = frozenset("\r\n,.;:!?，。、；：！？…—()（）「」『』《》“”")
# Before one of these a word ends whatever it consists of: the patterns take blanks first in a word, or alone.
_BLANKS: Final = frozenset(" \t\u3000")
_LONGEST_BLANK_RUN: Final = 50_000  # the matcher's stack holds some 10^5 of them


def last_word_end(text: str) -> int:
    """The last position of `text` that certainly separates two words, 0 when there is none."""
    for position in range(len(text) - 1, 0, -1):
        following, before = text[position], text[position - 1]
        if following in _BLANKS and not before.isspace():
            return position
        if following in _ENDS and before.isalnum():
            return position
    return 0


def cut_long_blanks(text: str) -> list[str]:
    """`text` in parts, such that no run of white space in a part overflows the matcher.

    A run is cut every 50,000 characters from its start, so that the tokens of a text do not depend on
    where it is divided for other reasons. Nearly every text is one part.
    """
    step = _LONGEST_BLANK_RUN // 2  # a longer run covers two multiples of this, and all in between
    cuts: list[int] = []
    position = step
    while position < len(text):
        if text[position].isspace() and text[position - step : position].isspace():
            start = len(text[:position].rstrip())
            end = len(text) - len(text[position:].lstrip())
            cuts += range(start + _LONGEST_BLANK_RUN, end, _LONGEST_BLANK_RUN)
            position = end
        position += step
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
