"""prepare: nanoGPT's own tokens and files, constant memory, and never half a dataset."""

import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import tiktoken

from nanogpt_cli import files
from nanogpt_cli.data.dataset import open_dataset
from nanogpt_cli.data.prepare import PreparedDataset, prepare
from nanogpt_cli.data.preparing import streaming, survey
from nanogpt_cli.data.sources import base
from nanogpt_cli.data.sources.python_docs import PythonDocs
from nanogpt_cli.data.sources.text_file import TextFile
from nanogpt_cli.data.tokenizers.base import TiktokenTokenizer
from nanogpt_cli.errors import UsageError
from tests.data.conftest import TEXT, Recorder, refusal, snapshot, write

# ---- what is written


def nanogpt_char(text: str) -> tuple[dict[str, object], list[int], list[int]]:
    """What nanoGPT's character-level preparation defines: its meta.pkl, train ids, val ids."""
    vocabulary = sorted(set(text))
    stoi = {character: i for i, character in enumerate(vocabulary)}
    cut = int(len(text) * 0.9)
    meta = {"vocab_size": len(vocabulary), "itos": dict(enumerate(vocabulary)), "stoi": stoi}
    return meta, [stoi[c] for c in text[:cut]], [stoi[c] for c in text[cut:]]


def test_char_folder_is_nanogpts(language_text: str) -> None:
    folder = prepare(write(language_text), block_size=16).path
    meta, train, val = nanogpt_char(language_text)
    assert pickle.loads((folder / "meta.pkl").read_bytes()) == meta
    assert np.fromfile(folder / "train.bin", dtype=np.uint16).tolist() == train
    assert np.fromfile(folder / "val.bin", dtype=np.uint16).tolist() == val


@pytest.mark.usefixtures("gpt2")
def test_gpt2_folder_is_nanogpts(language_text: str) -> None:
    """Split by characters before encoding, as nanoGPT does, not by tokens after it."""
    folder = prepare(write(language_text), tokenizer="gpt2", block_size=16).path
    encoding, cut = tiktoken.get_encoding("gpt2"), int(len(language_text) * 0.9)
    train = np.fromfile(folder / "train.bin", dtype=np.uint16).tolist()
    assert train == encoding.encode_ordinary(language_text[:cut])
    assert np.fromfile(folder / "val.bin", dtype=np.uint16).tolist() == encoding.encode_ordinary(
        language_text[cut:]
    )
    assert not (folder / "meta.pkl").exists()  # nanoGPT then assumes GPT-2


def test_byte_folder_trains_and_samples_in_nanogpt() -> None:
    folder = prepare(write("naïve " * 100), tokenizer="byte").path
    meta = pickle.loads((folder / "meta.pkl").read_bytes())
    assert meta["vocab_size"] == 256
    assert [meta["stoi"][character] for character in "ROMEO:\n"] == list(b"ROMEO:\n")
    assert "".join(meta["itos"][i] for i in b"ROMEO:\n") == "ROMEO:\n"
    (folder / "meta.json").unlink()  # what is left is nanoGPT's folder, and still known to be bytes
    assert open_dataset("input").tokenizer_name == "byte"


