"""Datasets of a hub on this machine, read by the `datasets` library itself: which texts come out of them."""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nanogpt_cli.data.sources.base import PIECE_BYTES, Source, SourceOptions
from nanogpt_cli.data.sources.hub import is_hub_name, open_hub
from nanogpt_cli.data.sources.hub_manners import Job, watched
from nanogpt_cli.errors import UsageError
from nanogpt_cli.events import Progress
from tests.data.conftest import Recorder
from tests.data.hub.conftest import set_offline
from tests.data.hub.repositories import card, csv_file, jsonl, parquet, texts
from tests.hub_server import Hub, Repository, commit_of

TRAIN, VAL = texts("train"), texts("val", 7)
PLAIN = Repository(
    {
        "data/train-00000-of-00001.parquet": parquet({"id": range(len(TRAIN)), "text": TRAIN}),
        "data/validation-00000-of-00001.parquet": parquet({"id": range(len(VAL)), "text": VAL}),
    }
)
Start = Callable[..., Hub]


def read(source: Source) -> list[str]:
    return ["".join(document) for document in source.documents()]


def notices(recorder: Recorder) -> str:
    return "\n".join(getattr(event, "message", "") for event in recorder.events)


# ---- Formats


@pytest.mark.parametrize("streaming", [False, True], ids=["downloaded", "streamed"])
@pytest.mark.parametrize(
    ("file", "raw"),
    [
        ("train.parquet", parquet({"id": range(30), "text": TRAIN})),
        ("train.jsonl", jsonl("text", TRAIN)),
        ("train.csv", csv_file("text", TRAIN)),
    ],
    ids=["parquet", "jsonl", "csv"],
)
def test_every_document_of_every_format(
    start_hub: Start, recorder: Recorder, file: str, raw: bytes, streaming: bool
) -> None:
    start_hub(plain=Repository({file: raw}))
    source = open_hub("owner/plain", SourceOptions(streaming=streaming), recorder)
    assert read(source) == TRAIN
    assert source.collection
    assert source.kind == "hub"
    assert source.repeatable is not streaming
    assert source.done_bytes > 0
    if not streaming:
        assert source.size_bytes == source.done_bytes
        assert read(source) == TRAIN, "the second pass differs"


def test_train_is_taken_and_the_other_splits_are_mentioned(start_hub: Start, recorder: Recorder) -> None:
    start_hub(plain=PLAIN)
    source = open_hub("hf:owner/plain", SourceOptions(), recorder)
    assert read(source) == TRAIN
    assert source.dataset_name == "plain"
    assert source.label == f"owner/plain (train, {commit_of(PLAIN.files)[:7]})"
    assert "split train; also there: validation" in notices(recorder)
    assert "the text is column 'text' of owner/plain" in notices(recorder)


@pytest.mark.parametrize(
    ("split", "expected"),
    [("validation", VAL), ("train[:3]+validation[5:]", TRAIN[:3] + VAL[5:]), ("train[-2:]", TRAIN[-2:])],
)
def test_splits_and_parts_of_them(
    start_hub: Start, recorder: Recorder, split: str, expected: list[str]
) -> None:
    start_hub(plain=PLAIN)
    assert read(open_hub("owner/plain", SourceOptions(split=split), recorder)) == expected


def test_a_configuration_by_name(start_hub: Start, recorder: Recorder) -> None:
    start_hub(configs=two_configs())
    source = open_hub("owner/configs", SourceOptions(config="fr"), recorder)
    assert read(source) == ["bonjour\n"] * 3
    assert source.dataset_name == "configs-fr"


def test_the_default_configuration_is_taken_and_the_others_are_mentioned(
    start_hub: Start, recorder: Recorder
) -> None:
    start_hub(configs=two_configs(default="fr"))
    assert read(open_hub("owner/configs", SourceOptions(), recorder)) == ["bonjour\n"] * 3
    assert "configuration fr; also there: en" in notices(recorder)


