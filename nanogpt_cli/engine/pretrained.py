"""`init_from`: weights to start from that somebody trained before, whatever wrote them.

OpenAI's GPT-2 by nanoGPT's names or any GPT-2 of Hugging Face's format (hub id or folder), a `ckpt.pt` of
nanoGPT (or the folder that holds it), a run of this program or one of its checkpoints.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nanogpt_cli.data.dataset import Dataset
from nanogpt_cli.data.tokenizers.base import tokenizer_hash
from nanogpt_cli.engine.interop.hf import HUB_IDS, gpt2_shape, load_gpt2
from nanogpt_cli.engine.interop.nanogpt import GPT2_VOCAB_SIZES, read_ckpt
from nanogpt_cli.engine.models.base import ModelConfig
from nanogpt_cli.engine.runs import find_checkpoint, foreign_ckpt, means_run, run_tokenizer
from nanogpt_cli.errors import UsageError

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A model's shape and weights; no `tokenizer_sha256` where nothing says for certain what its ids mean."""

    name: str
    shape: ModelConfig
    weights: dict[str, Tensor]
    tokenizer_name: str | None
    tokenizer_sha256: str | None


def check_before_loading(dataset: Dataset, name: str) -> None:
    """Raise UsageError where a GPT-2 would be downloaded for a dataset of other tokens."""
    if dataset.tokenizer_name == "gpt2":
        return
    on_the_hub = _HUB_ID.fullmatch(name) and not Path(name).exists()
    # Other people's may have a vocabulary of their own: the first small file of theirs says how large.
    if name in HUB_IDS or (on_the_hub and _tokenizer_of(gpt2_shape(name)) == "gpt2"):
        _check_speaks_gpt2(dataset, name)


def load_pretrained(name: str) -> Pretrained:
    """The weights `name` stands for; raises NanoGPTError for what cannot be had or read."""
    path = Path(name)
    if (ckpt := foreign_ckpt(path)) is not None:
        read = read_ckpt(ckpt)
        return Pretrained(
            name=str(ckpt),
            shape=read.model,
            weights=read.weights(),
            tokenizer_name=_tokenizer_of(read.model),
            tokenizer_sha256=None,
        )
    if means_run(path):
        return _own(path)
    shape, weights = load_gpt2(name)
    return Pretrained(
        name=name, shape=shape, weights=weights, tokenizer_name=_tokenizer_of(shape), tokenizer_sha256=None
    )


def _tokenizer_of(shape: ModelConfig) -> str | None:
    """What the size of its vocabulary tells of a model's tokenizer."""
    # Between the two lie GPT-2's with a few tokens added, as for padding.
    return "gpt2" if min(GPT2_VOCAB_SIZES) <= shape.vocab_size <= max(GPT2_VOCAB_SIZES) else None


def check_vocabulary(dataset: Dataset, given: Pretrained) -> None:
    """Raise UsageError where the dataset's ids are not those the weights were trained on."""
    tokenizer = dataset.tokenizer
    if given.tokenizer_sha256 is not None and tokenizer is not None:
        if tokenizer_hash(tokenizer) == given.tokenizer_sha256:
            return
        same_name = "another " if dataset.tokenizer_name == given.tokenizer_name else ""
        raise UsageError(
            f"{given.name} was trained on the tokens of {given.tokenizer_name}, but dataset {dataset.name} "
            f"was prepared with {same_name}{dataset.tokenizer_name}: the same ids would mean other text",
            f"prepare the text with the run's own tokenizer: nanogpt prepare SOURCE --tokenizer {given.name} "
            f"--name {dataset.name} --overwrite",
        )
    if given.tokenizer_name == "gpt2":
        _check_speaks_gpt2(dataset, given.name)
    if given.tokenizer_name is None and dataset.vocab_size != given.shape.vocab_size:
        known = f"{dataset.vocab_size:,}" if dataset.vocab_size is not None else "GPT-2's"
        raise UsageError(
            f"{given.name} was trained with {given.shape.vocab_size:,} token ids, dataset {dataset.name} has "
            f"{known}: the same ids would mean other text",
            "train on the data folder it was made with: --dataset NAME",
        )
    if dataset.vocab_size is not None and dataset.vocab_size > given.shape.vocab_size:
        raise UsageError(
            f"dataset {dataset.name} has {dataset.vocab_size:,} token ids, {given.name} only "
            f"{given.shape.vocab_size:,}",
            "use a GPT-2 with the full vocabulary: --init-from gpt2",
        )


def _check_speaks_gpt2(dataset: Dataset, name: str) -> None:
    if dataset.tokenizer_name != "gpt2":
        raise UsageError(
            f"{name} speaks GPT-2's tokens, but dataset {dataset.name} was prepared with the tokenizer "
            f"{dataset.tokenizer_name}",
            f"prepare the text for it: nanogpt prepare SOURCE --tokenizer gpt2 --name {dataset.name}-gpt2",
        )


def _own(path: Path) -> Pretrained:
    """A run (its best checkpoint), or the one checkpoint that is named."""
    run_dir, checkpoint = find_checkpoint(path, "best")
    tokenizer = run_tokenizer(run_dir)
    return Pretrained(
        name=str(path),
        shape=checkpoint.model,
        weights=checkpoint.weights(),
        tokenizer_name=tokenizer.name if tokenizer else checkpoint.dataset.get("tokenizer"),
        tokenizer_sha256=tokenizer_hash(tokenizer) if tokenizer else None,
    )