@pytest.mark.usefixtures("gpt2")
@pytest.mark.parametrize("tokenizer", ["char", "byte", "gpt2"])
@pytest.mark.parametrize("piece_bytes", [4, 7, 64, 1 << 20])
def test_the_text_comes_back(
    language_text: str, tokenizer: str, piece_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = language_text.replace("\n", "\r\n")
    monkeypatch.setattr(base, "PIECE_BYTES", piece_bytes)
    prepared = prepare(write(text), tokenizer=tokenizer, val_fraction=0.25, block_size=16)
    dataset = open_dataset("input")
    assert dataset.tokenizer is not None
    parts = {name: dataset.tokenizer.decode(dataset.tokens(name)) for name in ("train", "val")}
    cut = int(len(text) * 0.75)
    assert parts == {"train": text[:cut], "val": text[cut:]}
    for name, part in parts.items():
        assert prepared.splits[name].bytes == dataset.splits[name].bytes == len(part.encode())
        assert dataset.tokenizer.token_bytes()[dataset.tokens(name)].sum() == len(part.encode())


def test_meta_json() -> None:
    prepare(write("ab" * 500, "my text.txt"), val_fraction=0.2)
    meta = json.loads(Path("data/my-text/meta.json").read_text())
    assert (meta["format"], meta["format_version"]) == ("nanogpt-dataset", 1)
    assert meta["tokenizer"]["file"] == "nanogpt_tokenizer.json"
    assert (meta["vocab_size"], meta["dtype"], meta["val_fraction"]) == (2, "uint16", 0.2)
    assert meta["splits"]["train"] == {
        "file": "train.bin",
        "tokens": 800,
        "bytes": 800,
        "documents": 1,
        "sha256": files.sha256_file(Path("data/my-text/train.bin")),
    }
    assert meta["source"] == {
        "kind": "file",
        "label": "my text.txt",
        "sha256": files.sha256_file(Path("my text.txt")),
        "bytes": 1000,
        "characters": 1000,
        "documents": 1,
    }


def test_the_same_text_gives_the_same_bytes() -> None:
    source = write(TEXT)
    first = snapshot(prepare(source, name="a").path)
    assert snapshot(prepare(source, name="b").path) == first


def test_large_vocabulary_is_uint32() -> None:
    """A char vocabulary beyond 65,536 ids does not fit nanoGPT's uint16."""
    characters = "".join(chr(i) for i in range(1, 67_000) if not 0xD800 <= i <= 0xDFFF)
    for count, dtype in ((1 << 16, "uint16"), ((1 << 16) + 1, "uint32")):
        if len(characters) < count:
            characters += "".join(chr(i) for i in range(67_000, 80_000))
        prepared = prepare(write(characters[:count]), name=dtype)
        assert (prepared.vocab_size, prepared.dtype) == (count, dtype)
        dataset = open_dataset(dtype)
        assert dataset.tokens("val")[-1] == count - 1


# ---- collections


@pytest.mark.usefixtures("gpt2")
def test_documents_of_a_collection_end_with_end_of_text() -> None:
    prepared = prepare("python-docs", tokenizer="gpt2")
    dataset = open_dataset("python-docs")
    assert dataset.tokenizer is not None
    topics = ["".join(document) for document in PythonDocs().documents()]
    found = []
    for name in ("train", "val"):
        tokens = dataset.tokens(name)
        texts = dataset.tokenizer.decode(tokens).split("<|endoftext|>")
        assert texts[-1] == ""  # every document ends, and each is in one split as a whole
        assert tokens.tolist().count(50256) == prepared.splits[name].documents == len(texts) - 1
        assert texts[:-1] == [topic for topic in topics if topic in set(texts)]  # in their order
        found += texts[:-1]
    assert sorted(found) == sorted(topics)
    split_bytes = {name: split.bytes for name, split in prepared.splits.items()}
    assert 0.09 < split_bytes["val"] / sum(split_bytes.values()) < 0.11


def test_char_and_byte_have_no_end_of_text() -> None:
    topics = ["".join(document) for document in PythonDocs().documents()]
    prepared = prepare("python-docs")
    assert sum(split.tokens for split in prepared.splits.values()) == sum(map(len, topics))
    assert prepared.split_rule == "documents"


# ---- what is refused, with nothing written


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "there is no file input.txt"),
        (b"", "input.txt is empty"),
        (b"\xef\xbb\xbf", "input.txt holds no text, too little to split into train and val"),
        (b"x", "input.txt holds 1 character, too little to split into train and val"),
        (b"a\0b", "input.txt is not text: byte 1 is NUL, as in binary files"),
        (b"caf\xe9", "input.txt is not UTF-8: byte 3 (0xE9) cannot be decoded"),
    ],
)
def test_bad_texts(raw: bytes | None, message: str) -> None:
    if raw is not None:
        Path("input.txt").write_bytes(raw)
    assert refusal("input.txt").message == message
    assert not Path("data").exists()


@pytest.mark.parametrize(("fraction", "which"), [(0.001, "validation"), (0.999, "training")])
def test_a_split_that_would_be_empty(fraction: float, which: str) -> None:
    error = refusal(write("tiny text" * 2), val_fraction=1 - 1e-12 if fraction > 0.5 else 1e-17)
    assert f"no {which} text is left" in error.message
    assert "--val-fraction 0.5" in error.hint


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan"), float("inf")])
def test_val_fraction_out_of_range(fraction: float) -> None:
    error = refusal(write(TEXT), val_fraction=fraction)
    assert isinstance(error, UsageError)
    assert "--val-fraction must lie between 0 and 1" in error.message


def test_unknown_tokenizer_and_bad_name() -> None:
    assert "there is no tokenizer 'chars'" in refusal(write(TEXT), tokenizer="chars").message
    assert "cannot name a dataset" in refusal(write(TEXT), name="../escape").message


