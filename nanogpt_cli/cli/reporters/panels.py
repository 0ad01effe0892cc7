"""The panel before a run, with every number worked out, and the one after it."""

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from nanogpt_cli import events
from nanogpt_cli.cli.reporters.words import ending_sentence, memory, milliseconds, percent, rate


def start_panel(event: events.RunStarted) -> Panel:
    """What is about to be trained, on what, how, and what to expect."""
    config = event.config
    worked_out = (
        f"{_count(config.gradient_accumulation_steps, 'micro-batch', 'es')} × "
        f"{_count(config.batch_size, 'sequence')} × "
        f"{config.block_size} tokens = {event.tokens_per_iter:,} per iteration"
    )
    if event.world_size > 1:
        worked_out += f", over {event.world_size} processes ({event.strategy})"
    table = event.config.ngram_params
    looked_up = f" ({_parameters(table)} looked up, not computed with)" if table else ""
    peak = f"{rate(event.peak_flops)}FLOP/s" if event.peak_flops else "unknown"
    lines = [
        ("device", event.device),
        ("dtype", f"{event.dtype}: {event.dtype_reason}"),
        ("compile", f"{'on' if event.compile else 'off'}: {event.compile_reason}"),
        (
            "model",
            f"{_parameters(event.n_params)} parameters{looked_up}: {_count(config.n_layer, 'layer')}, "
            f"{_count(config.n_head, 'head')}, {config.n_embd} wide",
        ),
        ("tokens", worked_out),
        (
            "dataset",
            f"{event.dataset_dir}: {event.train_tokens:,} train + {event.val_tokens:,} val tokens "
            f"({event.tokenizer})",
        ),
        ("epochs", f"{event.epochs:.3g} in {config.max_iters:,} iterations"),
        ("first loss", f"about {event.expected_first_loss:.4f} = ln({event.vocab_size:,}), a blind guess"),
        ("MFU peak", f"{peak}, {event.peak_source}"),
    ]
    if event.resumed_from_iter is not None:
        lines.insert(0, ("resumed", f"from iteration {event.resumed_from_iter}"))
    return Panel(_grid(lines), title=Text(event.run_dir), title_align="left", border_style="cyan")


def end_panel(event: events.RunEnded) -> Panel:
    """How the run ended, what it reached, where its best checkpoint lies."""
    lines = [("run", ending_sentence(event))]
    if event.final_val_loss is not None and event.final_train_loss is not None:
        lines.append(
            ("last", f"train loss {event.final_train_loss:.4f}, val loss {event.final_val_loss:.4f}")
        )
    if event.best_checkpoint:
        is_best = event.best_checkpoint.endswith(f"{event.best_val_iter:08d}")  # iteration 0 is never saved
        lines.append(("best" if is_best else "saved", event.best_checkpoint))
    if event.median_ms_per_iter is not None and event.tokens_per_second is not None:
        speed = f"{milliseconds(event.median_ms_per_iter)} ms/iter"
        if event.ms_per_iter_p10 is not None and event.ms_per_iter_p90 is not None:
            low, high = milliseconds(event.ms_per_iter_p10), milliseconds(event.ms_per_iter_p90)
            speed += f" ({low} to {high} in 8 of 10)"
        speed += f", {rate(event.tokens_per_second)} tokens/s"
        if event.mfu is not None:
            speed += f", MFU {percent(event.mfu)}"
        lines.append(("speed", speed))
    if event.tokens_seen:
        lines.append(("text", f"{event.tokens_seen:,} tokens read, {event.epochs:.3g} epochs"))
    if event.peak_memory_bytes is not None:
        lines.append(("memory", _memory_words(event.peak_memory_bytes, event.peak_reserved_bytes)))
    healthy = event.reason in {"finished", "eval_only"}
    return Panel(
        _grid(lines),
        title=Text(event.run_dir),
        title_align="left",
        border_style="green" if healthy else "yellow" if event.reason != "nonfinite" else "red",
    )


def _memory_words(used: int, reserved: int | None) -> str:
    if reserved is None:
        return f"{memory(used)} at most, of this process"
    return f"{memory(used)} at most on the GPU, {memory(reserved)} reserved"


def _parameters(number: int) -> str:
    return f"{number / 1e9:.2f}B" if number >= 1e9 else f"{number / 1e6:.2f}M"


def _count(number: int, word: str, ending: str = "s") -> str:
    return f"{number} {word}{'' if number == 1 else ending}"


def _grid(lines: list[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in lines:
        grid.add_row(name, Text(value))
    return grid
