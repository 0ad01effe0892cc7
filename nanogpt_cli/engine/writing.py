"""Texts that go on from a prompt, piece by piece as they are made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from nanogpt_cli.data.tokenizers.base import Tokenizer
from nanogpt_cli.engine.decoders import build_decoder
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.generate import Generation, side_by_side
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.models.decoder import Decoder
from nanogpt_cli.engine.sampling import Sampling
from nanogpt_cli.engine.text_stream import TextStream


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What was added to text number `number`, and whether it ends there."""

    number: int
    text: str
    last: bool


@dataclass(kw_only=True)
class Writer:
    """A model and its tokenizer, ready to write with the same settings again and again.

    A text ends after `max_new_tokens`, at the tokenizer's end of text, or before a string of `stop`.
    """

    model: LanguageModel
    tokenizer: Tokenizer
    hardware: Hardware
    vocab_size: int  # ids that may be drawn
    sampling: Sampling = field(default_factory=Sampling)
    max_new_tokens: int = 500
    stop: Sequence[str] = ()
    stride: int | None = None
    tokens: int = 0  # drawn so far, in all texts

    def __post_init__(self) -> None:
        self._decoder: Decoder = build_decoder(self.model, self.hardware, self.vocab_size)

    def write(self, prompt_ids: np.ndarray, seeds: Sequence[int]) -> Iterator[Piece]:
        """One text for each seed, several at a time; pieces of each in order, the last one marked."""
        many = side_by_side(self.model.config, self.hardware)
        for start in range(0, len(seeds), many):
            for piece in self._write_together(prompt_ids, seeds[start : start + many]):
                yield Piece(number=start + piece.number, text=piece.text, last=piece.last)

    def _write_together(self, prompt_ids: np.ndarray, seeds: Sequence[int]) -> Iterator[Piece]:
        generation = Generation(
            self._decoder,
            prompt_ids,
            seeds=seeds,
            device=self.hardware.device,
            sampling=self.sampling,
            max_new_tokens=self.max_new_tokens,
            stop_token=self.tokenizer.end_of_text,
            stride=self.stride,
        )
        streams = {number: TextStream(self.tokenizer, self.stop) for number in range(len(seeds))}
        while drawn := generation.step():
            self.tokens += len(drawn)
            for number, token in drawn:
                if text := streams[number].feed(token):
                    yield Piece(number=number, text=text, last=False)
                if streams[number].stopped:
                    generation.drop(number)
            for number in streams.keys() - set(generation.active):
                yield Piece(number=number, text=streams.pop(number).close(), last=True)
        for number, stream in streams.items():
            yield Piece(number=number, text=stream.close(), last=True)
