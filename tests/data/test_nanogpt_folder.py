"""nanoGPT's data folders, both ways: what its scripts write opens here, what we write works there.

nanoGPT itself is not needed: `nanogpt_prepares` writes what its data/shakespeare_char/prepare.py does, and
`NanoGPT` reads what its train.py and sample.py do, from the format alone.
"""

import array
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanogpt_cli.data.dataset import open_dataset
from nanogpt_cli.data.nanogpt_folder import meta_pkl
from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.data.tokenizers.base import Tokenizer, save_tokenizer
from nanogpt_cli.data.tokenizers.char import CharTokenizer
from nanogpt_cli.data.tokenizers.recipes import TokenizerOptions, choose_recipe
from nanogpt_cli.data.tokenizers.tiktoken_names import TiktokenTokenizer
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import NullReporter


def nanogpt_prepares(text: str, folder: Path) -> None:
    """Ids in the order of the characters, the first nine tenths of them for training, 2 bytes each."""
    folder.mkdir(parents=True)
    number = {character: i for i, character in enumerate(sorted(set(text)))}
    border = int(len(text) * 0.9)
    for name, part in (("train", text[:border]), ("val", text[border:])):
        raw = b"".join(number[character].to_bytes(2, "little") for character in part)
        (folder / f"{name}.bin").write_bytes(raw)
    meta = {"vocab_size": len(number), "itos": {i: c for c, i in number.items()}, "stoi": number}
    write_meta_pkl(folder, meta)


class NanoGPT:
    """A folder as nanoGPT's train.py and sample.py see it."""

    def __init__(self, folder: Path) -> None:
        self.splits = {}
        for name in ("train", "val"):
            self.splits[name] = array.array("H", (folder / f"{name}.bin").read_bytes())
        path = folder / "meta.pkl"
        self.meta: dict[str, Any] | None = pickle.loads(path.read_bytes()) if path.exists() else None
        self.vocab_size = self.meta["vocab_size"] if self.meta else 50304
        assert max(map(max, self.splits.values())) < self.vocab_size  # or its embedding has no such row

    def encode(self, prompt: str) -> list[int]:
        assert self.meta is not None
        return [self.meta["stoi"][character] for character in prompt]

    def decode(self, ids: list[int]) -> str:
        assert self.meta is not None
        return "".join([self.meta["itos"][i] for i in ids])

    def text(self) -> str:
        return self.decode([*self.splits["train"], *self.splits["val"]])


@pytest.fixture
def nanogpt_folder(tmp_path: Path) -> Path:
    """data/karpathy as nanoGPT's prepare.py leaves it, without meta.pkl."""
    folder = tmp_path / "data" / "karpathy"
    folder.mkdir(parents=True)
    np.array([31373, 995] * 50, dtype=np.uint16).tofile(folder / "train.bin")
    np.array([995, 31373] * 10, dtype=np.uint16).tofile(folder / "val.bin")
    return folder


def write_meta_pkl(folder: Path, meta: object, protocol: int = pickle.DEFAULT_PROTOCOL) -> None:
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta, protocol=protocol))


def refusal(name: str) -> NanoGPTError:
    with pytest.raises(NanoGPTError) as caught:
        open_dataset(name)
    assert "\n" not in caught.value.message
    assert "nanogpt" in caught.value.hint
    return caught.value


# --- What we write works there


def test_a_char_dataset_in_nanogpt(language_text: str) -> None:
    Path("input.txt").write_bytes(language_text.encode())
    theirs = NanoGPT(prepare("input.txt", tokenizer="char", block_size=16).path)
    assert theirs.text() == language_text
    assert theirs.decode(theirs.encode(language_text[:50])) == language_text[:50]
    assert theirs.vocab_size == len(set(language_text))


