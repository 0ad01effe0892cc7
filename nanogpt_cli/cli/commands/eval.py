"""`nanogpt eval`: the exact loss of one or several runs over a whole split."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nanogpt_cli.cli import console
from nanogpt_cli.cli.loading import load_torch
from nanogpt_cli.cli.options import DeviceOption, DtypeOption, JsonOption, QuietOption
from nanogpt_cli.errors import NanoGPTError

if TYPE_CHECKING:
    import numpy as np

    from nanogpt_cli.data.dataset import Dataset
    from nanogpt_cli.engine.runs import LoadedRun


def eval_command(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN", help="Run or checkpoint folders, side by side; the newest run if left out."
        ),
    ] = None,
    split: Annotated[Literal["val", "train"], typer.Option("--split", help="Which split.")] = "val",
    dataset: Annotated[
        str,
        typer.Option("--dataset", help="Another dataset with the same tokenizer; the run's own if left out."),
    ] = "",
    checkpoint: Annotated[
        Literal["best", "last"], typer.Option("--checkpoint", help="Lowest val loss, or the last saved.")
    ] = "best",
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", min=1, help="Windows computed at once; what suits the device if left out."
        ),
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure loss, perplexity and bits per byte over every token of a split."""
    load_torch()
    from nanogpt_cli.engine.device import choose_inference_hardware
    from nanogpt_cli.engine.evaluate import evaluate, trained_format
    from nanogpt_cli.engine.interop.nanogpt import NanoGPTCheckpoint
    from nanogpt_cli.engine.runs import load_run

    hardware = choose_inference_hardware(device, dtype)
    results: list[dict[str, Any]] = []
    paths: list[Path | None] = [*runs] if runs else [None]
    for path in paths:
        loaded = load_run(path, hardware=hardware, which=checkpoint)
        data = _dataset(loaded, dataset)
        if data.splits[split].tokens < 2:
            raise NanoGPTError(
                f"the {split} split of {data.path} has no token to predict", "prepare a longer text"
            )
        # nanoGPT's own runs did not train on a CPU in the format that their settings name.
        ours = not isinstance(loaded.checkpoint, NanoGPTCheckpoint)
        used = trained_format(hardware, loaded.config) if ours and dtype == "auto" else hardware
        how = f"in {used.dtype_name}" + (", as it trains here" if used.dtype != hardware.dtype else "")
        where = f"{loaded.checkpoint.path} on {data.path} ({split})"
        console.note(f"evaluating {where} {how}", quiet=quiet or json)
        measured = evaluate(
            loaded.model,
            data.tokens(split),
            hardware=used,
            batch_size=batch_size,
            token_bytes=_token_bytes(loaded, quiet=quiet),
        )
        results.append(
            {
                "schema_version": 1,
                "checkpoint": str(loaded.checkpoint.path),
                "dataset": str(data.path),
                "split": split,
                "dtype": used.dtype_name,
                **dataclasses.asdict(measured),
                "ppl": measured.ppl,
            }
        )
    if json:
        console.print_json(results if len(results) > 1 else results[0])
        return
    _render(results)
    console.next_step(f'nanogpt sample {results[0]["checkpoint"]} --prompt "..."', quiet=quiet)


def _token_bytes(loaded: "LoadedRun", *, quiet: bool) -> "np.ndarray | None":
    """UTF-8 bytes of every row of the embedding, (V,); None where the vocabulary cannot be had."""
    import numpy as np

    if loaded.tokenizer is None:
        return None
    try:
        known = loaded.tokenizer.token_bytes()
    except NanoGPTError as error:
        console.warn(f"bits per byte are left out: {error.message}", quiet=quiet)
        return None
    padded = np.zeros(max(len(known), loaded.model.config.vocab_size), dtype=np.int64)
    padded[: len(known)] = known  # rows beyond the vocabulary are padding and stand for no text
    return padded


def _dataset(loaded: "LoadedRun", name: str) -> "Dataset":
    """The dataset to measure on: it must speak the run's tokens, and the run's own must not have changed."""
    from nanogpt_cli.data.dataset import open_dataset
    from nanogpt_cli.data.tokenizers.base import tokenizer_hash

    data = open_dataset(name or loaded.config.dataset)
    theirs, ours = (tokenizer_hash(t) if t else None for t in (data.tokenizer, loaded.tokenizer))
    if theirs != ours:
        name_of_ours = loaded.tokenizer.name if loaded.tokenizer else "unknown"
        raise NanoGPTError(
            f"{data.path} has another tokenizer ({data.tokenizer_name}) than {loaded.run_dir} "
            f"({name_of_ours}): the same ids mean other text",
            "name a dataset prepared with the run's tokenizer: nanogpt eval --dataset NAME",
        )
    known = loaded.checkpoint.dataset["fingerprint"]  # nanoGPT's checkpoints do not know it
    if not name and known and data.fingerprint != known:
        raise NanoGPTError(
            f"the dataset {data.path} has changed since {loaded.checkpoint.path} was saved",
            f"to measure on the new text all the same: nanogpt eval {loaded.run_dir} --dataset {data.path}",
        )
    return data


def _render(results: list[dict[str, Any]]) -> None:
    """A table on a terminal; in a pipe one `name value` line each, which awk and people can read."""
    from rich.console import Console
    from rich.table import Table

    stdout = Console(highlight=False, markup=False)
    if not stdout.is_terminal:
        for result in results:
            bits = result["bits_per_byte"]
            known = "unknown" if bits is None else f"{bits:.4f}"
            stdout.print(
                f"{result['checkpoint']}: {result['split']} loss {result['loss']:.4f}, "
                f"ppl {result['ppl']:.3f}, bits per byte {known}, "
                f"{result['tokens']} tokens",
                soft_wrap=True,
            )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("checkpoint", overflow="fold")
    for name in ("loss", "ppl", "bits/byte", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        bits = result["bits_per_byte"]
        table.add_row(
            result["checkpoint"],
            f"{result['loss']:.4f}",
            f"{result['ppl']:.3f}",
            "" if bits is None else f"{bits:.4f}",
            f"{result['tokens']:,}",
        )
    stdout.print(table)
