"""`nanogpt prepare`: turn a text into a dataset under data/, and say what came of it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from nanogpt_cli import events
from nanogpt_cli.cli import console
from nanogpt_cli.cli.options import JsonOption, QuietOption
from nanogpt_cli.config.load import PROJECT_FILE
from nanogpt_cli.errors import EXIT_SIGTERM

if TYPE_CHECKING:
    from nanogpt_cli.data.prepared import PreparedDataset

DEFAULT_ROOT = Path("data")


def prepare_command(
    source: Annotated[
        str, typer.Argument(help="A UTF-8 text file, or python-docs (built in, offline).", show_default=False)
    ],
    tokenizer: Annotated[
        str,
        typer.Option("--tokenizer", "-t", help="char, byte, gpt2, or another name tiktoken knows."),
    ] = "char",
    val_fraction: Annotated[
        float,
        typer.Option("--val-fraction", help="The share of the text, from its end, kept for validation."),
    ] = 0.1,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="What to call the dataset (default: after the source).",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path, typer.Option("--data-dir", help="The folder that datasets lie in.", rich_help_panel="Output")
    ] = DEFAULT_ROOT,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a dataset of that name; other files in its folder stay.",
            rich_help_panel="Output",
        ),
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Turn a text into tokens to train on.

    Writes data/<name>/ with train.bin, val.bin, the tokenizer and meta.json. nanoGPT's own train.py reads the
    folder too.
    """
    from nanogpt_cli.data.prepare import prepare

    with _exit_on_sigterm(), ProgressBar(quiet=quiet or as_json) as reporter:
        prepared = prepare(
            source,
            tokenizer=tokenizer,
            name=name,
            data_root=data_dir,
            val_fraction=val_fraction,
            overwrite=overwrite,
            reporter=reporter,
        )
    for message in reporter.warnings:
        console.warn(message, quiet=quiet)
    if as_json:
        console.print_json(prepared.to_json())
        return
    _report(prepared, quiet=quiet)
    console.next_step(_next_command(prepared, data_dir), quiet=quiet)


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Leave through every `finally`, so that no temporary folder stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can catch signals
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one must not stop the tidying up
        raise SystemExit(EXIT_SIGTERM)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _report(prepared: "PreparedDataset", *, quiet: bool) -> None:
    state = "already prepared, unchanged" if prepared.unchanged else "ready"
    console.note(f"dataset    {prepared.path} ({state})", quiet=quiet)
    console.note(
        f"tokenizer  {prepared.tokenizer}, {prepared.vocab_size:,} ids, {prepared.dtype}", quiet=quiet
    )
    for name, split in prepared.splits.items():
        console.note(f"{name:<9}  {split.tokens:,} tokens from {split.bytes:,} bytes of text", quiet=quiet)
    console.note(f"on average {prepared.bytes_per_token:.2f} bytes per token", quiet=quiet)
    if prepared.advice:
        console.warn(prepared.advice, quiet=quiet)


def _next_command(prepared: "PreparedDataset", data_dir: Path) -> str:
    # In a project train takes its settings from there; the preset would change nothing in them.
    train = "nanogpt train" if Path(PROJECT_FILE).is_file() else "nanogpt train --preset cpu-tiny"
    if data_dir != DEFAULT_ROOT:
        return f"{train} --dataset {prepared.path}"
    # A dataset just written is the newest, and train takes that by itself.
    return train + (f" --dataset {prepared.name}" if prepared.unchanged else "")


class ProgressBar:
    """Shows `Progress` events as a bar on a terminal's stderr, and keeps warnings for afterwards."""

    def __init__(self, *, quiet: bool) -> None:
        # Imported here: `nanogpt --help` loads this module, and needs no bar.
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        self.warnings: list[str] = []
        stderr = console.stderr_console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=stderr,
            transient=True,
            disable=quiet or not stderr.is_terminal or stderr.is_dumb_terminal,
        )
        self._task = self._bar.add_task("", start=True, visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def emit(self, event: events.Event) -> None:
        """Move the bar, or keep a warning."""
        if isinstance(event, events.Progress):
            self._bar.update(
                self._task,
                description=event.task,
                completed=event.done,
                total=event.total,
                visible=True,
            )
        elif isinstance(event, events.Warned):
            self.warnings.append(event.message)

    def close(self) -> None:
        """Take the bar off the screen."""
        self._bar.stop()
