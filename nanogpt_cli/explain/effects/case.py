"""What a setting's function receives and returns: the run, and the keys and numbers of sentences."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.events import RunForecast


class Seconds(float):
    """A number that is shown as a duration."""


class Bytes(int):
    """A number that is shown as an amount of memory."""


@dataclass(frozen=True)
class Sentence:
    """One sentence of a setting's table in the catalogue; a caution also stands apart from the table."""

    key: str
    numbers: Mapping[str, Any]
    caution: bool = False


def say(key: str, /, **numbers: Any) -> Sentence:
    """What is so."""
    return Sentence(key, numbers)


def warn(key: str, /, **numbers: Any) -> Sentence:
    """What is seldom meant."""
    return Sentence(key, numbers, caution=True)


@dataclass(frozen=True, kw_only=True)
class RunCase:
    """A run that was not started: its settings, and what the dry run found."""

    config: TrainConfig
    forecast: RunForecast

    @property
    def pretrained(self) -> bool:
        """Whether it starts from weights that somebody trained before, and is no resumed run."""
        return self.forecast.resumed_from_iter is None and self.config.init_from != "scratch"

    @property
    def trains(self) -> bool:
        """Whether there is at least one iteration to come."""
        return self.iters_left > 0 and not self.config.eval_only

    @property
    def iters_left(self) -> int:
        """Iterations still to come."""
        return max(0, self.config.max_iters - (self.forecast.resumed_from_iter or 0))

    @property
    def micro_tokens(self) -> int:
        """Tokens of one micro-batch."""
        return self.config.batch_size * self.config.block_size

    @property
    def tokens_per_iter(self) -> int:
        """Tokens of one iteration of all processes."""
        return self.micro_tokens * self.config.gradient_accumulation_steps

    @property
    def tokens(self) -> int:
        """Tokens of the whole run, those before a resume included."""
        return self.config.max_iters * self.tokens_per_iter

    @property
    def epochs(self) -> float:
        """Passes over the training split."""
        return self.tokens / self.forecast.train_tokens

    @property
    def tokens_per_param(self) -> float:
        """Tokens of the run for each parameter that is computed with: those of a table are looked up."""
        return self.tokens / (self.forecast.n_params - self.config.ngram_params)

    @property
    def blind_loss(self) -> float:
        """ln V: every token equally likely."""
        return math.log(self.forecast.vocab_size)

    @property
    def decays(self) -> bool:
        """Whether the rate falls after the warm-up."""
        return self.config.decay_lr and self.config.lr_schedule != "constant"

    # --- Time and memory

    @cached_property
    def train_seconds(self) -> float:
        """Of all iterations to come, evaluations aside."""
        return self.iters_left * self.forecast.timing.iter_ms / 1000 if self.trains else 0.0

    @cached_property
    def eval_seconds(self) -> float:
        """Of all evaluations to come."""
        return self.forecast.n_evals * self.forecast.timing.eval_ms / 1000

    @property
    def total_seconds(self) -> float:
        """Of the run, compiling and saving aside."""
        return self.train_seconds + self.eval_seconds

    @property
    def eval_share(self) -> float:
        """Of the run's time, 0..1."""
        return self.eval_seconds / self.total_seconds if self.total_seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Of all processes, while training."""
        return 1000 * self.tokens_per_iter / self.forecast.timing.iter_ms

    @property
    def mfu(self) -> float:
        """Model FLOPs utilisation that the probe found, 0..1."""
        return self.forecast.flops_per_token * self.tokens_per_second / self.forecast.peak_flops

    @property
    def fits(self) -> bool:
        """Whether the memory that is free is enough, as far as is known."""
        available = self.forecast.available_bytes
        return available is None or self.forecast.memory_bytes < available


Effect = Callable[[RunCase], Iterator[Sentence]]
