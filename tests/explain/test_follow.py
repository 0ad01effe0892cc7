"""A growing log: only what is new is read, files come and go, and only changes of the verdict are told."""

import io
import os
import time
from pathlib import Path

import pytest

from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.explain import follow
from nanogpt_cli.explain.follow import FileSource, Follower, StreamSource, changes, ended
from tests.explain.samples import eval_lines, falling, iter_lines, metrics, record
from tests.explain.test_rules import FORGETTING


def follower(path: Path) -> Follower:
    return Follower(FileSource(path), str(path), "en")


def read(source: FileSource | StreamSource) -> bytes:
    return b"".join(source.new())


# --- files


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"one\ntw")
    source = FileSource(path)
    assert read(source) == b"one\ntw"
    assert read(source) == b""
    with path.open("ab") as file:
        file.write(b"o\nthree\n")
    assert read(source) == b"o\nthree\n"


def test_a_long_log_is_read_in_several_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_LOOK_BYTES", 1000)
    monkeypatch.setattr(follow, "_BLOCK_BYTES", 300)
    path = tmp_path / "train.log"
    path.write_bytes(bytes(range(33, 123)) * 40)
    source = FileSource(path)
    pieces = [read(source)]
    while source.behind:
        pieces.append(read(source))
    assert max(map(len, pieces)) < 1000 + 300
    assert len(pieces) > 2
    assert b"".join(pieces) == path.read_bytes()


def test_a_run_that_has_not_begun_is_awaited(tmp_path: Path) -> None:
    source = FileSource(tmp_path / "run")
    assert read(source) == b""
    (tmp_path / "run").mkdir()
    assert read(source) == b""
    (tmp_path / "run" / "metrics.jsonl").write_bytes(b"{}\n")
    assert read(source) == b"{}\n"
    assert source.path == tmp_path / "run" / "metrics.jsonl"


def test_a_file_cut_to_nothing_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"first run\n" * 100)
    source = FileSource(path)
    read(source)
    path.write_bytes(b"second run\n")
    assert read(source) == b"\nsecond run\n"


def test_a_file_cut_and_grown_past_its_old_length_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"first run\n")
    source = FileSource(path)
    read(source)
    inode = path.stat().st_ino
    with path.open("r+b") as file:
        file.write(b"the second run, which is longer\n")
    assert path.stat().st_ino == inode
    assert read(source) == b"\nthe second run, which is longer\n"


def test_rotation(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"old\n")
    source = FileSource(path)
    read(source)
    path.rename(tmp_path / "train.log.1")
    assert read(source) == b"", "moved away: the next is awaited"
    path.write_bytes(b"new lines\n")
    assert read(source) == b"\nnew lines\n"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_must_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.touch(mode=0)
    with pytest.raises(NanoGPTError, match="cannot be read"):
        read(FileSource(path))


def test_a_pipe_ends() -> None:
    source = StreamSource(io.BytesIO(b"iter 0: loss 4.0\n" * 100_000))
    received, until = b"", time.monotonic() + 20
    while not source.ended and time.monotonic() < until:
        received += read(source)
    assert source.ended
    assert received == b"iter 0: loss 4.0\n" * 100_000


# --- the verdict


def test_nothing_is_said_before_there_is_training(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    watched = follower(path)
    assert not watched.look()
    assert watched.explain() is None
    path.write_text("tokens per iteration will be: 768\ncompiling the model...\n")
    assert watched.look()
    assert watched.explain() is None


def test_the_verdict_is_that_of_the_whole_log_at_every_point(tmp_path: Path) -> None:
    """Fed in pieces of any size, with lines cut anywhere."""
    path = tmp_path / "train.log"
    text = eval_lines(FORGETTING)
    watched = follower(path)
    told: list[str] = []
    before = None
    for end in range(0, len(text) + 1, 17):
        path.write_text(text[:end])
        watched.look()
        if (now := watched.explain()) is not None:
            told += [f"{change.kind} {change.finding.code}" for change in changes(before, now)]
            before = now
    path.write_text(text)
    watched.look()
    final = watched.explain(final=True)
    assert final is not None
    assert "overfitting" in final.codes
    assert "new healthy" in told
    assert told.index("gone healthy") < told.index("new overfitting") + 2
    assert len(told) < 12, "changes, not repetitions"


def test_a_run_that_goes_on_is_not_blamed_for_not_having_ended(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(eval_lines([(4, 4), (3, 3), (2, 2)]) + iter_lines([2.0, 1.9], start=510))
    watched = follower(path)
    watched.look()
    now = watched.explain()
    assert now is not None
    assert not {"truncated", "finished", "tail_unevaluated", "undertrained"} & set(now.codes)
    final = watched.explain(final=True)
    assert final is not None
    assert "truncated" in final.codes


def test_our_run_ends_with_its_own_word(tmp_path: Path) -> None:
    """Its last iteration is written before the last checkpoint, and the word after it."""
    path = tmp_path / "metrics.jsonl"
    path.write_text(metrics(falling(4.2, 1.9, 21)))
    watched = follower(path)
    watched.look()
    now = watched.explain()
    assert now is not None
    assert now.run.last_iter == 200
    assert not ended(now)
    with path.open("a") as file:
        file.write(record("end", reason="finished", iters=200, wall_seconds=9.0))
    watched.look()
    now = watched.explain()
    assert now is not None
    assert ended(now)


def test_the_settings_beside_the_log_are_read(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("max_iters = 200\n")
    path = tmp_path / "train.log"
    path.write_text(iter_lines(falling(4.2, 2.0, 20)))
    watched = follower(tmp_path)
    watched.look()
    now = watched.explain()
    assert now is not None
    assert now.run.config["max_iters"] == 200
    assert now.source == str(path)
