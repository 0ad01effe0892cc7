"""nanoGPT's plain lines, character for character, so that scripts written for its logs keep working.

`iter 10: loss 3.1234, time 12.34ms, mfu 5.12%` and `step 250: train loss 1.9000, val loss 2.0000`. What
nanoGPT got wrong is not repeated: time leaves evaluations out, and mfu is of this device, or left out while
it is unknown.
"""

from nanogpt_cli import events
from nanogpt_cli.cli.reporters.appended_file import Sink
from nanogpt_cli.cli.reporters.words import ending_sentence, rate, sample_line


class PlainReporter:
    """Writes each event as lines of plain text, flushed at once: a log is read while it grows."""

    def __init__(self, stream: Sink) -> None:
        self.stream = stream

    def emit(self, event: events.Event) -> None:
        """Write the event's lines, if it has any."""
        for line in plain_lines(event):
            self.stream.write(line + "\n")
        self.stream.flush()

    def close(self) -> None:
        """Nothing of ours to close: the stream belongs to whoever opened it."""


def plain_lines(event: events.Event) -> list[str]:
    """The lines of one event."""
    match event:
        case events.RunStarted():
            return _start_lines(event)
        case events.Compiling():
            return ["compiling the model... (takes a ~minute)"]
        case events.StepLogged():
            mfu = "" if event.mfu is None else f", mfu {event.mfu * 100:.2f}%"
            return [f"iter {event.iter_num}: loss {event.loss:.4f}, time {event.step_ms:.2f}ms{mfu}"]
        case events.EvalDone():
            return [
                f"step {event.iter_num}: train loss {event.train_loss:.4f}, val loss {event.val_loss:.4f}"
            ]
        case events.SampleDrawn():
            return [f"sample {event.iter_num}: {sample_line(event)}"]
        case events.CheckpointSaved():
            return [f"saving checkpoint to {event.out_dir}"]
        case events.Warned():
            return [f"warning: {event.message}"]
        case events.Notice():
            return [event.message]
        case events.RunEnded():
            return [ending_sentence(event)]
        case events.Aborted():
            return ["stopped"]
    return []


def _start_lines(event: events.RunStarted) -> list[str]:
    if event.vocab_source is not None:
        vocabulary = f"found vocab_size = {event.vocab_size} (inside {event.vocab_source})"
    else:
        vocabulary = (
            f"defaulting to vocab_size of GPT-2 to {event.vocab_size} (50257 rounded up for efficiency)"
        )
    if event.resumed_from_iter is not None:
        start = f"Resuming training from {event.run_dir}"
    elif event.config.init_from == "scratch":
        start = "Initializing a new model from scratch"
    else:
        start = f"Initializing from OpenAI GPT-2 weights: {event.config.init_from}"
    peak = f"{rate(event.peak_flops)}FLOP/s" if event.peak_flops else "unknown"
    return [
        f"tokens per iteration will be: {event.tokens_per_iter:,}",
        vocabulary,
        start,
        f"number of parameters: {event.n_params / 1e6:.2f}M",
        f"num decayed parameter tensors: {event.n_decay_tensors}, with {event.n_decay_params:,} parameters",
        f"num non-decayed parameter tensors: {event.n_nodecay_tensors}, "
        f"with {event.n_nodecay_params:,} parameters",
        f"using fused AdamW: {event.fused_adamw}",
        f"run directory: {event.run_dir}",
        f"device: {event.device}, {event.dtype} ({event.dtype_reason})",
        f"compile: {event.compile} ({event.compile_reason})",
        f"peak for mfu: {peak} ({event.peak_source})",
    ]
