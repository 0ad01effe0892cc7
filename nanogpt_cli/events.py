"""What the engine tells the world while it works: frozen events, handed to a `Reporter`.

The engine knows no terminal. It emits these; the live table, the plain lines, `metrics.jsonl` and anything
else each read the same events. Times are in milliseconds (`_ms`) or seconds (`_seconds`), rates are per
second, `mfu` is a fraction 0..1 (None while it cannot be known), losses are mean nats per token.
"""

import contextlib
from dataclasses import dataclass
from typing import Literal, Protocol

from nanogpt_cli.config.schema import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of everything a reporter receives."""


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """A decision worth saying once: which dataset, which preset, why compile is off."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Warned(Event):
    """Something the user set or has that will not do what they may expect; the work goes on."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """How far a job of known size has come (`total` None while unknown)."""

    task: str
    done: int
    total: int | None
    unit: str


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """Everything known before the first iteration: what the panel above the table shows."""

    config: TrainConfig
    run_dir: str
    resumed_from_iter: int | None
    resumed_with: tuple[str, ...] | None = None  # "eval", "sample": done there before it was saved
    device: str  # "cpu (AMD EPYC, 2 threads)"
    dtype: str
    dtype_reason: str
    compile: bool
    compile_reason: str
    world_size: int
    strategy: str  # "single" process, "ddp": whole weights in each, "fsdp": divided among them
    n_params: int  # without position embeddings, as nanoGPT counts
    n_decay_tensors: int
    n_decay_params: int
    n_nodecay_tensors: int
    n_nodecay_params: int
    fused_adamw: bool
    tokens_per_iter: int
    micro_batches: int  # gradient accumulation steps of one process
    vocab_size: int  # rows of the embedding, padding included
    dataset_dir: str
    vocab_source: str | None  # the file that gave the vocabulary size; None: GPT-2's default
    tokenizer: str
    train_tokens: int
    val_tokens: int
    epochs: float  # passes over train_tokens if the run reaches max_iters
    expected_first_loss: float  # ln(vocab_size): every token equally likely
    flops_per_token: float
    peak_flops: float | None  # of all processes' devices together, FLOP/s
    peak_source: str  # "measured: …", "datasheet: …", or why it is unknown


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What the run's parts take on this machine, by a probe: real weights, real batches, both discarded."""

    iter_ms: float  # one iteration of the whole run, all its micro-batches and the optimizer's step
    eval_ms: float  # one evaluation: eval_iters batches of both splits
    basis: Literal["measured", "scaled", "estimated"]  # whole micro-batches; fewer rows; the peak alone
    probe_rows: int  # sequences of the micro-batches that were timed; 0 where none was
    first_loss: float | None  # nats per token of the first batch, before any step


@dataclass(frozen=True, kw_only=True)
class RunForecast(Event):
    """What a dry run found out about a run that would start now: the numbers `train --explain` tells."""

    run_dir: str
    resumed_from_iter: int | None
    device_type: str  # cpu, cuda, mps
    device: str  # "cpu (AMD EPYC, 2 threads)"
    dtype: str
    compile: bool
    threads: int
    world_size: int
    dataset_dir: str
    tokenizer: str
    vocab_size: int  # rows of the embedding, padding included
    text_vocab_size: int | None  # ids the tokenizer has; None: GPT-2's, assumed
    train_tokens: int
    val_tokens: int
    chars_per_token: float | None  # None where the folder does not say how ids become text
    words_per_token: float | None  # None too where spaces do not part words, as in Chinese
    unigram_loss: float  # nats per token of a model that knows how frequent each token is, and no more
    batch_spread: float  # standard deviation of that loss between validation batches of this size
    n_params: int  # without position embeddings, as nanoGPT counts
    n_params_total: int
    n_block_params: int  # of one transformer block
    n_vocab_params: int  # of embedding and head; a tied head counts once
    n_bias_params: int
    head_size: int
    flops_per_token: float
    attention_share: float  # of flops_per_token, 0..1
    peak_flops: float  # of all processes' devices together, FLOP/s
    peak_source: str
    weights_bytes: int  # memory of one device, here and below
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    available_bytes: int | None  # memory free for this process now; None where the system does not tell
    checkpoint_bytes: int  # of one checkpoint on the disk
    final_lr: float  # of the last iteration
    n_evals: int
    timing: Timing

    @property
    def memory_bytes(self) -> int:
        """What training needs at once."""
        return self.weights_bytes + self.gradients_bytes + self.optimizer_bytes + self.activations_bytes


