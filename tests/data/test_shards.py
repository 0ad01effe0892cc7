"""llm.c's and modded-nanogpt's token files: opened as a dataset, and every damage of one named."""

import os
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from nanogpt_cli.data import verify
from nanogpt_cli.data.batches import Batches
from nanogpt_cli.data.dataset import open_dataset
from nanogpt_cli.data.discovery import newest_dataset
from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Notice
from tests.data.conftest import Recorder

GPT2, LLAMA3, EVALUATION = 20240520, 20240801, 20240522
FOLDER = Path("data/fineweb10B")


def write_shard(
    name: str,
    ids: list[int],
    *,
    magic: int = GPT2,
    version: int | None = None,
    count: int | None = None,
    folder: Path = FOLDER,
) -> Path:
    """A file as the format says, written without numpy: 256 little-endian int32, then the ids."""
    folder.mkdir(parents=True, exist_ok=True)
    version = version if version is not None else {GPT2: 1, LLAMA3: 7}.get(magic, 1)
    header = struct.pack("<3i", magic, version, len(ids) if count is None else count)
    raw = b"".join(i.to_bytes(4 if magic == LLAMA3 else 2, "little") for i in ids)
    path = folder / name
    path.write_bytes(header.ljust(1024, b"\0") + raw)
    return path


@pytest.fixture
def folder() -> Path:
    """As modded-nanogpt's data/cached_fineweb10B.py leaves it: one val shard, here three train shards."""
    write_shard("fineweb_val_000000.bin", list(range(50)))
    for number in (1, 2, 10):
        write_shard(f"fineweb_train_{number}.bin", list(range(1000 * number, 1000 * number + 40 + number)))
    return FOLDER


def refusal(name: str = "fineweb10B") -> NanoGPTError:
    with pytest.raises(NanoGPTError) as caught:
        open_dataset(name)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


# --- What is read


def test_shards_in_the_order_of_their_numbers(folder: Path, recorder: Recorder) -> None:
    dataset = open_dataset("fineweb10B", reporter=recorder)
    train = dataset.tokens("train")
    expected = [*range(1000, 1041), *range(2000, 2042), *range(10_000, 10_050)]
    assert train[:].tolist() == expected
    assert dataset.tokens("val")[:].tolist() == list(range(50))
    assert dataset.splits["train"].tokens == len(train) == len(expected)
    assert (dataset.vocab_size, dataset.vocab_source, dataset.tokenizer_name) == (None, None, "gpt2")
    assert [event.message for event in recorder.events if isinstance(event, Notice)] == [
        "data/fineweb10B: 4 token files of llm.c, whose ids are taken for GPT-2's"
    ]


def test_windows_cross_the_borders_of_shards(folder: Path) -> None:
    tokens = open_dataset("fineweb10B").tokens("train")
    batches = Batches(tokens=tokens, block_size=100, seed=1)
    inputs, targets = batches.batch(0, 5)
    whole = tokens[:]
    for row, start in enumerate(batches.starts(0, 5)):
        assert np.array_equal(inputs[row], whole[start : start + 100])
        assert np.array_equal(targets[row], whole[start + 1 : start + 101])


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("tiny_shakespeare_train.bin", "tiny_shakespeare_val.bin"),
        ("TinyStories_train.bin", "TinyStories_val.bin"),
        ("edu_fineweb_train_000001.bin", "edu_fineweb_val_000000.bin"),
        ("train_7.bin", "validation_7.bin"),
        ("train.bin", "val.bin"),
    ],
)
def test_the_names_that_tell_a_split(train: str, val: str) -> None:
    write_shard(train, [1, 2, 3])
    write_shard(val, [4, 5])
    dataset = open_dataset(str(FOLDER))
    assert (dataset.tokens("train")[:].tolist(), dataset.tokens("val")[:].tolist()) == ([1, 2, 3], [4, 5])


