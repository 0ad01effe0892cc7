"""Opening datasets: every damage is named, and the right one is found. See also test_nanogpt_folder."""

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from nanogpt_cli import files
from nanogpt_cli.data import verify
from nanogpt_cli.data.dataset import open_dataset
from nanogpt_cli.data.discovery import INTERRUPTED_MARKER, newest_dataset
from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.errors import NanoGPTError

SETTLED_SECONDS = 3600


@pytest.fixture
def folder(shakespeare_like: Path) -> Path:
    """data/input, prepared by us."""
    return prepare(str(shakespeare_like)).path


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


def test_a_shared_read_only_dataset_is_read_once_by_each_user(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns() + SETTLED_SECONDS * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: now)
    real_write, real_scan = files.write_json, verify.scan
    reads: list[str] = []

    def refuse_there(path: Path, document: object) -> None:
        if path.parent == folder:
            raise PermissionError(30, "Read-only file system")
        real_write(path, document)

    monkeypatch.setattr(files, "write_json", refuse_there)
    monkeypatch.setattr(
        verify, "scan", lambda path, *a, **b: (reads.append(path.name), real_scan(path, *a, **b))[1]
    )
    open_dataset("input")
    open_dataset("data/../data/input")
    assert reads == ["train.bin", "val.bin"]
    assert not (folder / verify.STAMP_FILE).exists()
    with (folder / "val.bin").open("r+b") as file:
        file.write(b"\0\0")
    assert "has changed since it was prepared" in refusal("input").message


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
    assert refusal("input").hint.endswith("input.txt --tokenizer char --name input --overwrite")


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


# ---- unfinished ones


def test_a_preparation_that_was_killed_is_no_dataset(folder: Path) -> None:
    """It may hold every file of a dataset: it was killed just before it got its name."""
    unfinished = folder.parent / ".tmp-other-x7_abc"
    shutil.copytree(folder, unfinished)
    os.utime(unfinished / "meta.json", (1 << 33, 1 << 33))
    assert newest_dataset() == "input"
    for name in (".tmp-other-x7_abc", "data/.tmp-other-x7_abc"):
        error = refusal(name)
        assert error.message == "data/.tmp-other-x7_abc is a preparation that was not finished, not a dataset"
    assert refusal("other").hint == "nanogpt train --dataset input, or another of: input"
    shutil.rmtree(folder)
    with pytest.raises(NanoGPTError, match="there is no prepared dataset under data/"):
        newest_dataset()


# ---- finding one


def test_no_such_dataset(folder: Path) -> None:
    assert refusal("inptu").message == "there is no dataset 'inptu' under data/"
    with pytest.raises(NanoGPTError) as caught:
        open_dataset("inptu")
    assert caught.value.hint == "nanogpt train --dataset input, or another of: input"
    assert refusal("input.txt").hint == "prepare it first: nanogpt prepare input.txt --tokenizer char"
    shutil.copytree(folder, folder.with_name("another"))
    assert refusal("inptu").hint == "nanogpt train --dataset input, or another of: another, input"


@pytest.mark.parametrize("there", [False, True])
def test_nanogpts_own_datasets_come_with_the_command_that_makes_them(folder: Path, there: bool) -> None:
    """In its checkout the folder is there, with a prepare.py and nothing prepared."""
    if there:
        folder.with_name("shakespeare_char").mkdir()
        folder.with_name("shakespeare_char").joinpath("prepare.py").touch()
    hint = refusal("shakespeare_char").hint
    assert hint == "nanogpt prepare shakespeare --tokenizer char --name shakespeare_char"


def test_nothing_prepared() -> None:
    assert refusal("x").hint == "nanogpt prepare input.txt --tokenizer char"
    with pytest.raises(NanoGPTError, match="there is no prepared dataset under data/") as caught:
        newest_dataset()
    assert caught.value.hint == "nanogpt prepare input.txt --tokenizer char"


def test_newest_dataset(folder: Path) -> None:
    nanogpt_folder = folder.parent / "karpathy"
    nanogpt_folder.mkdir()
    (nanogpt_folder / "train.bin").write_bytes(bytes(10))
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