def two_configs(default: str = "") -> Repository:
    entries = "".join(
        f"- config_name: {name}\n  data_files: {name}/*.jsonl\n" + "  default: true\n" * (name == default)
        for name in ("en", "fr")
    )
    files = {
        "en/train.jsonl": jsonl("text", ["hello\n"] * 3),
        "fr/train.jsonl": jsonl("text", ["bonjour\n"] * 3),
    }
    return Repository({"README.md": card(f"configs:\n{entries}"), **files})


def test_a_revision(start_hub: Start, recorder: Recorder) -> None:
    old = {"train.jsonl": jsonl("text", ["old"])}
    start_hub(plain=Repository({"train.jsonl": jsonl("text", ["new"])}, {"v1": old}))
    assert read(open_hub("owner/plain", SourceOptions(), recorder)) == ["new"]
    assert read(open_hub("owner/plain", SourceOptions(revision="v1"), recorder)) == ["old"]
    commit = SourceOptions(revision=commit_of(old))
    assert read(open_hub("owner/plain", commit, recorder)) == ["old"]


def test_the_parquet_copy_keeps_configurations_apart(start_hub: Start, recorder: Recorder) -> None:
    """Without the folder's name `datasets` would join all configurations of refs/convert/parquet."""
    copy = {f"{name}/train/0000.parquet": parquet({"text": texts(name)}) for name in ("en", "fr")}
    start_hub(script=Repository({"script.py": b"", "README.md": b"# x"}, {"refs/convert/parquet": copy}))
    options = SourceOptions(revision="refs/convert/parquet", config="fr")
    assert read(open_hub("owner/script", options, recorder)) == texts("fr")
    with pytest.raises(UsageError, match="several configurations: en, fr") as caught:
        open_hub("owner/script", SourceOptions(revision="refs/convert/parquet"), recorder)
    assert caught.value.hint.endswith("--revision refs/convert/parquet --config en")


# ---- Columns


def test_the_column_is_guessed_or_chosen(start_hub: Start, recorder: Recorder) -> None:
    columns = {"title": ["a", "b"], "content": ["text a", "text b"], "n": [1, 2]}
    start_hub(plain=Repository({"train.parquet": parquet(columns)}))
    assert read(open_hub("owner/plain", SourceOptions(), recorder)) == ["text a", "text b"]
    chosen = SourceOptions(text_column="title")
    assert read(open_hub("owner/plain", chosen, recorder)) == ["a", "b"]


def test_only_the_text_travels_when_a_parquet_file_is_streamed(start_hub: Start, recorder: Recorder) -> None:
    # Reads are rounded up to 5 MB, so a column that is skipped has to be longer.
    noise = [random.Random(row).randbytes(15_000_000) for row in range(2)]
    raw = parquet({"noise": noise, "text": texts("t", 2)}, row_group_size=1)
    server = start_hub(plain=Repository({"train.parquet": raw}))
    options = SourceOptions(streaming=True, text_column="text")
    assert read(open_hub("owner/plain", options, recorder)) == texts("t", 2)
    assert server.sent["train.parquet"] < len(raw) // 2


def test_rows_without_text_are_left_out_and_counted(start_hub: Start, recorder: Recorder) -> None:
    start_hub(plain=Repository({"train.jsonl": jsonl("text", ["a", None, "", "b"])}))
    assert read(open_hub("owner/plain", SourceOptions(), recorder)) == ["a", "b"]
    assert "2 rows without text skipped" in "\n".join(recorder.warnings)


@pytest.mark.parametrize("streaming", [False, True], ids=["downloaded", "streamed"])
def test_a_long_document_comes_in_pieces(start_hub: Start, recorder: Recorder, streaming: bool) -> None:
    long = "é" * (2 * PIECE_BYTES + 5)
    start_hub(plain=Repository({"train.parquet": parquet({"text": ["short", long]})}))
    _, document = [
        list(d) for d in open_hub("owner/plain", SourceOptions(streaming=streaming), recorder).documents()
    ]
    assert len(document) > 2
    assert "".join(document) == long


