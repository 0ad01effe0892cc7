"""Whether a tokenizer fits the text it was used on, judged by numbers alone; nothing is said where it does.

The measures: bytes per token (English text gives 4 with a good vocabulary, 1 by bytes), tokens per character
(above 1 the vocabulary was made for another script), and how often an id occurs on average, as an entry of
the embedding learns only where it occurs.
"""

from typing import Final

from nanogpt_cli.data.tokenizers.bpe_training import default_vocab_size

_MANY_CHARACTERS: Final = 5000  # about what a Chinese newspaper uses: the rest occurs too seldom to be learnt
_SELDOM: Final = 20  # occurrences of an id, on average, below which most entries stay close to random
_RATHER_SELDOM: Final = 50  # for a vocabulary whose size was free to choose
_FEW_BYTES_PER_TOKEN: Final = 2.0  # half of what a vocabulary made for the text gives
_SMALL_BYTES: Final = 512_000  # below, there is too little to learn words from
_LARGE_BYTES: Final = 5_000_000  # from here on a vocabulary of thousands can be learnt (4,096 by default)
_VERY_LARGE_BYTES: Final = 50_000_000
_BYTES_OF_CJK: Final = 2.5  # UTF-8 bytes per character: Latin 1, Cyrillic and Arabic 2, Chinese and Hindi 3


def advise(
    *,
    kind: str,
    name: str,
    vocab_size: int,
    ids_used: int | None,
    tokens: int,
    characters: int,
    size_bytes: int,
) -> str | None:
    """A better choice for a text of so many characters and UTF-8 bytes that became so many tokens, or None.

    `ids_used` counts the distinct ids that occur, where that is known.
    """
    if not tokens or not characters:
        return None
    if kind == "char":
        return _on_characters(vocab_size, tokens, size_bytes)
    if kind == "byte":
        return _on_bytes(size_bytes)
    what = "this tokenizer" if name == "hf" else name
    if (foreign := _on_another_script(what, tokens, characters, size_bytes)) is not None:
        return foreign
    if name == "bpe":
        return _on_its_size(vocab_size, tokens, size_bytes)
    return _on_unused_ids(name, what, vocab_size, ids_used, tokens, size_bytes)


def _on_characters(vocab_size: int, tokens: int, size_bytes: int) -> str | None:
    if vocab_size > _MANY_CHARACTERS:
        return (
            f"{vocab_size:,} distinct characters, most of them rare, make a large vocabulary for a small "
            f"model; {_bpe(size_bytes)} spells rare ones in bytes, --tokenizer byte has 256 ids for all"
        )
    if vocab_size > 256 and tokens < _SELDOM * vocab_size:
        return (
            f"each of the {vocab_size:,} characters occurs only {tokens / vocab_size:.0f} times on average, "
            "too seldom to be learnt; --tokenizer byte needs 256 ids for any text"
        )
    if size_bytes >= _VERY_LARGE_BYTES:
        return (
            f"{size_bytes / 1e6:,.0f} MB of text are enough to learn words from: {_bpe(size_bytes)} would "
            "make far fewer tokens, and a window of block_size tokens would hold more text"
        )
    return None


def _on_bytes(size_bytes: int) -> str | None:
    if size_bytes < _LARGE_BYTES:
        return None
    return (
        f"{size_bytes / 1e6:,.0f} MB of text are enough to learn words from: {_bpe(size_bytes)} would make "
        "about a third of the tokens, and a window of block_size tokens would hold three times the text"
    )


def _on_another_script(what: str, tokens: int, characters: int, size_bytes: int) -> str | None:
    if tokens <= characters and size_bytes >= _FEW_BYTES_PER_TOKEN * tokens:
        return None
    if tokens <= characters:
        return (
            f"{what} gives only {size_bytes / tokens:.1f} bytes per token here; a vocabulary made for "
            f"a text gives about 4: {_learnt(size_bytes)}"
        )
    made_for = "; it was made for other languages" if size_bytes >= _BYTES_OF_CJK * characters else ""
    needed = f"{what} needs {tokens / characters:.1f} tokens for one character of this text{made_for}"
    return f"{needed}; {_learnt(size_bytes)}"


def _on_its_size(vocab_size: int, tokens: int, size_bytes: int) -> str | None:
    fitting = default_vocab_size(size_bytes)
    if tokens < _RATHER_SELDOM * vocab_size and fitting < vocab_size:
        return (
            f"each of the {vocab_size:,} ids occurs only {tokens / vocab_size:.0f} times on average, too "
            f"seldom to be learnt well; --vocab-size {fitting} fits this text"
        )
    if 16 * vocab_size <= fitting:
        return (
            f"{vocab_size:,} ids are few for {size_bytes / 1e6:,.0f} MB of text ({size_bytes / tokens:.1f} "
            f"bytes per token); --vocab-size {fitting} would make fewer tokens"
        )
    return None


def _on_unused_ids(
    name: str, what: str, vocab_size: int, ids_used: int | None, tokens: int, size_bytes: int
) -> str | None:
    pretrained = " (to go on training GPT-2 itself, --init_from gpt2, it is right)" if name == "gpt2" else ""
    if ids_used is not None and 2 * ids_used < vocab_size:
        return (
            f"only {ids_used:,} of the {vocab_size:,} ids of {what} occur in this text, and the others are "
            f"dead weight for a model trained on it; {_learnt(size_bytes)}{pretrained}"
        )
    if tokens < _SELDOM * vocab_size:
        return (
            f"each of the {vocab_size:,} ids of {what} occurs only {tokens / vocab_size:.0f} times on "
            f"average, too seldom to be learnt; {_learnt(size_bytes)}{pretrained}"
        )
    return None


def _learnt(size_bytes: int) -> str:
    """What learns its vocabulary from the text, for a text of this size."""
    if size_bytes < _SMALL_BYTES:
        return "--tokenizer char has the characters of this text alone"
    return f"{_bpe(size_bytes)} learns the words of this text"


def _bpe(size_bytes: int) -> str:
    return f"--tokenizer bpe --vocab-size {default_vocab_size(size_bytes)}"
