"""A small prepared dataset, and a configuration that trains on it in a fraction of a second."""

from pathlib import Path
from typing import Any

from nanogpt_cli.config.load import LoadedConfig, load_config
from nanogpt_cli.data.dataset import Dataset, open_dataset
from nanogpt_cli.data.prepare import prepare

TEXT = "El niño come pan. Où est la clé ? 你好，世界。 The end.\n" * 60


def prepared(text: str = TEXT, tokenizer: str = "byte", **options: Any) -> Dataset:
    """`text` as data/input under the current folder; called again, it replaces what was there."""
    Path("input.txt").write_text(text, encoding="utf-8")
    prepare("input.txt", tokenizer=tokenizer, overwrite=True, **options)
    return open_dataset("input")


def tiny_settings(**changes: Any) -> LoadedConfig:
    """cpu-tiny, shrunk to 2 layers, 16 wide and 6 iterations."""
    flags = {
        "device": "cpu",
        "dtype": "float32",
        "compile": False,
        "threads": 1,
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 16,
        "block_size": 8,
        "batch_size": 4,
        "max_iters": 6,
        "lr_decay_iters": 6,
        "warmup_iters": 2,
        "eval_interval": 3,
        "eval_iters": 2,
        "log_interval": 1,
        "always_save_checkpoint": True,
    }
    return load_config(preset="cpu-tiny", flags={**flags, **changes}, environment={})
