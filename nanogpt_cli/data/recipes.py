"""`--tokenizer`: from what the user typed to a recipe, and from the text it wants to see to a tokenizer.

A recipe is checked before a long text is read; what it needs of the text is gathered on the first pass.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from nanogpt_cli.data.tokenizers import Tokenizer, build_tokenizer, check_tokenizer_name
from nanogpt_cli.events import Reporter

DEFAULT_TOKENIZER: Final = "char"


@dataclass(frozen=True, kw_only=True)
class TokenizerOptions:
    """How to make a tokenizer; each field is the flag of `nanogpt prepare` with the same name."""

    vocab_size: int | None = None  # of a trained `bpe`, special tokens included
    pattern: Literal["gpt4", "gpt2"] = "gpt4"  # how `bpe` splits a text into words before merging
    special_tokens: tuple[str, ...] = ()  # beside <|endoftext|>


class Recipe(Protocol):
    """A tokenizer to be: `char`, `byte`, a tiktoken name, `bpe`, or one from a file."""

    @property
    def name(self) -> str:
        """What `--tokenizer` called it."""

    @property
    def needs_alphabet(self) -> bool:
        """Whether `build` must be given every character of the text."""

    @property
    def sample_bytes(self) -> int:
        """How much text `build` wants to learn from, in UTF-8 bytes; 0: none."""

    def build(self, *, alphabet: str, sample: Iterable[str], reporter: Reporter) -> Tokenizer:
        """The tokenizer; `sample` gives pieces of text from all over the corpus, and is read once."""


def choose_recipe(tokenizer: str, options: TokenizerOptions) -> Recipe:
    """The recipe for what the user typed; raises for all that is known to fail, before a text is read."""
    check_tokenizer_name(tokenizer)
    return _Ready(name=tokenizer)


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """A tokenizer that learns nothing from the text, but perhaps its characters."""

    name: str
    sample_bytes: int = 0

    @property
    def needs_alphabet(self) -> bool:
        return self.name == "char"

    def build(self, *, alphabet: str, sample: Iterable[str], reporter: Reporter) -> Tokenizer:
        return build_tokenizer(self.name, alphabet)
