"""`--tokenizer`: from what the user typed to a recipe, and from the text it wants to see to a tokenizer.

A recipe is checked before a long text is read; what it needs of the text is gathered on the first pass.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from nanogpt_cli.data.tokenizers.base import (
    Tokenizer,
    build_tokenizer,
    check_tokenizer_name,
    is_known_name,
)
from nanogpt_cli.data.tokenizers.bpe_training import SAMPLE_BYTES, train_bpe
from nanogpt_cli.data.tokenizers.char import CharTokenizer
from nanogpt_cli.data.tokenizers.paths import looks_like_path, read_tokenizer_at
from nanogpt_cli.data.tokenizers.tiktoken_names import END_OF_TEXT
from nanogpt_cli.errors import NanoGPTError, UsageError
from nanogpt_cli.events import NullReporter, Reporter

DEFAULT_TOKENIZER: Final = "char"
MAX_BPE_VOCAB: Final = 1 << 20  # four times the largest in use (Gemma's 262,144)
_BYTES: Final = 256


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


def choose_recipe(tokenizer: str, options: TokenizerOptions, reporter: Reporter | None = None) -> Recipe:
    """The recipe for what the user typed; raises for all that is known to fail, before a text is read."""
    if tokenizer == "bpe":
        return _trained(options)
    _refuse_training_options(tokenizer, options)
    if is_known_name(tokenizer) or not looks_like_path(tokenizer):
        check_tokenizer_name(tokenizer)
        return _Named(name=tokenizer)
    saved = read_tokenizer_at(Path(tokenizer), reporter or NullReporter())
    return _Saved(name=tokenizer, tokenizer=saved)


@dataclass(frozen=True, kw_only=True)
class _Named:
    """A tokenizer that learns nothing from the text, but perhaps its characters."""

    name: str
    sample_bytes: int = 0

    @property
    def needs_alphabet(self) -> bool:
        return self.name == "char"

    def build(self, *, alphabet: str, sample: Iterable[str], reporter: Reporter) -> Tokenizer:
        return build_tokenizer(self.name, alphabet)


@dataclass(frozen=True, kw_only=True)
class _Saved:
    """A tokenizer that exists; one of characters must know all of the text's."""

    name: str
    tokenizer: Tokenizer
    sample_bytes: int = 0

    @property
    def needs_alphabet(self) -> bool:
        return isinstance(self.tokenizer, CharTokenizer)

    def build(self, *, alphabet: str, sample: Iterable[str], reporter: Reporter) -> Tokenizer:
        if isinstance(self.tokenizer, CharTokenizer):
            try:
                self.tokenizer.encode(alphabet, what="the text")
            except NanoGPTError as error:
                raise NanoGPTError(
                    f"{error.message} (in {self.name})",
                    "leave them out, or prepare both texts with one that knows every character: "
                    "--tokenizer byte, or bpe",
                ) from None
        return self.tokenizer


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """A byte-pair vocabulary to be learnt from the text."""

    name: str = "bpe"
    needs_alphabet: bool = False
    sample_bytes: int = SAMPLE_BYTES
    vocab_size: int | None
    pattern: str
    special_tokens: tuple[str, ...]

    def build(self, *, alphabet: str, sample: Iterable[str], reporter: Reporter) -> Tokenizer:
        return train_bpe(
            sample,
            vocab_size=self.vocab_size,
            pattern=self.pattern,
            special_tokens=self.special_tokens,
            reporter=reporter,
        )


def _trained(options: TokenizerOptions) -> _Trained:
    special = tuple(dict.fromkeys((END_OF_TEXT, *options.special_tokens)))
    for token in special:
        if not token or any("\ud800" <= character <= "\udfff" for character in token):
            raise UsageError(f"{token!r} cannot be a special token", "--special-token '<|im_start|>'")
    smallest = _BYTES + len(special)
    if options.vocab_size is not None and not smallest <= options.vocab_size <= MAX_BPE_VOCAB:
        tokens = "special token" if len(special) == 1 else "special tokens"
        raise UsageError(
            f"--vocab-size {options.vocab_size} does not lie between {smallest} ({_BYTES} bytes and "
            f"{len(special)} {tokens}) and {MAX_BPE_VOCAB:,}",
            "--vocab-size 4096, or leave it out: a size that fits the text is chosen",
        )
    if options.pattern not in {"gpt4", "gpt2"}:
        raise UsageError(f"there is no --pattern {options.pattern!r}", "--pattern gpt4, or --pattern gpt2")
    return _Trained(vocab_size=options.vocab_size, pattern=options.pattern, special_tokens=special)


def _refuse_training_options(tokenizer: str, options: TokenizerOptions) -> None:
    plain = TokenizerOptions()
    for flag, given in (
        ("--vocab-size", options.vocab_size != plain.vocab_size),
        ("--pattern", options.pattern != plain.pattern),
        ("--special-token", options.special_tokens != plain.special_tokens),
    ):
        if given:
            raise UsageError(
                f"{flag} is for a tokenizer trained here, and {tokenizer} is ready made",
                f"leave {flag} out, or train one: --tokenizer bpe",
            )
