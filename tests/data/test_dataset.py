"""Opening datasets: ours are verified, nanoGPT's are read without trust, and every damage is named."""

import hashlib
import json
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from nanogpt_cli.data import verify
from nanogpt_cli.data.dataset import INTERRUPTED_MARKER, newest_dataset, open_dataset
from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.errors import NanoGPTError

SETTLED_SECONDS = 3600


@pytest.fixture
def folder(shakespeare_like: Path) -> Path:
    """data/input, prepared by us."""
    return prepare(str(shakespeare_like)).path


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


def refusal(name: str | Path) -> NanoGPTError:
    with pytest.raises(NanoGPTError) as caught:
        open_dataset(str(name))
    assert "\n" not in caught.value.message
    assert "nanogpt" in caught.value.hint
    return caught.value


# ---- ours


def test_what_open_dataset_says(folder: Path, shakespeare_like: Path) -> None:
    text = shakespeare_like.read_text()
    dataset = open_dataset("input")
    assert dataset.name == "input"
    assert dataset.path == Path("data/input")
    assert dataset.vocab_size == len(set(text))
    assert dataset.tokenizer_name == "char"
    assert dataset.vocab_source == Path("data/input/meta.json")
    assert dataset.tokenizer is not None
    train, val = dataset.tokens("train"), dataset.tokens("val")
    assert dataset.tokenizer.decode(train) + dataset.tokenizer.decode(val) == text
    assert isinstance(train, np.memmap)
    assert dataset.splits["train"].tokens == len(train)
    assert dataset.splits["val"].bytes == len(dataset.tokenizer.decode_bytes(val))


def test_a_name_or_any_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint = open_dataset("input").fingerprint
    for path in ("data/input", str(folder.resolve()), "data/../data/input/"):
        assert open_dataset(path).fingerprint == fingerprint
    monkeypatch.chdir(folder)
    assert open_dataset(".").name == "input"


def test_truncated(folder: Path) -> None:
    raw = (folder / "val.bin").read_bytes()
    (folder / "val.bin").write_bytes(raw[:-2])
    assert "val.bin is truncated: it has" in refusal("input").message
    (folder / "val.bin").write_bytes(raw[:-1])
    assert "not a whole number of 2-byte token ids" in refusal("input").message
    (folder / "val.bin").unlink()
    assert "val.bin is missing" in refusal("input").message
    assert "--name input --overwrite" in refusal("input").hint


def test_changed_data_of_equal_size(folder: Path) -> None:
    raw = bytearray((folder / "train.bin").read_bytes())
    raw[0] ^= 1
    (folder / "train.bin").write_bytes(raw)
    assert "train.bin has changed since it was prepared" in refusal("input").message


@pytest.mark.parametrize("restore_mtime", [False, True])
def test_a_change_after_verification_is_noticed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, restore_mtime: bool
) -> None:
    """Even one that restores the modification time: ctime cannot be set back."""
    now = time.time_ns() + SETTLED_SECONDS * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: now)
    open_dataset("input")
    assert (folder / verify.STAMP_FILE).is_file()
    path = folder / "train.bin"
    before, raw = path.stat(), bytearray(path.read_bytes())
    raw[-2] ^= 1
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the file system's clock ticks every few ms
        path.write_bytes(raw)
    if restore_mtime:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "has changed since it was prepared" in refusal("input").message


def test_an_unchanged_file_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    real_scan = verify.scan
    monkeypatch.setattr(
        verify,
        "scan",
        lambda path, *rest, **more: (reads.append(path.name), real_scan(path, *rest, **more))[1],
    )
    open_dataset("input")
    open_dataset("input")
    assert reads == ["train.bin", "val.bin"] * 2  # too young to be trusted
    now = time.time_ns() + SETTLED_SECONDS * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: now)
    reads.clear()
    open_dataset("input")
    open_dataset("input")
    assert reads == ["train.bin", "val.bin"]


@pytest.mark.parametrize("stamp", ["", "[]", "{", '{"train.bin": 5}', '{"train.bin": [1,2]}', "\ud800"])
def test_a_damaged_stamp_only_costs_time(folder: Path, stamp: str) -> None:
    (folder / verify.STAMP_FILE).write_bytes(stamp.encode("utf-8", "surrogatepass"))
    assert open_dataset("input").name == "input"


