"""`--tokenizer PATH`: the tokenizer of a dataset, a run or a checkpoint, or a Hugging Face tokenizer.json.

Two datasets prepared with the same one have equal tokenizer hashes, and a checkpoint fits both.
"""

import json
from pathlib import Path
from typing import Final

from nanogpt_cli.data.nanogpt_folder import META_PKL, read_meta_pkl
from nanogpt_cli.data.tokenizers.base import TOKENIZER_FILE, Tokenizer, read_tokenizer
from nanogpt_cli.data.tokenizers.hf_reader import read_hf_tokenizer
from nanogpt_cli.errors import NanoGPTError, UsageError, os_reason
from nanogpt_cli.events import Reporter

HF_FILE: Final = "tokenizer.json"
# Forms of a tokenizer that transformers reads and turns into a tokenizer.json.
_OLD_FORMS: Final = ("tokenizer.model", "merges.txt", "vocab.json", "vocab.txt", "spiece.model")


def looks_like_path(name: str) -> bool:
    """Whether `--tokenizer name` means a file or folder: one that exists, or what no name looks like."""
    return "/" in name or "\\" in name or name.endswith(".json") or Path(name).exists()


def read_tokenizer_at(path: Path, reporter: Reporter) -> Tokenizer:
    """The tokenizer at `path`; raises NanoGPTError where there is none, or it cannot hold every text."""
    file = _find(path)
    if file.name == META_PKL:
        tokenizer = read_meta_pkl(file).tokenizer
        if tokenizer is None:
            raise NanoGPTError(
                f"{file} has no vocabulary of characters", "choose another: --tokenizer char, or bpe"
            )
        return tokenizer
    if file.name == TOKENIZER_FILE:
        return read_tokenizer(file)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _no_tokenizer(file, f"it cannot be read ({os_reason(error)})") from None
    except (ValueError, RecursionError):
        raise _no_tokenizer(file, "it is not JSON") from None
    if isinstance(document, dict) and "format" in document:
        return read_tokenizer(file)  # ours, under another name
    if isinstance(document, dict) and "model" in document:
        return read_hf_tokenizer(file, reporter)
    raise _no_tokenizer(file, "it describes none")


def _no_tokenizer(file: Path, reason: str) -> NanoGPTError:
    return NanoGPTError(
        f"{file} is not a tokenizer: {reason}",
        f"give a {HF_FILE}, the folder of a dataset or a run, or train one: --tokenizer bpe",
    )


def _find(path: Path) -> Path:
    """The tokenizer's file: `path` itself, or what a folder of any kind holds."""
    if path.is_file():
        return path
    if not path.exists():
        raise UsageError(
            f"there is no tokenizer {str(path)!r}: no such file or folder",
            "give the folder of a dataset or a run, or a tokenizer.json; or train one: --tokenizer bpe",
        )
    # A checkpoint, out/run/checkpoints/iter_00001000, has its tokenizer in the run's folder.
    above = path.resolve().parents[:2]
    for folder in (path, *(folder for folder in above if (folder / "checkpoints").is_dir())):
        if (folder / TOKENIZER_FILE).is_file():
            return folder / TOKENIZER_FILE
    for name in (HF_FILE, META_PKL):
        if (path / name).is_file():
            return path / name
    if old := [name for name in _OLD_FORMS if (path / name).is_file()]:
        raise NanoGPTError(
            f"{path} holds a tokenizer in an old form ({', '.join(old)}), and no {HF_FILE}",
            f'python -c "from transformers import AutoTokenizer as T; '
            f"T.from_pretrained('{path}').save_pretrained('{path}')\"",
        )
    raise NanoGPTError(
        f"{path} holds no tokenizer ({TOKENIZER_FILE}, {HF_FILE} or {META_PKL})",
        "give the folder of a dataset or a run, or train one: --tokenizer bpe",
    )
