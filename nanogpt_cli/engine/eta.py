"""How long a run will still take: its iterations, and what it stops for in between."""

import math

from nanogpt_cli.config.schema import TrainConfig


class Pauses:
    """What an evaluation, a sample and a save took the last time, and how many are to come."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.eval_ms = 0.0
        self.sample_ms = 0.0
        self.save_ms = 0.0

    def seconds_left(self, done: int, train_seconds: float) -> float:
        """Of all pauses from iteration `done` to the end, `train_seconds` of training between them."""
        every = self.config
        evals = _times(every.eval_interval, done, every.max_iters)
        samples = _times(every.sample_interval, done, every.max_iters) if every.sample_interval else 0
        pauses_ms = evals * self.eval_ms + samples * self.sample_ms
        return (pauses_ms + self._saves(done, train_seconds) * self.save_ms) / 1000

    def _saves(self, done: int, train_seconds: float) -> int:
        """Those that are certain: whether an evaluation will be the best so far, nobody knows."""
        config = self.config
        intervals = [config.eval_interval] if config.always_save_checkpoint else []
        intervals += [config.save_interval] if config.save_interval else []
        due = sum(_multiples(interval, done, config.max_iters) for interval in intervals)
        if len(intervals) == 2:  # saved once where both are due
            due -= _multiples(math.lcm(*intervals), done, config.max_iters)
        ends_on_one = any(config.max_iters % interval == 0 for interval in intervals)
        by_clock = int(train_seconds / (60 * config.save_minutes)) if config.save_minutes else 0
        return due + (not ends_on_one) + max(0, by_clock - due)


def _times(interval: int, done: int, last: int) -> int:
    """How often something happens from iteration `done` on: at every multiple, and at the end."""
    return _multiples(interval, done, last) + (last % interval != 0)


def _multiples(interval: int, first: int, last: int) -> int:
    """Multiples of `interval` in first..last, both included."""
    return last // interval - (first - 1) // interval