def test_a_file_in_the_way() -> None:
    Path("data").write_text("mine")
    assert refusal(write(TEXT)).message == "data is a file, and the dataset needs a folder there"


def test_text_that_changes_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source, reads = write(TEXT), []
    real_pieces = TextFile._pieces

    def changing(self: TextFile) -> object:
        reads.append(1)
        yield from real_pieces(self)
        if len(reads) == 2:
            yield "T"

    monkeypatch.setattr(TextFile, "_pieces", changing)
    assert refusal(source).message == "input.txt changed while it was being read"


@pytest.mark.parametrize("tokenizer", ["char", "byte"])
def test_a_split_too_short_for_one_window(tokenizer: str) -> None:
    """It was a warning once, and training failed later."""
    error = refusal(write("abc" * 200), tokenizer=tokenizer)  # 60 tokens
    assert error.message == "val has only 60 tokens, and one window of block_size 64 needs 65"
    assert error.hint == "--val-fraction 0.12, or --block-size 59 if you will train with that"
    assert not Path("data").exists()
    prepare("input.txt", tokenizer=tokenizer, val_fraction=0.12, name="a")
    prepare("input.txt", tokenizer=tokenizer, block_size=59, name="b")
    prepare(write("abcde" * 130), tokenizer=tokenizer, name="enough")  # 65 tokens
    assert "train has only 64 tokens" in refusal("input.txt", val_fraction=0.9, block_size=65).message


def test_an_existing_dataset_too_short_for_the_block_size_asked_for() -> None:
    prepare(write("abcde" * 130))
    assert "val has only 65 tokens" in refusal("input.txt", block_size=128).message


def test_progress_reaches_the_total(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "PIECE_BYTES", 100)
    monkeypatch.setattr(survey, "BATCH_CHARACTERS", 100)
    monkeypatch.setattr(streaming, "CHUNK_CHARACTERS", 100)
    prepare(write(TEXT), reporter=recorder)
    for task in ("reading", "encoding"):
        done = [event.done for event in recorder.progress if event.task == task]
        assert len(done) > 10
        assert done == sorted(done)
        assert done[-1] == len(TEXT)


# ---- advice and JSON


@pytest.mark.usefixtures("gpt2")
def test_advice() -> None:
    texts = Path(__file__).parent.parent / "fixtures" / "texts"
    chinese = prepare(str(texts / "chinese.txt"), tokenizer="gpt2", block_size=16)
    assert chinese.advice is not None
    assert "tokens for one character" in chinese.advice
    english = prepare(str(texts / "english.txt"), tokenizer="gpt2", block_size=16).advice
    assert english is not None
    assert "of the 50,257 ids of gpt2 occur in this text" in english
    for name in ("english", "chinese"):
        assert prepare(str(texts / f"{name}.txt"), name=f"{name}-char", block_size=16).advice is None
    distinct = "".join(chr(0x4E00 + i) for i in range(5001))
    rare = prepare(write(distinct * 2), name="rare").advice
    assert rare is not None
    assert rare.startswith("5,001 distinct characters")
    assert prepare(write(distinct[:5000] * 20), name="fewer").advice is None
    assert prepare(write(distinct * 2), name="rare-bytes", tokenizer="byte").advice is None


def test_to_json() -> None:
    prepared: PreparedDataset = prepare(write("é" * 1000))
    assert prepared.to_json() == {
        "schema_version": 1,
        "dataset": "input",
        "path": str(Path("data/input")),
        "tokenizer": "char",
        "vocab_size": 1,
        "ids_used": 1,
        "dtype": "uint16",
        "split_rule": "position",
        "splits": {
            "train": {"tokens": 900, "bytes": 1800, "documents": 1},
            "val": {"tokens": 100, "bytes": 200, "documents": 1},
        },
        "bytes_per_token": 2.0,
        "unchanged": False,
    }


def test_gpt2_compresses(gpt2: TiktokenTokenizer) -> None:
    assert prepare(write(TEXT), tokenizer="gpt2", block_size=16).bytes_per_token > 3


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_that_is_not_utf8() -> None:
    """meta.json and the marker of a replacement are UTF-8, and neither could be written."""
    source = os.fsdecode(b"caf\xe9.txt")
    Path(source).write_text(TEXT, encoding="utf-8")
    for overwrite in (False, True):
        folder = prepare(source, name="cafe", overwrite=overwrite).path
    assert json.loads((folder / "meta.json").read_text("utf-8"))["source"]["label"] == "caf\ufffd.txt"
    assert prepare(source).name == "caf"