def test_llama_3_files_have_four_bytes_an_id() -> None:
    write_shard("TinyStories_train.bin", [128_255, 0, 70_000], magic=LLAMA3)
    write_shard("TinyStories_val.bin", [128_000, 5], magic=LLAMA3)
    dataset = open_dataset("fineweb10B")
    assert dataset.dtype == np.dtype("<u4")
    assert dataset.tokens("train")[:].tolist() == [128_255, 0, 70_000]
    assert (dataset.vocab_size, dataset.tokenizer, dataset.tokenizer_name) == (128_256, None, "unknown")
    write_shard("TinyStories_val.bin", [128_256], magic=LLAMA3)
    assert "token id 128,256, outside the vocabulary of 128,256 (Llama 3)" in refusal().message


def test_a_saved_tokenizer_beside_the_shards_is_theirs(shakespeare_like: Path) -> None:
    prepared = prepare(str(shakespeare_like), name="mine").path
    ids = open_dataset("mine").tokens("val")[:].tolist()
    write_shard("x_train.bin", ids)
    write_shard("x_val.bin", ids)
    assert open_dataset("fineweb10B").tokenizer_name == "gpt2"
    shutil.copy(prepared / "nanogpt_tokenizer.json", FOLDER)
    dataset = open_dataset("fineweb10B")
    assert dataset.tokenizer is not None
    assert dataset.tokenizer.decode(ids) in shakespeare_like.read_text()
    assert (dataset.tokenizer_name, dataset.vocab_source) == ("char", FOLDER / "nanogpt_tokenizer.json")
    write_shard("x_val.bin", [50_000])
    assert "outside the vocabulary of" in refusal().message


def test_other_bin_files_are_left_alone(folder: Path) -> None:
    """llm.c's tokenizer, HellaSwag questions, and a folder of that name."""
    write_shard("gpt2_tokenizer.bin", [1], magic=20240328)
    write_shard("hellaswag_val.bin", [65_535] * 9, magic=EVALUATION)
    (folder / "old_train.bin").mkdir()
    assert open_dataset("fineweb10B").splits["val"].tokens == 50


# --- Which change is noticed


def test_the_fingerprint_follows_every_shard(folder: Path) -> None:
    def fingerprint() -> str:
        return open_dataset("fineweb10B").fingerprint

    first = fingerprint()
    assert fingerprint() == first
    write_shard("fineweb_train_2.bin", [*range(2000, 2041), 7])
    second = fingerprint()
    (folder / "fineweb_train_10.bin").rename(folder / "fineweb_train_0.bin")
    assert len({first, second, fingerprint()}) == 3


def test_an_unchanged_shard_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    real_scan = verify.scan
    monkeypatch.setattr(
        verify, "scan", lambda path, *a, **b: (reads.append(path.name), real_scan(path, *a, **b))[1]
    )
    now = time.time_ns() + 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: now)
    before = open_dataset("fineweb10B")
    assert len(reads) == 4
    assert open_dataset("fineweb10B").fingerprint == before.fingerprint
    assert len(reads) == 4
    changed = folder / "fineweb_train_2.bin"
    stamp = changed.stat().st_ctime_ns
    while changed.stat().st_ctime_ns == stamp:  # the file system's clock ticks every few ms
        write_shard(changed.name, [9] * 42)
    assert open_dataset("fineweb10B").fingerprint != before.fingerprint
    assert reads[4:] == ["fineweb_train_2.bin"]


def test_progress_of_the_verification(folder: Path, recorder: Recorder) -> None:
    open_dataset("fineweb10B", reporter=recorder)
    last = recorder.progress[-1]
    assert last.task == "verifying fineweb_val_000000.bin"
    assert last.done == last.total == 1024 + 100


