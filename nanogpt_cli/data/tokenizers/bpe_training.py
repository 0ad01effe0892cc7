"""Learn a byte-pair vocabulary from a text, with Hugging Face's `tokenizers` (Sennrich et al. 2016,
https://arxiv.org/abs/1508.07909; on bytes: Radford et al. 2019).

The library counts and merges; encoding is tiktoken's. tests/benchmarks/bpe_training.py compares it with
rustbpe: the same bytes per token to four digits. The same text and options give the same vocabulary.
"""

import json
import math
import random
import re
from collections.abc import Iterable, Iterator
from typing import Final

from nanogpt_cli.data.tokenizers.bpe import BpeTokenizer
from nanogpt_cli.data.tokenizers.tiktoken_names import END_OF_TEXT
from nanogpt_cli.data.tokenizers.word_patterns import PATTERNS
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Notice, Progress, Reporter

# Of a 200 MB text of many kinds, 64 MB spread over it gave 99.85 % of the bytes per token that 128 MB gave at
# 32,768 ids (32 MB: 99.3 %; 16 MB: 98.0 %), in 240 MB of memory.
SAMPLE_BYTES: Final = 64 << 20
# The library takes about 110 bytes for each byte of the distinct words it learns from. English repeats its
# words (64 MB have 3 MB of distinct ones); a Chinese "word" is all between two signs, and hardly repeats: 4
# MB of it give 99.0 % of the bytes per token of 16 MB at 32,768 ids, and 99.8 % at 8,192.
_DISTINCT_WORD_BYTES: Final = 5_000_000
_PIECE_CHARACTERS: Final = 1 << 16
_SMALLEST_DEFAULT: Final = 512
_LARGEST_DEFAULT: Final = 32_768
# A vocabulary entry should be seen some hundred times to be learnt: 1,000 bytes of text for each leave about
# 300 tokens for one.
_BYTES_PER_ENTRY: Final = 1_000
_MIN_COUNT: Final = 2  # a pair that occurs once teaches nothing
# Longer words (a text without spaces, an encoded picture) are learnt from in parts: a merge inside one takes
# time in proportion to its length.
_LONGEST_WORD: Final = 256
_WORD: Final = re.compile(r"\w+|[^\w\s]+|\s+")  # near enough to what the patterns call a word
_LONG_BLANK: Final = re.compile(rf"\s{{{_LONGEST_WORD + 1}}}")