@dataclass(frozen=True, kw_only=True)
class Compiling(Event):
    """torch.compile starts; the first iterations will be slow."""


@dataclass(frozen=True, kw_only=True)
class StepLogged(Event):
    """One log interval: means over the iterations since the previous one."""

    iter_num: int
    loss: float
    lr: float
    grad_norm: float | None  # before clipping; None where no gradient was finite
    clipped: float | None  # share of iterations whose gradient was clipped, 0..1; None when grad_clip is 0
    step_ms: float  # mean per iteration, evaluation and saving excluded
    tokens_per_second: float
    mfu: float | None
    eta_seconds: float | None  # evaluations, samples and saves included
    tokens_seen: int
    epochs: float  # tokens_seen in passes over the training split


@dataclass(frozen=True, kw_only=True)
class NonFinite(Event):
    """The loss or the gradient of an iteration was NaN or infinite; its weights were not updated."""

    iter_num: int
    loss: float
    grad_norm: float
    data_offsets: tuple[int, ...]  # first token of every sequence of the global batch, in train.bin
    skipped: bool  # True: the run goes on with the next batch (on_nonfinite = "skip")


@dataclass(frozen=True, kw_only=True)
class EvalStarted(Event):
    """An evaluation begins at `iter_num`."""

    iter_num: int


@dataclass(frozen=True, kw_only=True)
class EvalDone(Event):
    """The estimate of both losses over eval_iters batches each."""

    iter_num: int
    train_loss: float
    val_loss: float
    lr: float
    best: bool  # the lowest val loss so far
    eval_ms: float


@dataclass(frozen=True, kw_only=True)
class SampleDrawn(Event):
    """What the model wrote at `iter_num`; beside the same draws at another iteration it shows progress."""

    iter_num: int
    prompt: str
    text: str  # without the prompt; as the model made it: line breaks, control characters and all
    tokens: int
    sample_ms: float


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved(Event):
    """A complete checkpoint lies in `path`."""

    iter_num: int
    path: str
    out_dir: str
    best: bool
    save_ms: float


@dataclass(frozen=True, kw_only=True)
class RunEnded(Event):
    """The run is over: `reason` is finished, eval_only, SIGINT, SIGTERM or nonfinite."""

    reason: str
    saved: bool = True  # False: an evaluation alone, which has nothing to save or to go on with
    run_dir: str
    iters: int
    final_train_loss: float | None
    final_val_loss: float | None
    best_val_loss: float | None
    best_val_iter: int | None
    best_checkpoint: str | None
    tokens_seen: int
    epochs: float  # tokens_seen in passes over the training split
    median_ms_per_iter: float | None  # over the log intervals of this process, the first left out
    ms_per_iter_p10: float | None  # a tenth of the same intervals were not slower
    ms_per_iter_p90: float | None  # nine tenths
    tokens_per_second: float | None
    mfu: float | None
    peak_flops: float | None
    peak_flops_source: str
    peak_memory_bytes: int | None  # of the GPU, else of this process; None where nobody tells
    peak_reserved_bytes: int | None  # what PyTorch held of the GPU; None without one
    wall_seconds: float


@dataclass(frozen=True, kw_only=True)
class Aborted(Event):
    """A second signal ends the process now, in whatever it is: a screen gives the terminal back at once."""


class Reporter(Protocol):
    """Whoever listens. `emit` must not raise for a reason of its own: a broken screen never stops a run."""

    def emit(self, event: Event) -> None: ...

    def close(self) -> None: ...


class NullReporter:
    """Says nothing: ranks other than 0, and library use."""

    def emit(self, event: Event) -> None:
        """Drop the event."""

    def close(self) -> None:
        """Nothing to close."""


class Tee:
    """Hands every event to several reporters, in order."""

    def __init__(self, *reporters: Reporter) -> None:
        self.reporters = list(reporters)

    def emit(self, event: Event) -> None:
        """Pass `event` to each reporter; one whose terminal or pipe has gone is not asked again."""
        for index, reporter in enumerate(self.reporters):
            try:
                reporter.emit(event)
            except (OSError, ValueError):  # ValueError: the stream is closed
                self.reporters[index] = NullReporter()

    def close(self) -> None:
        """Close each reporter, whatever becomes of the others."""
        for reporter in self.reporters:
            with contextlib.suppress(OSError, ValueError):
                reporter.close()
