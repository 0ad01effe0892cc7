"""What to type instead: the setting that was meant, the configuration file that is there."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from nanogpt_cli.config.presets import preset_names
from nanogpt_cli.config.schema import SETTINGS

# What other programs call these settings; none is spelt nearly like ours.
_ELSEWHERE: Final = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "bs": "batch_size",
    "steps": "max_iters",
    "max_steps": "max_iters",
    "num_steps": "max_iters",
    "iterations": "max_iters",
    "epochs": "max_iters",
    "num_epochs": "max_iters",
    "layers": "n_layer",
    "num_layers": "n_layer",
    "heads": "n_head",
    "num_heads": "n_head",
    "d_model": "n_embd",
    "hidden_size": "n_embd",
    "embedding_dim": "n_embd",
    "context": "block_size",
    "context_length": "block_size",
    "seq_len": "block_size",
    "sequence_length": "block_size",
    "grad_accum": "gradient_accumulation_steps",
    "accumulate": "gradient_accumulation_steps",
    "clip": "grad_clip",
    "precision": "dtype",
    "model": "init_from",
    "data": "dataset",
    "output": "out_dir",
}
# nanoGPT's own files, which a folder without them can do without.
_PRESET_OF: Final = {
    "train_shakespeare_char.py": "shakespeare-char",
    "train_gpt2.py": "gpt2-124m",
    "finetune_shakespeare.py": "finetune-gpt2",
}


def suggestion(name: str, known: Sequence[str] = tuple(SETTINGS)) -> str:
    """` (did you mean block_size?)`, or nothing where no known name is near."""
    near = nearest(name, known)
    return f" (did you mean {near}?)" if near else ""


def nearest(name: str, known: Sequence[str] = tuple(SETTINGS)) -> str | None:
    """The known name that is meant, by another program's word for it or by its spelling."""
    plain = name.replace("-", "_").lower()
    if plain in _ELSEWHERE and _ELSEWHERE[plain] in known:
        return _ELSEWHERE[plain]
    return _closest(plain, known) or _closest(name, known)


def missing_file_hint(path: Path) -> str:
    """What to type where a configuration file is named that is not there."""
    text = str(path)
    if text in preset_names():
        return f"it is a preset: nanogpt train --preset {text}"
    if text.lower() in {"true", "false"}:
        return f"a value of True or False stands behind an equals sign, as in --compile={text}"
    if path.suffix == ".txt":
        return f"to train on a text, prepare it first: nanogpt prepare {text} --tokenizer char"
    name, equals, value = text.partition("=")
    if equals and value:
        return f"a setting has two dashes: nanogpt train --{name.lstrip('-')}={value}"
    if equals or not path.suffix:
        return "write settings without spaces around =: nanogpt train --batch_size=12"
    if path.name == "train.py":
        return "nanogpt train stands for python train.py: leave train.py out"
    here = _files_here()
    if path.name in _PRESET_OF and path.name not in here:
        return f"its settings come with nanogpt: nanogpt train --preset {_PRESET_OF[path.name]}"
    if near := _closest(path.name, here):
        return f"there is {here[near]}: nanogpt train {here[near]}"
    return "nanogpt train --preset cpu-tiny, or nanogpt init to get a nanogpt.toml to start from"


def _files_here() -> dict[str, str]:
    """Configuration files in this folder and in ./config, path by name."""
    found = [path for folder in (Path(), Path("config")) for path in folder.glob("*.[pt][yo]*")]
    return {path.name: path.as_posix() for path in found if path.suffix in {".py", ".toml"}}


def _closest(name: str, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)
