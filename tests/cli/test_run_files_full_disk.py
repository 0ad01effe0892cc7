"""The records of a run on a disk that fills up and has room again: nothing missing, doubled or cut in two."""

import errno
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nanogpt_cli.cli.reporters import appended_file
from nanogpt_cli.cli.reporters.run_files import RunFilesReporter
from tests.cli.reporter_events import evaluated, saved, started, step


class Disk:
    """How many bytes it still takes, and the time."""

    def __init__(self) -> None:
        self.room = 10**9
        self.fault = errno.ENOSPC
        self.cuts = True  # whether a file can be made shorter
        self.now = 1000.0
        self.reporters: list[RunFilesReporter] = []


class FullFile(io.FileIO):
    """A file on `disk`, which takes what it has room for, as POSIX allows."""

    disk: Disk

    def write(self, raw: Any) -> int:
        if self.disk.room <= 0:
            raise OSError(self.disk.fault, os.strerror(self.disk.fault))
        done = super().write(raw[: self.disk.room])
        self.disk.room -= done
        return done

    def truncate(self, size: int | None = None) -> int:
        if not self.disk.cuts:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return super().truncate(size)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    FullFile.disk = made = Disk()
    monkeypatch.setattr(appended_file, "FileIO", FullFile)
    yield made
    for reporter in made.reporters:
        reporter.close()


class Told:
    """What the reporter says."""

    def __init__(self, folder: Path, disk: Disk, **start: Any) -> None:
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.reporter = RunFilesReporter(self.warnings.append, self.notes.append, clock=lambda: disk.now)
        self.reporter.emit(started(run_dir=str(folder), **start))
        disk.reporters.append(self.reporter)


def steps(folder: Path) -> list[int]:
    """Of metrics.jsonl, each line of which must be whole."""
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [record["step"] for record in map(json.loads, text.splitlines()) if record["event"] == "step"]


def logged(folder: Path) -> list[int]:
    text = (folder / "train.log").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [int(line.split()[1][:-1]) for line in text.splitlines() if line.startswith("iter ")]


@pytest.mark.parametrize("room", [0, 1, 100, 250, 300, 700])
@pytest.mark.parametrize("cuts", [True, False])
def test_what_a_full_disk_refused_is_written_when_it_has_room(
    room: int, cuts: bool, tmp_path: Path, disk: Disk
) -> None:
    """Bug: from the first refusal on nothing was recorded, and half a line could be left."""
    told = Told(tmp_path, disk)
    disk.room, disk.cuts = room, cuts
    for iter_num in range(8):
        told.reporter.emit(step(iter_num))
        disk.now += 5
    assert 1 <= len(told.warnings) <= 2
    assert all("cannot be written (no space left on device); training goes on" in w for w in told.warnings)
    disk.room, disk.cuts = 10**9, True
    disk.now += appended_file.RETRY_SECONDS
    told.reporter.emit(step(8))
    assert steps(tmp_path) == logged(tmp_path) == list(range(9))
    assert [note.partition(" is ")[2] for note in told.notes] == ["written again, no line is missing"] * len(
        told.warnings
    )
    told.reporter.close()
    assert steps(tmp_path) == logged(tmp_path) == list(range(9))


def test_a_disk_that_refuses_is_not_asked_at_every_line(tmp_path: Path, disk: Disk) -> None:
    told = Told(tmp_path, disk)
    disk.room = 0
    told.reporter.emit(step(0))
    disk.room = 10**9
    disk.now += appended_file.RETRY_SECONDS - 1
    told.reporter.emit(step(1))
    assert steps(tmp_path) == []
    disk.now += 1
    told.reporter.emit(step(2))
    assert steps(tmp_path) == [0, 1, 2]


def test_the_last_lines_are_tried_at_the_end(tmp_path: Path, disk: Disk) -> None:
    told = Told(tmp_path, disk)
    disk.room = 0
    told.reporter.emit(step(0))
    disk.room = 10**9
    told.reporter.close()
    assert steps(tmp_path) == logged(tmp_path) == [0]


def test_lines_that_never_found_room_are_counted(tmp_path: Path, disk: Disk) -> None:
    told = Told(tmp_path, disk)
    disk.room = 0
    for iter_num in range(3):
        told.reporter.emit(step(iter_num))
    told.reporter.close()
    assert f"3 lines of {tmp_path / 'metrics.jsonl'} were never written" in told.warnings
    assert steps(tmp_path) == []


def test_what_waits_in_memory_is_bounded(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appended_file, "_MOST_WAITING_BYTES", 3000)
    told = Told(tmp_path, disk)
    disk.room = 0
    for iter_num in range(20):
        told.reporter.emit(step(iter_num))
    disk.room, disk.now = 10**9, disk.now + 60
    told.reporter.emit(step(20))
    kept = steps(tmp_path)
    assert kept == list(range(21 - len(kept), 21))
    assert f"{tmp_path / 'metrics.jsonl'} is written again, {21 - len(kept)} lines are missing" in told.notes


def test_a_resumed_run_drops_its_records_once_the_disk_lets_it(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Appending to records that could not be cut would tell of iterations twice."""
    told = Told(tmp_path, disk)
    for event in (evaluated(0), step(0), saved(1), step(1)):
        told.reporter.emit(event)
    told.reporter.close()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("nanogpt_cli.cli.reporters.run_files.write_atomic", full)
        again = Told(tmp_path, disk, resumed_from_iter=1, resumed_with=())
        again.reporter.emit(step(1))
    assert len(again.warnings) == 2
    disk.now += 60
    again.reporter.emit(step(2))
    assert steps(tmp_path) == logged(tmp_path) == [0, 1, 2]


def test_a_second_ctrl_c_within_a_line_leaves_no_half_of_it(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(tmp_path, disk)

    def interrupted(file: FullFile, raw: bytes) -> int:
        io.FileIO.write(file, raw[:20])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FullFile, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            told.reporter.emit(step(0))
    told.reporter.close()
    assert steps(tmp_path) == [0]
