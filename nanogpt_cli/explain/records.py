"""What a log says once it is read: runs made of points, whatever the format it was written in.

Units: losses in mean nats per token (validation losses possibly in bits per byte: `Run.val_unit`), times in
milliseconds, `mfu` as a fraction 0..1. `Run` is filled by the parser and only read afterwards.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Scalar = bool | int | float | str
Trainer = Literal[
    "nanogpt",
    "ours",
    "nanochat",
    "build-nanogpt",
    "llm.c",
    "modded-nanogpt",
    "litgpt",
    "torchtitan",
    "hf-trainer",
    "mingpt",
    "unknown",
]
ValUnit = Literal["nats", "bpb"]


class IterPoint(NamedTuple):
    """One logged training iteration."""

    iter_num: int
    loss: float | None  # may be nan or inf; None: the line gives the time only (modded-nanogpt)
    time_ms: float | None = None
    mfu: float | None = None  # None: not printed, or not measured yet
    mfu_pending: bool = False  # nanoGPT printed -100.00%
    lr: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None


class EvalPoint(NamedTuple):
    """One estimate over many batches, without dropout; many trainers estimate the validation loss only."""

    iter_num: int
    train_loss: float | None  # nats
    val_loss: float  # in `Run.val_unit`
    lr: float | None = None
    eval_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An exception the log shows, or a signal that ended the process."""

    exception: str  # "RuntimeError", "torch.OutOfMemoryError", "SIGTERM"
    message: str
    location: str = ""  # 'train.py, line 168: ix = torch.randint(…)', as far as the log shows it


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How our own log says the run ended: the `end` record, or train.log's last sentence."""

    reason: str  # finished, eval_only, SIGINT, SIGTERM, nonfinite
    iters: int | None = None  # iterations done, which may be more than were logged
    wall_seconds: float | None = None


@dataclass(kw_only=True)
class Run:
    """One training, possibly in several processes (`resumed_at`), with all that the log tells of it."""

    # nanoGPT's own habits: a time may contain an evaluation, MFU is of an A100 and averaged, -100 % at first.
    # False: written by this program, whose times leave evaluations out and whose MFU is of its own device.
    nanogpt_habits: bool = True
    trainer: Trainer = "unknown"
    val_unit: ValUnit = "nats"
    smoothed: bool = False  # the training loss printed is a running average (nanochat), not one batch's
    epochs_seen: float | None = None  # passes over the data, as far as the log says
    wall_seconds: float | None = None  # of the training, where the log says it
    header_seen: bool = False
    resuming: bool = False  # the process says that it starts from a checkpoint
    pretrained: bool = False  # it starts from OpenAI's GPT-2 weights
    config: dict[str, Scalar] = field(default_factory=dict)
    vocab_size: int | None = None
    n_params: float | None = None  # without position embeddings; from text rounded to 0.01 million
    tokens_per_iter: int | None = None
    train_tokens: int | None = None
    flops_per_token: float | None = None
    peak_flops: float | None = None
    peak_source: str = ""
    device: str = ""
    iters: list[IterPoint] = field(default_factory=list)
    evals: list[EvalPoint] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)  # iterations at which one was saved
    process_starts: list[int] = field(default_factory=list)  # first iteration each process logged
    resumed_at: list[int] = field(default_factory=list)  # the same, resumed processes only
    n_iter_lines: int = 0  # lines read, also those a resume rolled back
    n_eval_lines: int = 0
    failures: list[Failure] = field(default_factory=list)
    ending: Ending | None = None

    @property
    def has_points(self) -> bool:
        """Whether any training is in it."""
        return bool(self.iters or self.evals)

    @property
    def first_iter(self) -> int | None:
        """The lowest iteration the log shows."""
        return min((p[0].iter_num for p in (self.iters, self.evals) if p), default=None)

    @property
    def last_iter(self) -> int | None:
        """The highest iteration the log shows."""
        return max((p[-1].iter_num for p in (self.iters, self.evals) if p), default=None)

    @property
    def best_eval(self) -> EvalPoint | None:
        """The evaluation with the lowest finite validation loss."""
        finite = [e for e in self.evals if math.isfinite(e.val_loss)]
        return min(finite, key=lambda e: e.val_loss, default=None)

    def setting(self, name: str) -> float | None:
        """A numeric setting as the log gives it, else None."""
        value = self.config.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return value if math.isfinite(value) else None

    @property
    def untrained_loss(self) -> float | None:
        """ln(vocab_size): the loss of a model for which every token is equally likely."""
        return math.log(self.vocab_size) if self.vocab_size and self.vocab_size > 1 else None


@dataclass(kw_only=True)
class Log:
    """Everything read from one source."""

    source: str
    format: str = "unknown"  # "metrics" (our jsonl), else a `Trainer`
    runs: list[Run] = field(default_factory=list)
    n_dropped_runs: int = 0  # between the first and the others, where a log holds hundreds
    n_lines: int = 0
    n_text_lines: int = 0  # lines that are not blank
    n_unread_lines: int = 0  # of those, lines that told nothing
    unread: list[tuple[int, str]] = field(default_factory=list)  # the first of them, with their line numbers
    n_duplicated_lines: int = 0  # iteration or evaluation lines that repeat the one before
