"""What a dataset's tokens tell before any model has seen them: how long a token is, and how batches differ.

Everything is estimated from samples spread over the split, so that terabytes take no longer than a megabyte.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from nanogpt_cli.data.batches import Batches
from nanogpt_cli.data.dataset import Dataset
from nanogpt_cli.data.token_files import Tokens
from nanogpt_cli.data.tokenizers.base import Tokenizer
from nanogpt_cli.errors import NanoGPTError

_PIECES: Final = 64  # samples are that many pieces at equal distances
_COUNTED_TOKENS: Final = 1 << 21  # enough to know the frequency of all but the rarest tokens
_READ_TOKENS: Final = 1 << 13
_BATCHES: Final = 64  # a standard deviation of 64 draws is known to 9 %
_SPREAD_TOKENS: Final = 1 << 22  # of all those batches together: large ones are fewer
_LONGEST_WORD: Final = 12.0  # characters from space to space, on average; more: spaces do not part words


@dataclass(frozen=True, kw_only=True)
class TextFacts:
    """Sizes of tokens, and losses (nats per token) of a model that knows nothing but their frequencies."""

    chars_per_token: float | None
    words_per_token: float | None
    unigram_loss: float
    batch_spread: float  # standard deviation between batches


def text_facts(dataset: Dataset, *, block_size: int, batch_size: int, seed: int) -> TextFacts:
    """Facts of a dataset for batches of `batch_size` windows of `block_size` tokens of its val split."""
    train = dataset.tokens("train")
    nats = _unigram_nats(train)
    # A vocabulary that is only assumed may have to be fetched first, and may be another one.
    chars, words = _lengths(train, dataset.tokenizer if dataset.vocab_source else None)
    return TextFacts(
        chars_per_token=chars,
        words_per_token=words,
        unigram_loss=float(nats[_sample(train, _COUNTED_TOKENS)].mean()),
        batch_spread=_spread(dataset.tokens("val"), nats, block_size, batch_size, seed),
    )


def _sample(tokens: Tokens, size: int) -> np.ndarray:
    """About `size` ids, in pieces from all over the text; all of a short one. int64."""
    if len(tokens) <= size:
        return tokens[np.arange(len(tokens))].astype(np.int64)
    piece = size // _PIECES
    starts = np.linspace(0, len(tokens) - piece, _PIECES).astype(np.int64)
    return tokens[(starts[:, None] + np.arange(piece)).ravel()].astype(np.int64)


def _unigram_nats(tokens: Tokens) -> np.ndarray:
    """Nats of each id by its frequency; the last entry is for ids that do not occur, as if once."""
    counts = np.append(np.bincount(_sample(tokens, _COUNTED_TOKENS)), 0)
    return np.asarray(np.log(counts.sum()) - np.log(np.maximum(counts, 1)))


def _spread(tokens: Tokens, nats: np.ndarray, block_size: int, batch_size: int, seed: int) -> float:
    rows = max(1, min(batch_size, _SPREAD_TOKENS // (8 * block_size)))
    n_batches = max(8, min(_BATCHES, _SPREAD_TOKENS // (rows * block_size)))
    batches = Batches(tokens=tokens, block_size=block_size, seed=seed)
    means = [nats[np.minimum(batches.batch(i, rows)[1], len(nats) - 1)].mean() for i in range(n_batches)]
    return float(np.std(means, ddof=1) * np.sqrt(rows / batch_size))


def _lengths(tokens: Tokens, tokenizer: Tokenizer | None) -> tuple[float | None, float | None]:
    """Characters and words of a token, on average."""
    if tokenizer is None:
        return None, None
    sample = _sample(tokens, _READ_TOKENS)
    try:
        text = tokenizer.decode(sample.tolist())
    except NanoGPTError:
        return None, None  # a vocabulary that is not on this machine: training needs none either
    words = len(text.split())
    parted = words > 0 and len(text) / words <= _LONGEST_WORD
    return len(text) / len(sample), (words / len(sample) if parted else None)