def train_bpe(
    sample: Iterable[str],
    *,
    vocab_size: int | None,
    pattern: str,
    special_tokens: tuple[str, ...],
    reporter: Reporter,
) -> BpeTokenizer:
    """A vocabulary of `vocab_size` ids, special tokens included, learnt from the pieces of `sample`.

    None takes a size that fits the text. A text with fewer pairs to merge gives fewer ids, which is said.
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    pieces = list(_short(sample))
    size_bytes = sum(map(_utf8_bytes, pieces))
    if size_bytes == 0:
        raise NanoGPTError(
            "there is no text to train a bpe tokenizer on", "nanogpt prepare input.txt --tokenizer byte"
        )
    wanted = vocab_size if vocab_size is not None else default_vocab_size(size_bytes)
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERNS[pattern].known[0]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=wanted - len(special_tokens),
        min_frequency=_MIN_COUNT,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # all 256 bytes, whether they occur or not
    )
    learner.train_from_iterator(_watched(_within_memory(pieces, size_bytes), reporter), trainer)
    learnt = json.loads(learner.to_str())["model"]["vocab"]
    tokens = _tokens(learnt)
    tokenizer = BpeTokenizer(
        tokens,
        pattern=pattern,
        special_tokens={name: len(tokens) + i for i, name in enumerate(special_tokens)},
        end_of_text=len(tokens) + special_tokens.index(END_OF_TEXT),
    )
    _say(tokenizer, wanted, vocab_size, size_bytes, reporter)
    return tokenizer


def default_vocab_size(size_bytes: int) -> int:
    """The largest power of two with 1,000 bytes of text for each entry, between 512 and 32,768."""
    size = _SMALLEST_DEFAULT
    while size < _LARGEST_DEFAULT and 2 * size * _BYTES_PER_ENTRY <= size_bytes:
        size *= 2
    return size


def byte_of_character() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for.

    GPT-2 gave every byte a visible character: its Latin-1 one where that is printable, else the next from
    U+0100 on (https://github.com/openai/gpt-2/blob/master/src/encoder.py).
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(0x100 + i): byte for i, byte in enumerate(hidden)}


def _tokens(learnt: dict[str, int]) -> list[bytes | None]:
    """Bytes in the order of merging, behind the 256 single ones, whose id is their value."""
    values = byte_of_character()
    in_order = sorted(learnt, key=learnt.__getitem__)
    merged = [bytes(values[character] for character in token) for token in in_order if len(token) > 1]
    return [*(bytes([i]) for i in range(256)), *merged]


def _short(sample: Iterable[str]) -> Iterator[str]:
    for text in sample:
        for start in range(0, len(text), _PIECE_CHARACTERS):
            yield text[start : start + _PIECE_CHARACTERS]


def _within_memory(pieces: list[str], size_bytes: int) -> list[str]:
    """As many pieces, drawn from everywhere, as have no more distinct words than memory allows.

    Distinct words grow as a power of the text (Heaps' law), which an eighth of the pieces shows.
    """
    if size_bytes <= _DISTINCT_WORD_BYTES:
        return pieces
    order = list(range(len(pieces)))
    random.Random(0).shuffle(order)  # a fixed seed: the same text gives the same vocabulary
    half = max(1, len(pieces) // 16)
    seen: set[str] = set()
    found = []  # bytes of distinct words in one and in two sixteenths
    for part in (order[:half], order[half : 2 * half]):
        for index in part:
            seen.update(_WORD.findall(pieces[index]))
        found.append(sum(map(_utf8_bytes, seen)))
    growth = found[1] / max(1, found[0])  # of distinct words, when the text doubles
    if found[1] <= _DISTINCT_WORD_BYTES and growth <= 1.01:
        return pieces
    doublings = math.log(_DISTINCT_WORD_BYTES / found[1]) / math.log(max(growth, 1.01))
    taken = int(min(len(pieces), max(1.0, 2 * half * 2 ** min(doublings, 4.0))))
    return [pieces[i] for i in sorted(order[:taken])]


def _watched(pieces: list[str], reporter: Reporter) -> Iterator[str]:
    done, total = 0, sum(map(_utf8_bytes, pieces))
    for piece in pieces:
        done += _utf8_bytes(piece)
        reporter.emit(Progress(task="learning the vocabulary", done=done, total=total, unit="bytes"))
        yield from _without_long_words(piece)


def _without_long_words(piece: str) -> Iterator[str]:
    """`piece` in parts, cut within words that are too long; nearly always one."""
    start = 0
    if max(map(len, piece.split()), default=0) > _LONGEST_WORD or _LONG_BLANK.search(piece):
        for word in _WORD.finditer(piece):
            for cut in range(word.start() + _LONGEST_WORD, word.end(), _LONGEST_WORD):
                yield piece[start:cut]
                start = cut
    yield piece[start:]


def _utf8_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _say(
    tokenizer: BpeTokenizer, wanted: int, asked: int | None, size_bytes: int, reporter: Reporter
) -> None:
    if tokenizer.vocab_size < wanted:
        message = (
            f"the text has no more pairs that repeat: the vocabulary has {tokenizer.vocab_size:,} ids "
            f"instead of {wanted:,}"
        )
    elif asked is None:
        message = (
            f"--vocab-size {wanted} chosen for {size_bytes:,} bytes of text "
            f"(one id for every {_BYTES_PER_ENTRY:,} bytes, at most {_LARGEST_DEFAULT:,})"
        )
    else:
        return
    reporter.emit(Notice(message=message))
