"""`nanogpt prepare`: turn any text into a dataset under data/, and say what came of it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

from nanogpt_cli.cli import console
from nanogpt_cli.cli.options import JsonOption, QuietOption
from nanogpt_cli.cli.reporters.progress_bar import ProgressBar
from nanogpt_cli.config.load import PROJECT_FILE, read_file
from nanogpt_cli.config.schema import SETTINGS
from nanogpt_cli.errors import EXIT_SIGTERM, UsageError

DEFAULT_ROOT = Path("data")
_READING = "How sources are read"
_HUB = "Hugging Face datasets"
_TOKENIZER = "Tokenizer"
_SPLIT = "Training and validation"
_OUTPUT = "Output"


def prepare_command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Files, folders, quoted globs, - (standard input); a Hugging Face dataset: owner/name or "
            "hf:owner/name; built in: shakespeare, python-docs (offline).",
            show_default=False,
        ),
    ],
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="GLOB",
            help="Of a folder, only files like this (repeatable).",
            rich_help_panel=_READING,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="GLOB",
            help="Of a folder, no files like this (repeatable).",
            rich_help_panel=_READING,
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            "--encoding",
            help="Of the files, where it is neither UTF-8 nor UTF-16: cp1252, gb18030 …",
            rich_help_panel=_READING,
            show_default=False,
        ),
    ] = None,
    errors: Annotated[
        Literal["strict", "replace"],
        typer.Option(
            "--errors",
            help="Bytes that are no text: an error, or replaced by U+FFFD.",
            rich_help_panel=_READING,
        ),
    ] = "strict",
    text_column: Annotated[
        str | None,
        typer.Option(
            "--text-column",
            metavar="NAME",
            help="Of .jsonl, .csv, .parquet and datasets: the column with the text (default: guessed).",
            rich_help_panel=_READING,
            show_default=False,
        ),
    ] = None,
    max_docs: Annotated[
        int | None,
        typer.Option("--max-docs", min=1, help="Stop after so many documents.", rich_help_panel=_READING),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="NAME", help="Which configuration.", rich_help_panel=_HUB),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME", help="Which split (default: train).", rich_help_panel=_HUB),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option("--revision", help="Which branch, tag or commit.", rich_help_panel=_HUB),
    ] = None,
    streaming: Annotated[
        bool,
        typer.Option(
            "--streaming", help="Read it as it arrives, without a download first.", rich_help_panel=_HUB
        ),
    ] = False,
    tokenizer: Annotated[
        str,
        typer.Option(
            "--tokenizer",
            "-t",
            help="char, byte, gpt2 or another name tiktoken knows, bpe (trained on this text), or the path "
            "of a saved tokenizer.",
            rich_help_panel=_TOKENIZER,
        ),
    ] = "char",
    vocab_size: Annotated[
        int | None,
        typer.Option(
            "--vocab-size", min=1, help="Of bpe, special tokens included.", rich_help_panel=_TOKENIZER
        ),
    ] = None,
    pattern: Annotated[
        Literal["gpt4", "gpt2"],
        typer.Option("--pattern", help="Of bpe: how text is split into words.", rich_help_panel=_TOKENIZER),
    ] = "gpt4",
    special_token: Annotated[
        list[str] | None,
        typer.Option(
            "--special-token",
            metavar="TOKEN",
            help="Of bpe: a token that no text gives, beside <|endoftext|> (repeatable).",
            rich_help_panel=_TOKENIZER,
        ),
    ] = None,
    val_fraction: Annotated[
        float | None,
        typer.Option(
            "--val-fraction",
            help="The share kept for validation: the end of one text, or drawn documents of many. "
            "[default: 0.1]",
            rich_help_panel=_SPLIT,
            show_default=False,
        ),
    ] = None,
    val_file: Annotated[
        Path | None,
        typer.Option(
            "--val-file",
            metavar="SOURCE",
            help="Validate on this text; the sources all train.",
            rich_help_panel=_SPLIT,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Draws the validation documents.", rich_help_panel=_SPLIT)
    ] = 1337,
    block_size: Annotated[
        int | None,
        typer.Option(
            "--block-size",
            min=1,
            help="Both splits must hold one window of so many tokens (default: the project's, or 64).",
            rich_help_panel=_SPLIT,
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="What to call the dataset (default: after the source).",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path, typer.Option("--data-dir", help="The folder that datasets lie in.", rich_help_panel=_OUTPUT)
    ] = DEFAULT_ROOT,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            help="Encoders at work (default: one for each core).",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with an interrupted preparation.", rich_help_panel=_OUTPUT),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a dataset of that name; other files in its folder stay.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Turn any text into tokens to train on.

    Writes data/<name>/ with train.bin, val.bin, the tokenizer and meta.json. nanoGPT's own train.py reads the
    folder too.
    """
    from nanogpt_cli.cli.prepare_report import next_command, report
    from nanogpt_cli.data.prepare import prepare
    from nanogpt_cli.data.preparing.request import DEFAULT_VAL_FRACTION
    from nanogpt_cli.data.sources.base import SourceOptions
    from nanogpt_cli.data.tokenizers.recipes import TokenizerOptions

    if val_file is not None and val_fraction is not None:
        raise UsageError(
            "--val-file and --val-fraction exclude each other: a validation text of its own is not a share",
            "leave out --val-fraction",
        )
    with _exit_on_sigterm(), ProgressBar(quiet=quiet or as_json) as reporter:
        prepared = prepare(
            sources,
            tokenizer=tokenizer,
            tokenizer_options=TokenizerOptions(
                vocab_size=vocab_size, pattern=pattern, special_tokens=tuple(special_token or ())
            ),
            source_options=SourceOptions(
                include=tuple(include or ()),
                exclude=tuple(exclude or ()),
                encoding=encoding,
                errors=errors,
                text_column=text_column,
                config=config,
                split=split,
                revision=revision,
                streaming=streaming,
                max_docs=max_docs,
            ),
            val_file=val_file,
            val_fraction=DEFAULT_VAL_FRACTION if val_fraction is None else val_fraction,
            seed=seed,
            block_size=_project_block_size() if block_size is None else block_size,
            name=name,
            data_root=data_dir,
            threads=threads,
            resume=resume,
            overwrite=overwrite,
            reporter=reporter,
        )
    for message in reporter.warnings:
        console.warn(message, quiet=quiet)
    if as_json:
        console.print_json(prepared.to_json())
        return
    report(prepared, quiet=quiet)
    console.next_step(next_command(prepared, default_root=DEFAULT_ROOT), quiet=quiet)


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


def _project_block_size() -> int:
    """The block_size that `nanogpt train` would use here: nanogpt.toml's, else cpu-tiny's."""
    from nanogpt_cli.data.prepare import DEFAULT_BLOCK_SIZE

    if not Path(PROJECT_FILE).is_file():
        return DEFAULT_BLOCK_SIZE
    from nanogpt_cli.config.load import read_preset

    layer = read_file(Path(PROJECT_FILE))
    values = {**(read_preset(layer.preset).values if layer.preset else {}), **layer.values}
    raw = values.get("block_size", DEFAULT_BLOCK_SIZE)
    try:
        return int(str(SETTINGS["block_size"].parse(raw)))
    except ValueError:
        return DEFAULT_BLOCK_SIZE  # `train` names what is wrong with the project; a text can be prepared
