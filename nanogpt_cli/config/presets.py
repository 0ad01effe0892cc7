"""The presets: TOML files under templates/presets, and which of them suits a device when none is named."""

from pathlib import Path

from nanogpt_cli.files import templates_dir

# From here on a vocabulary is a BPE's, not characters or bytes: its embedding alone outgrows cpu-tiny.
_BPE_VOCAB_SIZE = 4096


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


def choose_preset(device_type: str, vocab_size: int) -> tuple[str, str]:
    """The preset for a device and a vocabulary when the user names none, and the reason in words."""
    if device_type == "cpu":
        return "cpu-tiny", "it trains in minutes on a CPU"
    if vocab_size < _BPE_VOCAB_SIZE:
        return (
            "shakespeare-char",
            f"a vocabulary of {vocab_size:,} suits nanoGPT's baby GPT on a GPU",
        )
    return "gpt2-124m", f"a vocabulary of {vocab_size:,} is a BPE's, as GPT-2's"