# --- What is wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"magic": 20240521}, "it begins with 20240521, not with 20240520 or 20240801"),
        ({"version": 2}, "has format version 2, this nanogpt reads 1 (GPT-2 token files)"),
        ({"count": 51}, "is truncated: it has 50 of 51 tokens"),
        ({"count": 49}, "has 50 tokens where its header says 49"),
        ({"count": -5}, "is damaged: its header says -5 tokens"),
        ({"count": 0, "ids": []}, "is empty"),
        ({"ids": [50_256]}, None),
        ({"ids": [50_257]}, "holds token id 50,257, outside the vocabulary of 50,257 (GPT-2)"),
        ({"magic": LLAMA3}, "mixes two kinds of token files: fineweb_train_1.bin GPT-2 ids and"),
    ],
)
def test_damaged_shards(folder: Path, options: dict[str, object], message: str | None) -> None:
    path = write_shard("fineweb_val_000000.bin", **{"ids": list(range(50)), **options})  # type: ignore[arg-type]
    if message is None:
        open_dataset("fineweb10B")
    else:
        assert message in refusal().message
        assert str(path) in refusal().message or "mixes" in message


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, "is truncated: 0 bytes, and the header of a token file has 1,024"),
        (1023, "is truncated: 1,023 bytes"),
        (1024, "is truncated: it has 0 of 41 tokens"),
        (1024 + 81, "is damaged: 81 bytes are not a whole number of 2-byte token ids"),
        (1024 + 80, "is truncated: it has 40 of 41 tokens"),
    ],
)
def test_a_download_that_broke_off(folder: Path, size: int, message: str) -> None:
    os.truncate(folder / "fineweb_train_1.bin", size)
    error = refusal()
    assert error.message.startswith("data/fineweb10B/fineweb_train_1.bin " + message)
    assert error.hint == "rm data/fineweb10B/fineweb_train_1.bin, then download or make it again"


def test_a_missing_split(folder: Path) -> None:
    (folder / "fineweb_val_000000.bin").unlink()
    error = refusal()
    assert error.message == "data/fineweb10B has no token file for val: none with _val_ in its name"
    assert error.hint == (
        "let one of the others serve: mv data/fineweb10B/fineweb_train_10.bin "
        "data/fineweb10B/fineweb_val_10.bin"
    )
    for name in ("fineweb_train_1.bin", "fineweb_train_2.bin"):
        (folder / name).unlink()
    assert refusal().hint == "add one, fineweb_val_10.bin for example"


def test_a_name_that_tells_no_split(folder: Path) -> None:
    write_shard("fineweb_000003.bin", [1, 2])
    error = refusal()
    assert "fineweb_000003.bin is for training or for validation?" in error.message
    assert error.hint == "mv data/fineweb10B/fineweb_000003.bin data/fineweb10B/fineweb_000003_train.bin"


def test_files_of_old_without_a_header() -> None:
    """llm.c before May 2024 wrote bare int32 ids."""
    FOLDER.mkdir(parents=True)
    for name in ("tiny_shakespeare_train.bin", "tiny_shakespeare_val.bin"):
        np.arange(5000, 6000, dtype="<i4").tofile(FOLDER / name)
    assert "is no token file of llm.c: it begins with 5000" in refusal().message


def test_nanogpts_own_files_are_no_shards() -> None:
    FOLDER.mkdir(parents=True)
    for name in ("train.bin", "val.bin"):
        np.arange(5000, dtype="<u2").tofile(FOLDER / name)
    assert open_dataset("fineweb10B").tokens("train")[:2].tolist() == [0, 1]


# --- Finding them


def test_shards_are_found_like_any_dataset(folder: Path, shakespeare_like: Path) -> None:
    prepare(str(shakespeare_like))
    for path in folder.iterdir():
        os.utime(path, (1000, 1000))
    assert newest_dataset() == "input"
    for path in folder.iterdir():
        os.utime(path, (1 << 33, 1 << 33))
    assert newest_dataset() == "fineweb10B"
    assert "fineweb10B, input" in refusal("fineweb").hint
