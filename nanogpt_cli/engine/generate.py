"""Tokens from a model, one after another, for several texts side by side.

What the model sees is the whole text while it fits into block_size. From then on the context moves in
strides: when it is full, the oldest tokens are forgotten so that `stride` - 1 more fit, and the rest is
read again in one pass; so it always holds the newest block_size + 1 - stride to block_size tokens. Keys and
values depend on all that came before them: those made with tokens and positions that are gone belong to no
context, and to move by one token (stride 1, nanoGPT's way) is to read the whole context again for each.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from nanogpt_cli.engine.decoders import build_decoder
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.kv_cache import bytes_per_sequence
from nanogpt_cli.engine.models.base import LanguageModel, ModelConfig
from nanogpt_cli.engine.models.decoder import Decoder
from nanogpt_cli.engine.sampling import Sampling

_CACHE_BYTES = 1 << 30  # for all texts made side by side


def default_stride(block_size: int) -> int:
    """A quarter: the context keeps at least three, and a pass over it is shared by many tokens."""
    return max(1, block_size // 4)


def side_by_side(config: ModelConfig, hardware: Hardware) -> int:
    """How many texts to make at a time, so that their cache stays within a gigabyte."""
    each = bytes_per_sequence(config, config.block_size, hardware.dtype, hardware.device)
    return max(1, _CACHE_BYTES // each)


class Generation:
    """Texts that go on from one prompt. Each is drawn with its own seed, and is the same alone.

    The same, that is, up to the rounding of the logits, which products over several rows do in another order.
    """

    def __init__(
        self,
        decoder: Decoder,
        prompt: np.ndarray,
        *,
        seeds: Sequence[int],
        device: torch.device,
        sampling: Sampling,
        max_new_tokens: int | None = None,
        stop_token: int | None = None,
        stride: int | None = None,
    ) -> None:
        """`prompt`: 1-D ids, at least one. Without `max_new_tokens` there is no end but the stop token."""
        assert len(prompt) > 0, "the caller gives at least one token to start from"
        block_size = decoder.config.block_size
        self.stop_token = stop_token
        self.sampling = sampling
        self.active = list(range(len(seeds)))  # the texts that still grow, by number
        self._decoder = decoder
        self._keep = block_size + 1 - (stride or default_stride(block_size))
        assert 1 <= self._keep <= block_size, "a stride of 1 to block_size"
        self._left = max_new_tokens
        self._generators = [torch.Generator(device=device).manual_seed(seed) for seed in seeds]
        ids = torch.from_numpy(np.asarray(prompt, dtype=np.int64)).to(device)
        self._seen: torch.Tensor | None = None  # (B, V) bool: what stands in each text
        self._prompt = ids
        self._length = min(len(ids), block_size)
        # (B, block_size + 1): the first `_length` may be seen by the next draw, if they fit into block_size.
        self._context = ids.new_empty(len(seeds), block_size + 1)
        self._context[:, : self._length] = ids[-block_size:]
        self._unread = self._context[:, : self._length]  # their end, which the decoder has not read
        room = block_size if max_new_tokens is None else min(block_size, len(prompt) + max_new_tokens)
        decoder.start(len(seeds), room)

    @torch.inference_mode()
    def step(self) -> list[tuple[int, int]]:
        """Draw a token for each text that still grows: (its number, id). Empty when all have ended."""
        if not self.active or self._left == 0:
            return []
        logits = self._read()
        drawn = self.sampling.draw(logits, self._generators, self._seen_in(logits))
        if self._seen is not None:
            self._seen.scatter_(1, drawn, True)
        self._context[:, self._length] = drawn[:, 0]
        self._length += 1
        self._unread = drawn
        self._left = None if self._left is None else self._left - 1
        ids = [row[0] for row in drawn.tolist()]
        tokens = list(zip(self.active, ids, strict=True))
        if self.stop_token not in ids:
            return tokens
        for number, token in tokens:
            if token == self.stop_token:
                self.drop(number)
        return [(number, token) for number, token in tokens if token != self.stop_token]

    def _read(self) -> torch.Tensor:
        """Logits (B, V) after the context, which moves on first where it is full."""
        if self._length > self._decoder.config.block_size:
            newest = self._context[:, self._length - self._keep : self._length].clone()
            self._length = self._keep
            self._context[:, : self._keep] = newest
            self._unread = newest
            self._decoder.forget()
        return self._decoder.read(self._unread)

    def _seen_in(self, logits: torch.Tensor) -> torch.Tensor | None:
        if self.sampling.repetition_penalty != 1.0 and self._seen is None:
            self._seen = torch.zeros_like(logits, dtype=torch.bool)
            self._seen[:, self._prompt[self._prompt < logits.shape[1]]] = True
        return self._seen

    def drop(self, number: int) -> None:
        """This text has ended; the others go on."""
        if number not in self.active:
            return
        rows = [row for row, active in enumerate(self.active) if active != number]
        self.active = [self.active[row] for row in rows]
        self._generators = [self._generators[row] for row in rows]
        self._context, self._unread = self._context[rows], self._unread[rows]
        self._seen = self._seen[rows] if self._seen is not None else None
        if rows:
            self._decoder.keep(rows)


def generate(
    model: LanguageModel,
    prompt: np.ndarray,
    *,
    max_new_tokens: int,
    hardware: Hardware,
    vocab_size: int,
    temperature: float = 0.8,
    top_k: int | None = 200,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    seed: int = 1337,
    stop_token: int | None = None,
    stride: int | None = None,
) -> Iterator[int]:
    """Yield up to `max_new_tokens` token ids that continue `prompt` (1-D ids, at least one).

    `vocab_size` is the tokenizer's: ids beyond it are only padding of the embedding and are never drawn.
    Temperature 0 takes the likeliest token. The same seed gives the same text on the same device.
    `stride` is how many tokens the context forgets at a time when it is full; 1 is nanoGPT's sliding window.
    """
    generation = Generation(
        build_decoder(model, hardware, vocab_size),
        prompt,
        seeds=[seed],
        device=hardware.device,
        sampling=Sampling(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
        ),
        max_new_tokens=max_new_tokens,
        stop_token=stop_token,
        stride=stride,
    )
    while drawn := generation.step():
        yield drawn[0][1]