# ---- The cache


def test_what_is_cached_is_read_without_the_hub(
    start_hub: Start, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_hub(plain=PLAIN)
    first = read(open_hub("owner/plain", SourceOptions(), recorder))
    downloads = [line for line in server.asked if line.startswith("GET") and ".parquet" in line]
    again = read(open_hub("owner/plain", SourceOptions(), recorder))
    assert [line for line in server.asked if line.startswith("GET") and ".parquet" in line] == downloads
    set_offline(monkeypatch, offline=True)
    server.asked.clear()
    offline = open_hub("owner/plain", SourceOptions(split="validation"), recorder)
    assert read(offline) == VAL
    assert not server.asked
    assert first == again == TRAIN


@pytest.mark.usefixtures("no_waiting")
def test_a_hub_that_is_down_leaves_the_cached_copy(start_hub: Start, recorder: Recorder) -> None:
    server = start_hub(plain=PLAIN)
    open_hub("owner/plain", SourceOptions(), recorder)
    server.repositories["owner/plain"] = Repository(PLAIN.files, private=True)
    assert read(open_hub("owner/plain", SourceOptions(), recorder)) == TRAIN
    assert any("could not be had from the hub: the copy in" in warning for warning in recorder.warnings)


def test_a_growing_folder_is_told_until_the_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    """First the one job's folder grows, then the other's; what lay there before is not counted."""
    monkeypatch.setattr("nanogpt_cli.data.sources.hub_manners._LOOK_SECONDS", 0.001)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_bytes(b"x" * 1000)
    jobs = [Job("downloading", tmp_path / "a", 70), Job("unpacking", tmp_path / "b", None)]

    def wait_for(count: int) -> Progress:
        while len(recorder.progress) < count:
            time.sleep(0.001)
        return recorder.progress[-1]

    with watched(jobs, recorder):
        (tmp_path / "a" / "new").write_bytes(b"x" * 30)
        assert wait_for(1) == Progress(task="downloading", done=30, total=70, unit="bytes")
        (tmp_path / "b" / "deep").mkdir(parents=True)
        (tmp_path / "b" / "deep" / "new").write_bytes(b"x" * 50)
        assert wait_for(2) == Progress(task="unpacking", done=50, total=None, unit="bytes")
    threads = [thread.name for thread in threading.enumerate()]
    assert "watching a download" not in threads


# ---- Names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("roneneldan/TinyStories", True),
        ("hf:roneneldan/TinyStories", True),
        ("https://huggingface.co/datasets/roneneldan/TinyStories", True),
        ("owner/wiki.en-2024_01", True),
        ("input.txt", False),
        ("texts/input.txt", False),
        ("texts/book", False),  # a folder texts is here
        ("corpus/part.jsonl", False),
        ("a/b/c", False),
        ("/etc/passwd", False),
        ("../x", False),
        ("-", False),
        ("owner/*", False),
        ("book", False),
    ],
)
def test_names_of_the_hub(name: str, expected: bool) -> None:
    Path("texts").mkdir()
    assert is_hub_name(name) is expected


@pytest.mark.parametrize("name", ["hf:imdb", "hf:", "hf:a/b/c", "hf:../x/y", "hf:a/b c", "hf:a--b/c"])
def test_names_that_cannot_be(name: str, recorder: Recorder) -> None:
    with pytest.raises(UsageError, match="is no name of a dataset") as caught:
        open_hub(name, SourceOptions(), recorder)
    assert "nanogpt prepare hf:roneneldan/TinyStories" in caught.value.hint


def test_a_folder_here_is_not_read_in_place_of_the_hub(start_hub: Start, recorder: Recorder) -> None:
    start_hub(plain=PLAIN)
    Path("owner/plain").mkdir(parents=True)
    with pytest.raises(UsageError, match="owner/plain is also a path here"):
        open_hub("hf:owner/plain", SourceOptions(), recorder)