def test_the_very_files_that_nanogpt_writes(language_text: str) -> None:
    Path("input.txt").write_bytes(language_text.encode())
    ours = prepare("input.txt", tokenizer="char", block_size=16).path
    nanogpt_prepares(language_text, theirs := Path("data/theirs"))
    for name in ("train.bin", "val.bin"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    metas = [pickle.loads((folder / "meta.pkl").read_bytes()) for folder in (ours, theirs)]
    assert metas[0] == metas[1]


def test_a_byte_dataset_in_nanogpt(language_text: str) -> None:
    Path("input.txt").write_bytes(language_text.encode())
    theirs = NanoGPT(prepare("input.txt", tokenizer="byte", block_size=16).path)
    assert theirs.text().encode("latin-1").decode("utf-8") == language_text
    assert theirs.decode(theirs.encode("\nROMEO:")) == "\nROMEO:"
    assert theirs.vocab_size == 256


def test_a_gpt2_dataset_in_nanogpt(gpt2: TiktokenTokenizer, language_text: str) -> None:
    Path("input.txt").write_bytes(language_text.encode())
    theirs = NanoGPT(prepare("input.txt", tokenizer="gpt2", block_size=16).path)
    assert theirs.meta is None  # so that its sample.py takes GPT-2's tokens
    ids = [*theirs.splits["train"], *theirs.splits["val"]]
    assert gpt2.decode_bytes(ids).decode() == language_text


@pytest.fixture
def bpe(language_text: str) -> Tokenizer:
    """A vocabulary trained on the text, of single bytes and pieces of characters, too."""
    recipe = choose_recipe("bpe", TokenizerOptions(vocab_size=400))
    return recipe.build(alphabet="", sample=[language_text], reporter=NullReporter())


def bpe_folder(text: str, bpe: Tokenizer) -> Path:
    """data/pieces: the tokens and what nanoGPT reads, without our meta.json."""
    folder = Path("data/pieces")
    folder.mkdir(parents=True)
    for name in ("train", "val"):
        bpe.encode(text).tofile(folder / f"{name}.bin")
    raw = meta_pkl(bpe)
    assert raw is not None
    (folder / "meta.pkl").write_bytes(raw)
    return folder


def test_a_bpe_dataset_in_nanogpt(bpe: Tokenizer, language_text: str) -> None:
    """Without meta.pkl it would train 50,304 rows, and sample.py would decode GPT-2's tokens."""
    text = language_text if language_text.isascii() else "Plain text.\n"
    theirs = NanoGPT(bpe_folder(text, bpe))
    assert theirs.vocab_size == bpe.vocab_size <= 400
    assert theirs.text() == 2 * text
    prompt = bytes(range(128)).decode()
    assert theirs.decode(theirs.encode(prompt)) == prompt
    assert "\ufffd" not in theirs.meta["stoi"]  # type: ignore[index]


def test_vocabularies_nanogpt_needs_no_file_for_or_cannot_hold(gpt2: TiktokenTokenizer) -> None:
    assert meta_pkl(gpt2) is None
    assert meta_pkl(CharTokenizer("".join(map(chr, range(0x10000, 0x20001))))) is None
    assert meta_pkl(CharTokenizer("".join(map(chr, range(0x10000, 0x20000))))) is not None


def test_a_tokenizer_beside_the_tokens_is_theirs(bpe: Tokenizer, language_text: str) -> None:
    folder = bpe_folder(language_text, bpe)
    before = open_dataset("pieces")
    assert (before.vocab_size, before.tokenizer) == (bpe.vocab_size, None)  # meta.pkl tells no more
    save_tokenizer(bpe, folder)
    dataset = open_dataset("pieces")
    assert dataset.tokenizer is not None
    assert dataset.tokenizer.decode_bytes(dataset.tokens("train")[:]) == language_text.encode()
    assert dataset.vocab_source == folder / "nanogpt_tokenizer.json"


# --- What its scripts write opens here


def test_a_folder_of_its_char_script(language_text: str) -> None:
    nanogpt_prepares(language_text, Path("data/theirs"))
    dataset = open_dataset("theirs")
    assert (dataset.tokenizer_name, dataset.vocab_size) == ("char", len(set(language_text)))
    assert dataset.tokenizer is not None
    text = [dataset.tokenizer.decode(dataset.tokens(split)[:]) for split in ("train", "val")]
    assert "".join(text) == language_text
    assert len(text[0]) == int(0.9 * len(language_text))
    assert dataset.tokenizer.encode(language_text[:9]).tolist() == list(dataset.tokens("train")[:9])


def test_nanogpt_folder_without_meta_is_gpt2(nanogpt_folder: Path) -> None:
    dataset = open_dataset("karpathy")
    assert (dataset.vocab_size, dataset.vocab_source, dataset.tokenizer_name) == (None, None, "gpt2")
    assert dataset.tokens("train")[:2].tolist() == [31373, 995]
    assert dataset.splits["train"].bytes is None
    before = dataset.fingerprint
    np.array([995, 31374] * 10, dtype=np.uint16).tofile(nanogpt_folder / "val.bin")
    assert open_dataset("karpathy").fingerprint != before


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nanogpt_folder_with_meta(nanogpt_folder: Path, protocol: int) -> None:
    characters = "\n !é中😀"
    for name in ("train.bin", "val.bin"):
        np.arange(len(characters), dtype=np.uint16).tofile(nanogpt_folder / name)
    stoi = {character: i for i, character in enumerate(characters)}
    itos = dict(enumerate(characters))
    write_meta_pkl(nanogpt_folder, {"vocab_size": 6, "itos": itos, "stoi": stoi}, protocol)
    dataset = open_dataset("karpathy")
    assert dataset.tokenizer is not None
    assert dataset.tokenizer.decode(dataset.tokens("val")) == characters
    assert (dataset.vocab_size, dataset.vocab_source) == (6, Path("data/karpathy/meta.pkl"))
    with_meta = dataset.fingerprint
    write_meta_pkl(nanogpt_folder, {"vocab_size": 6, "itos": dict(enumerate("\n !é文😀")), "stoi": stoi})
    assert open_dataset("karpathy").fingerprint != with_meta


@pytest.mark.parametrize(
    "itos", [None, {0: "one", 1: "two"}, {1: "a", 2: "b"}, {0: "a", 1: "a"}, {0: "a", 1: "\ud800"}]
)
def test_a_vocabulary_that_is_not_characters_still_trains(nanogpt_folder: Path, itos: object) -> None:
    for name in ("train.bin", "val.bin"):
        np.array([0, 1], dtype=np.uint16).tofile(nanogpt_folder / name)
    write_meta_pkl(nanogpt_folder, {"vocab_size": 2, "itos": itos})
    dataset = open_dataset("karpathy")
    assert (dataset.vocab_size, dataset.tokenizer, dataset.tokenizer_name) == (2, None, "unknown")


class Hostile:
    """Leaves a file behind if it is ever unpickled."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, ("executed",)


def test_hostile_pickle_is_refused_and_not_executed(nanogpt_folder: Path) -> None:
    """test_plain_pickle has every way in which a pickle can be hostile."""
    write_meta_pkl(nanogpt_folder, {"vocab_size": 2, "itos": Hostile()})
    error = refusal("karpathy")
    assert f"it wants to load {os.mkdir.__module__}.mkdir" in error.message
    assert not Path("executed").exists()
    pickle.loads(pickle.dumps(Hostile()))  # the bait does bite where it is let
    assert Path("executed").exists()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is damaged"),
        (b"hello", ""),
        (pickle.dumps({"vocab_size": 6})[:-3], ""),
        (pickle.dumps([1]), "it holds no dict"),
        (pickle.dumps({}), "it has no vocab_size"),
        (pickle.dumps({"vocab_size": True}), "it has no vocab_size"),
        (pickle.dumps({"vocab_size": -1}), "it has no vocab_size"),
        (pickle.dumps({"vocab_size": "65"}), "it has no vocab_size"),
        (pickle.dumps({"vocab_size": np.int64(5)}), "only dict, str and int are allowed"),
    ],
)
def test_damaged_meta_pkl(nanogpt_folder: Path, raw: bytes, message: str) -> None:
    (nanogpt_folder / "meta.pkl").write_bytes(raw)
    assert message in refusal("karpathy").message
    assert "meta.pkl is not a nanoGPT vocabulary" in refusal("karpathy").message


def test_enormous_meta_pkl(nanogpt_folder: Path) -> None:
    with (nanogpt_folder / "meta.pkl").open("wb") as file:
        file.truncate((64 << 20) + 1)
    assert "it is larger than 64 MB" in refusal("karpathy").message


def test_a_vocabulary_that_overflowed(nanogpt_folder: Path) -> None:
    """Of old nanoGPT wrote id 65,536 as 0; and a list of all 2³² ids would fill the memory."""
    for vocab_size in (65_537, 1 << 32, 1 << 70):
        write_meta_pkl(nanogpt_folder, {"vocab_size": vocab_size, "itos": {}})
        assert "more than 65,536 ids, and nanoGPT's files hold 2-byte ids" in refusal("karpathy").message
    write_meta_pkl(nanogpt_folder, {"vocab_size": 65_536, "itos": {}})
    assert open_dataset("karpathy").vocab_size == 65_536


def test_nanogpt_ids_outside_the_vocabulary(nanogpt_folder: Path) -> None:
    write_meta_pkl(nanogpt_folder, {"vocab_size": 65})
    assert (
        "token id 31,373, outside the vocabulary of 65 (data/karpathy/meta.pkl)"
        in refusal("karpathy").message
    )
    (nanogpt_folder / "meta.pkl").unlink()
    np.array([50303], dtype=np.uint16).tofile(nanogpt_folder / "val.bin")
    open_dataset("karpathy")
    np.array([50304], dtype=np.uint16).tofile(nanogpt_folder / "val.bin")
    assert "outside the vocabulary of 50,304 (GPT-2, assumed" in refusal("karpathy").message


def test_nanogpt_folder_with_broken_files(nanogpt_folder: Path) -> None:
    (nanogpt_folder / "val.bin").write_bytes(b"abc")
    assert "3 bytes are not a whole number" in refusal("karpathy").message
    (nanogpt_folder / "val.bin").write_bytes(b"")
    assert "val.bin is empty" in refusal("karpathy").message
    (nanogpt_folder / "val.bin").unlink()
    assert "val.bin is missing" in refusal("karpathy").message
    (nanogpt_folder / "train.bin").unlink()
    assert "holds no train.bin and val.bin" in refusal("karpathy").message


def test_a_foreign_meta_json_is_not_ours(nanogpt_folder: Path) -> None:
    (nanogpt_folder / "meta.json").write_text('{"title": "my notes"}')
    assert open_dataset("karpathy").tokenizer_name == "gpt2"