def test_read_only_dataset(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(time, "time_ns", lambda: 1 << 62)
    monkeypatch.setattr("nanogpt_cli.files.write_json", refuse)
    assert open_dataset("input").name == "input"


def test_ids_outside_the_vocabulary(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    np.array([60_000] * meta["splits"]["val"]["tokens"], dtype="<u2").tofile(folder / "val.bin")
    meta["splits"]["val"]["sha256"] = _sha256(folder / "val.bin")
    (folder / "meta.json").write_text(json.dumps(meta))
    message = refusal("input").message
    assert f"holds token id 60,000, outside the vocabulary of {meta['vocab_size']}" in message


def test_another_tokenizer_file(folder: Path) -> None:
    path = folder / "nanogpt_tokenizer.json"
    path.write_text(path.read_text().replace("aeik", "aeki"))
    assert "is not the one its tokens were made with" in refusal("input").message
    path.unlink()
    assert "there is no nanogpt_tokenizer.json" in refusal("input").message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "has format version 2"),
        ({"vocab_size": 0}, "is damaged: ValueError vocab_size 0"),
        ({"vocab_size": float("inf")}, "is damaged: OverflowError"),
        ({"splits": {}}, "is damaged: KeyError 'train'"),
        ({"source": 3}, "is damaged: TypeError"),
        ({"tokenizer": "char"}, "is damaged: TypeError"),
    ],
)
def test_damaged_meta_json(folder: Path, change: dict[str, object], message: str) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, **change}))
    with pytest.raises(NanoGPTError, match=message):
        open_dataset("input")


@pytest.mark.parametrize("tokens", ["53999", 3.5, True, None, -1, [1]])
def test_counts_in_meta_json_are_whole_numbers(folder: Path, tokens: object) -> None:
    """A text was believed, and met a comparison with a number later."""
    meta = json.loads((folder / "meta.json").read_text())
    meta["splits"]["train"]["tokens"] = tokens
    (folder / "meta.json").write_text(json.dumps(meta))
    assert "is damaged: ValueError tokens" in refusal("input").message


def test_meta_json_that_is_no_json(folder: Path) -> None:
    (folder / "meta.json").write_text("{")
    assert "is damaged: not JSON" in refusal("input").message


def test_interrupted_preparation(folder: Path) -> None:
    (folder / INTERRUPTED_MARKER).write_text("nanogpt prepare input.txt --overwrite\n")
    error = refusal("input")
    assert error.message == "the preparation of data/input was interrupted; its files are not whole"
    assert error.hint == "nanogpt prepare input.txt --overwrite"


def test_fingerprint_follows_tokens_and_tokenizer(shakespeare_like: Path) -> None:
    def fingerprint(name: str, **options: str) -> str:
        prepare(str(shakespeare_like), name=name, **options)  # type: ignore[arg-type]
        return open_dataset(name).fingerprint

    first = fingerprint("a")
    assert fingerprint("b") == first
    assert fingerprint("c", tokenizer="byte") != first
    shakespeare_like.write_text(shakespeare_like.read_text().replace("Speak", "Spaek"))
    assert fingerprint("d") != first


# ---- nanoGPT's


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
    write_meta_pkl(nanogpt_folder, {"vocab_size": 2, "itos": Hostile()})
    error = refusal("karpathy")
    assert f"it wants to load {os.mkdir.__module__}.mkdir" in error.message
    assert not Path("executed").exists()
    (nanogpt_folder / "meta.pkl").write_bytes(b'c__builtin__\neval\n(S\'open("executed","w")\'\ntR.')
    assert "eval, and only dict, str and int are allowed" in refusal("karpathy").message
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


# ---- finding one


def test_no_such_dataset(folder: Path) -> None:
    assert refusal("inptu").message == "there is no dataset 'inptu' under data/"
    with pytest.raises(NanoGPTError) as caught:
        open_dataset("inptu")
    assert caught.value.hint == "nanogpt train --dataset input, or another of: input"
    assert refusal("input.txt").hint == "prepare it first: nanogpt prepare input.txt --tokenizer char"


def test_nothing_prepared() -> None:
    assert refusal("x").hint == "nanogpt prepare input.txt --tokenizer char"
    with pytest.raises(NanoGPTError, match="there is no prepared dataset under data/") as caught:
        newest_dataset()
    assert caught.value.hint == "nanogpt prepare input.txt --tokenizer char"


def test_newest_dataset(folder: Path, nanogpt_folder: Path) -> None:
    (folder.parent / ".tmp-input-xyz").mkdir()
    (folder.parent / ".tmp-input-xyz" / "train.bin").touch()
    (folder.parent / "notes").mkdir()
    (folder.parent / "README").touch()
    os.utime(folder / "meta.json", (2000, 2000))
    os.utime(nanogpt_folder / "train.bin", (1000, 1000))
    assert newest_dataset() == "input"
    os.utime(nanogpt_folder / "train.bin", (3000, 3000))
    assert newest_dataset() == "karpathy"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
