"""What a rule receives and returns: a `Case` with the facts several rules need, and a `Finding`."""

import bisect
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from nanogpt_cli.explain.learning_rate import SCHEDULE_SETTINGS, LearningRate
from nanogpt_cli.explain.nanogpt_settings import DEFAULTS
from nanogpt_cli.explain.records import Log, Run
from nanogpt_cli.explain.scatter import is_sound, noise_of

Severity = Literal["info", "warning", "error"]
Number = int | float | str

A100_PEAK_FLOPS = 312e12  # dense bfloat16; nanoGPT divides by it whatever the device (model.py, estimate_mfu)


class LossPoint(NamedTuple):
    """An iteration whose training loss is known and finite."""

    iter_num: int
    loss: float


class LossPair(NamedTuple):
    """An evaluation of both splits, both finite."""

    iter_num: int
    train_loss: float
    val_loss: float


class ValPoint(NamedTuple):
    """A finite validation loss, in the run's own unit."""

    iter_num: int
    val_loss: float


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing worth saying about a run; its words are in the catalogue under `message_key`."""

    code: str  # stable, documented
    severity: Severity
    iters: tuple[int, ...] = ()  # where to look
    confidence: float = 1.0  # 0..1
    numbers: Mapping[str, Number] = field(default_factory=dict)  # the evidence, and the message's values
    variant: str = ""  # another wording of the same finding

    @property
    def message_key(self) -> str:
        """`overfitting` or `overfitting.strong`."""
        return f"{self.code}.{self.variant}" if self.variant else self.code


_PARAMS_ROUNDING = 5_000  # "0.80M" is rounded to 0.01 million
# A token of English text holds some 4.5 bytes, so one nat per token is about 1 / (ln 2 * 4.5) bits per byte.
_BITS_PER_BYTE_OF_A_NAT = 0.32
# A process warms up in its first few iterations, for as long as each takes well over the usual time.
_WARM_UP_POINTS = 4
_WARM_UP_ITERS = 10
_WARM_UP_RATIO = 2.0
# The training splits nanoGPT's data/*/prepare.py make, as their readme files give them.
_TRAIN_TOKENS = {"shakespeare_char": 1_003_854, "shakespeare": 301_966, "openwebtext": 9_035_582_198}
_NEARBY_POINTS = 20  # training losses whose median stands for the loss at an evaluation
_READ_ALL = 0.9  # of the text: a table of n-grams that has met so much of it may be said to have read it


def _default(name: str) -> float | None:
    value = DEFAULTS.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True)
class Case:
    """One run of one log, and what several rules want to know about it."""

    log: Log
    run: Run

    def setting(self, name: str) -> float | None:
        """A numeric setting: as printed, else nanoGPT's default where the log shows that defaults hold."""
        known = self.run.setting(name)
        if known is None and self._defaults_hold:
            return _default(name)
        return known

    @cached_property
    def _defaults_hold(self) -> bool:
        """Whether what was not printed has nanoGPT's default.

        Forks have others, and an edited train.py prints no override. So the header must give tokens per
        iteration, they must follow from the settings, and the evaluations must come at eval_interval.
        """
        run = self.run
        if not run.nanogpt_habits or run.tokens_per_iter is None:
            return False
        values = [
            run.setting(name) or _default(name) or 0
            for name in ("batch_size", "block_size", "gradient_accumulation_steps", "eval_interval")
        ]
        batch_size, block_size, accumulation, eval_interval = values
        if batch_size * block_size * accumulation != run.tokens_per_iter:
            return False
        return all(e.iter_num % max(1, eval_interval) == 0 for e in run.evals)

    @cached_property
    def evals(self) -> list[LossPair]:
        """Evaluations with two finite losses."""
        return [
            LossPair(e.iter_num, e.train_loss, e.val_loss)
            for e in self.run.evals
            if is_sound(e.train_loss) and is_sound(e.val_loss)
        ]

    @cached_property
    def iters(self) -> list[LossPoint]:
        """Iterations with a finite loss."""
        return [LossPoint(p.iter_num, p.loss) for p in self.run.iters if is_sound(p.loss)]

    @cached_property
    def vals(self) -> list[ValPoint]:
        """Finite validation losses, also where the training split was not evaluated."""
        return [ValPoint(e.iter_num, e.val_loss) for e in self.run.evals if is_sound(e.val_loss)]

    @cached_property
    def best(self) -> ValPoint | None:
        """The lowest validation loss."""
        return min(self.vals, key=lambda e: e.val_loss, default=None)

    @cached_property
    def val_noise(self) -> float:
        """Standard deviation of one validation estimate, from the log itself; 0 where it cannot be told.

        Without the first third, where the loss falls steeply and its curve is no straight line.
        """
        later = self.vals[len(self.vals) // 3 :]
        return noise_of([e.val_loss for e in later]) or 0.0

    @cached_property
    def batch_noise(self) -> float:
        """Standard deviation of one logged training loss, from the last third of them; 0 if unknown."""
        return noise_of([p.loss for p in self.iters[-max(20, len(self.iters) // 3) :]]) or 0.0

    def nats(self, amount: float) -> float:
        """A threshold of `amount` nats per token in the unit of this run's validation loss."""
        return amount if self.run.val_unit == "nats" else _BITS_PER_BYTE_OF_A_NAT * amount

    def train_near(self, iter_num: int) -> float | None:
        """The training loss at an evaluation: its own estimate, else the batches' around it."""
        pair = self._pairs.get(iter_num)
        if pair is not None:
            return pair
        end = bisect.bisect_right(self._iter_nums, iter_num)
        points = self.iters[max(0, end - _NEARBY_POINTS) : end]
        return statistics.median([p.loss for p in points]) if points else None

    @cached_property
    def _pairs(self) -> dict[int, float]:
        return {pair.iter_num: pair.train_loss for pair in self.evals}

    @cached_property
    def _iter_nums(self) -> list[int]:
        return [p.iter_num for p in self.iters]

    @cached_property
    def ours(self) -> bool:
        """Whether this program wrote the log."""
        return self.run.trainer == "ours" or self.log.format == "metrics"

    @cached_property
    def target(self) -> int | None:
        """The iteration the run was to reach, if the log tells."""
        value, last = self.setting("max_iters"), self.run.last_iter or 0
        if value is None or value <= 0 or last > value + self.spacing:
            return None  # a run beyond it shows that it is the number of something else
        return int(value)

    @cached_property
    def spacing(self) -> int:
        """Iterations between the last two lines."""
        nums = [p.iter_num for p in self.run.iters[-2:]] or [e.iter_num for e in self.run.evals[-2:]]
        return max(1, nums[-1] - nums[0]) if nums else 1

    @cached_property
    def reached_end(self) -> bool:
        """Whether the run got as far as it was to go."""
        last = self.run.last_iter
        if last is None or self.run.failures:
            return False
        if self.run.ending is not None:
            return self.run.ending.reason in {"finished", "eval_only"}
        if self.run.trainer == "litgpt" and self.run.wall_seconds is not None:
            return True  # it prints its time once, when it is done
        if self.target is None:
            return False
        if self.run.nanogpt_habits:  # it counts from 0 to max_iters, both included
            return last > self.target - max(1, self.setting("log_interval") or 1)
        return last >= self.target - self.spacing

    @cached_property
    def tokens_seen(self) -> float | None:
        """Tokens learned from up to the last iteration shown."""
        if self.run.tokens_per_iter is None or not self.run.last_iter:
            return None
        return float(self.run.tokens_per_iter) * self.run.last_iter

    @cached_property
    def tokens_per_parameter(self) -> float | None:
        """Tokens learned from per parameter; about 20 is the best use of a given amount of computing."""
        computed_with = (self.run.n_params or 0) - self.table_params
        return self.tokens_seen / computed_with if self.tokens_seen and computed_with > 0 else None

    @cached_property
    def table_params(self) -> int:
        """Parameters in a table of n-grams of ours: they are looked up, not computed with."""
        if self.run.config.get("arch") != "nanochat" or (self.setting("ngram_order") or 0) < 2:
            return 0
        return int((self.setting("ngram_rows") or 0) * (self.setting("n_embd") or 0))

    @property
    def table_has_read_all(self) -> bool:
        """Whether a table of n-grams has met nearly the whole text: it knows the text by heart next time."""
        return self.table_params > 0 and (self.epochs or 0) >= _READ_ALL

    @cached_property
    def epochs(self) -> float | None:
        """Passes over the training split, if the log tells its size or counts them."""
        if self.run.epochs_seen is not None:
            return self.run.epochs_seen
        known = _TRAIN_TOKENS.get(str(self.run.config.get("dataset", "")))
        train_tokens = self.run.train_tokens or (known if self.run.nanogpt_habits else None)
        return self.tokens_seen / train_tokens if self.tokens_seen and train_tokens else None

    @cached_property
    def rate(self) -> LearningRate:
        """The learning rate over the run."""
        return LearningRate(self.run, {name: self.setting(name) for name in SCHEDULE_SETTINGS})

    @cached_property
    def eval_iters(self) -> frozenset[int]:
        """Iterations at which an evaluation took place."""
        return frozenset(e.iter_num for e in self.run.evals)

    @cached_property
    def curve(self) -> list[LossPoint]:
        """Training losses, of batches or else of evaluations; where there are none, validation (in nats)."""
        if self.iters or self.run.val_unit != "nats":
            return self.iters
        if self.evals:
            return [LossPoint(e.iter_num, e.train_loss) for e in self.evals]
        return [LossPoint(e.iter_num, e.val_loss) for e in self.vals]

    @cached_property
    def start_iters(self) -> frozenset[int]:
        """The iterations in which processes were warming up: the first timed one and slow ones that follow.

        Compilation may strike twice: some compile the first step and the first with another shape apart.
        """
        timed = [(p.iter_num, p.time_ms) for p in self.run.iters if p.time_ms and math.isfinite(p.time_ms)]
        if not timed:
            return frozenset(self.run.process_starts)
        usual = statistics.median(ms for _, ms in timed)
        begins = set(self.run.process_starts) | ({timed[0][0]} if timed[0][0] <= 1 else set())
        found = set(begins)
        for begin in begins:
            at = bisect.bisect_left(timed, (begin, 0.0))
            for iter_num, ms in timed[at : at + _WARM_UP_POINTS]:
                if iter_num > begin + _WARM_UP_ITERS or ms < _WARM_UP_RATIO * usual:
                    break
                found.add(iter_num)
        return frozenset(found)

    @cached_property
    def ordinary_points_ms(self) -> list[tuple[int, float]]:
        """(iteration, time) without those to which an evaluation or a process's start adds."""
        starts = self.start_iters
        return [
            (p.iter_num, p.time_ms)
            for p in self.run.iters
            if p.time_ms is not None
            and math.isfinite(p.time_ms)
            and p.iter_num not in starts
            and not (self.run.nanogpt_habits and p.iter_num in self.eval_iters)
        ]

    @cached_property
    def ordinary_times_ms(self) -> list[float]:
        """The times of `ordinary_points_ms`."""
        return [ms for _, ms in self.ordinary_points_ms]

    @cached_property
    def median_ms(self) -> float | None:
        """The usual time of an iteration."""
        return statistics.median(self.ordinary_times_ms) if self.ordinary_times_ms else None

    @cached_property
    def measured_mfu(self) -> list[float]:
        """MFU of every line that gives one, as a fraction."""
        return [p.mfu for p in self.run.iters if p.mfu is not None and 0 < p.mfu < math.inf]

    @cached_property
    def untrained_loss(self) -> float | None:
        """Loss of a model that knows nothing: ln(vocab_size), else what iteration 0 showed."""
        if self.run.untrained_loss is not None:
            return self.run.untrained_loss
        return None if self.run.pretrained else self.loss_at_zero

    @cached_property
    def loss_at_zero(self) -> float | None:
        """The loss before the first update: the evaluation's, which is more exact, or the batch's."""
        if self.evals and self.evals[0].iter_num == 0:
            return self.evals[0].train_loss
        if self.vals and self.vals[0].iter_num == 0 and self.run.val_unit == "nats":
            return self.vals[0].val_loss
        # Some count from 1: what they print there was still computed before the first update.
        first = 0 if self.run.nanogpt_habits else 1
        return self.iters[0].loss if self.iters and self.iters[0].iter_num <= first else None

    @cached_property
    def span(self) -> int:
        """Iterations between the first and the last point."""
        first, last = self.run.first_iter, self.run.last_iter
        return 0 if first is None or last is None else last - first

    @cached_property
    def model_shape(self) -> tuple[int, int, int] | None:
        """(n_layer, n_embd, block_size), if they agree with the number of parameters the log gives."""
        values = [self.setting(name) for name in ("n_layer", "n_embd", "block_size")]
        n_layer, n_embd, block_size = (int(value) if value else 0 for value in values)
        if not (n_layer and n_embd and block_size and self.run.n_params):
            return None
        # N = 12 · L · C² for the blocks plus V · C for the tied embedding, and little else; V below 300,000.
        embedding = self.run.n_params - self.table_params - 12 * n_layer * n_embd**2
        fits = -_PARAMS_ROUNDING < embedding < 300_000 * n_embd
        return (n_layer, n_embd, block_size) if fits else None

    def recent_loss(self, points: int = 5) -> float | None:
        """Median of the last training losses: single batches are noisy."""
        return statistics.median([p.loss for p in self.iters[-points:]]) if self.iters else None

    def loss_around(self, iter_num: int) -> float | None:
        """Median of the training losses around an iteration."""
        at = bisect.bisect_left(self._iter_nums, iter_num)
        reach = max(2, len(self.iters) // 40)
        near = self.iters[max(0, at - reach) : at + reach + 1]
        return statistics.median([p.loss for p in near]) if near else None
