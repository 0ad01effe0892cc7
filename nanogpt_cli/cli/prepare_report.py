"""What `nanogpt prepare` says at the end: the numbers, advice, and the likely next command."""

from pathlib import Path

from nanogpt_cli.cli import console
from nanogpt_cli.data.preparing.prepared import PreparedDataset, PreparedSplit


def report(prepared: PreparedDataset, *, quiet: bool) -> None:
    """The dataset in a few lines."""
    state = "already prepared, unchanged" if prepared.unchanged else "ready"
    console.note(f"dataset    {prepared.path} ({state})", quiet=quiet)
    ids = f"{prepared.vocab_size:,} ids"
    if prepared.ids_used is not None and prepared.ids_used < prepared.vocab_size:
        ids += f" ({prepared.ids_used:,} of them occur)"
    console.note(f"tokenizer  {prepared.tokenizer}, {ids}, {prepared.dtype}", quiet=quiet)
    for name, split in prepared.splits.items():
        made = f"{split.tokens:,} tokens from {split.bytes:,} bytes of text"
        console.note(f"{name:<9}  {made}{_documents(prepared, split)}", quiet=quiet)
    console.note(f"on average {prepared.bytes_per_token:.2f} bytes per token", quiet=quiet)
    if prepared.advice:
        console.warn(prepared.advice, quiet=quiet)


def next_command(prepared: PreparedDataset, *, default_root: Path) -> str:
    """The `nanogpt train` that takes this dataset."""
    train = "nanogpt train"  # with what suits the device and the text, or with a project's settings
    if prepared.path.parent != default_root:
        return f"{train} --dataset {prepared.path}"
    # A dataset just written is the newest, and train takes that by itself.
    return train + (f" --dataset {prepared.name}" if prepared.unchanged else "")


def _documents(prepared: PreparedDataset, split: PreparedSplit) -> str:
    """How many documents, where there is more than one text."""
    if sum(each.documents for each in prepared.splits.values()) <= len(prepared.splits):
        return ""
    return f" in {split.documents:,} document" + ("" if split.documents == 1 else "s")
