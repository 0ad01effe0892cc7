"""The presets: TOML files under templates/presets, and which of them suits a device when none is named."""

from collections.abc import Iterable
from pathlib import Path

from nanogpt_cli.config.schema import SETTINGS
from nanogpt_cli.files import templates_dir

# From here on a vocabulary is a BPE's, not characters or bytes: its embedding alone outgrows cpu-tiny.
_BPE_VOCAB_SIZE = 4096
# What a CPU trains by itself, by the tokens of the training split. Val losses of cpu-tiny, cpu-speedrun and
# cpu-best on the first part of tinyshakespeare: 18,000 tokens 2.02, 3.02, 3.50; 90,000: 1.65, 1.57, 2.41;
# 270,000: 1.70, 1.46, 1.43 to 1.87; all 1,003,854: 1.90, 1.67, 1.46. Tables learn a short text by heart.
_SPEEDRUN_TOKENS = 50_000
_BEST_TOKENS = 750_000
_BEST_BLOCK_SIZE = 256  # cpu-best's: the val split must be longer
_RECIPE = {"Model", "Optimizer", "Learning rate"}  # groups of settings


def preset_names() -> list[str]:
    """Names of all presets, sorted."""
    return sorted(path.stem for path in (templates_dir() / "presets").glob("*.toml"))


def preset_path(name: str) -> Path:
    """The TOML file of a preset."""
    return templates_dir() / "presets" / f"{name}.toml"


def preset_summary(name: str) -> str:
    """The first comment line of a preset's file: what it is, for lists."""
    first = preset_path(name).read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("#").strip()


def choose_preset(
    device_type: str, vocab_size: int, *, train_tokens: int, val_tokens: int, given: Iterable[str] = ()
) -> tuple[str, str]:
    """The preset for a device and a text when the user names none, and the reason in words.

    `given` are the settings that the user did name: who says n_layer thinks of nanoGPT's other numbers.
    """
    if device_type == "cpu":
        described = [name for name in given if name == "init_from" or SETTINGS[name].group in _RECIPE]
        if described:
            return "cpu-tiny", f"{described[0]} is set, and the rest are nanoGPT's numbers for a CPU"
        return _for_cpu(train_tokens, val_tokens)
    if vocab_size < _BPE_VOCAB_SIZE:
        return (
            "shakespeare-char",
            f"a vocabulary of {vocab_size:,} suits nanoGPT's baby GPT on a GPU",
        )
    return "gpt2-124m", f"a vocabulary of {vocab_size:,} is a BPE's, as GPT-2's"


def _for_cpu(train_tokens: int, val_tokens: int) -> tuple[str, str]:
    if train_tokens < _SPEEDRUN_TOKENS:
        return "cpu-tiny", f"{train_tokens:,} tokens are few, and a larger model would learn them by heart"
    if train_tokens < _BEST_TOKENS or val_tokens <= _BEST_BLOCK_SIZE:
        return "cpu-speedrun", f"it learns from {train_tokens:,} tokens in seconds on a CPU"
    return (
        "cpu-best",
        f"the most a CPU learns in a minute or two, and {train_tokens:,} tokens are enough for it",
    )
