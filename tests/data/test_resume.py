"""`--resume`: an interrupted preparation goes on, and ends with the very bytes of one that never was."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nanogpt_cli.data.dataset import open_dataset
from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.data.preparing import split_writer, streaming
from nanogpt_cli.data.preparing.lock import try_lock
from nanogpt_cli.data.preparing.mark import Mark, SideMark, mark_from_document
from nanogpt_cli.data.preparing.split_writer import SplitWriter
from nanogpt_cli.data.preparing.workplace import LOCK_FILE, Workplace
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Notice
from tests.data.conftest import Recorder, snapshot, write

TEXT = "".join(f"Line {i}: naïve cafés, {i * i} 中文.\n" for i in range(400))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of some lines, each recorded at once."""
    monkeypatch.setattr(streaming, "CHUNK_CHARACTERS", 500)
    monkeypatch.setattr("nanogpt_cli.data.sources.base.PIECE_BYTES", 300)
    monkeypatch.setattr(split_writer, "MARK_SECONDS", 0.0)


class Kill(BaseException):
    """Like SIGKILL, but that `finally` still runs; what is on the disk by then is what counts."""


def interrupt_after(monkeypatch: pytest.MonkeyPatch, chunks: int) -> None:
    """Stop the writing of a dataset when so many chunks have been recorded."""
    real, count = SplitWriter._set_mark, 0

    def counted(self: SplitWriter, *args: object) -> None:
        nonlocal count
        real(self, *args)  # type: ignore[arg-type]
        count += 1
        if count == chunks:
            raise Kill

    monkeypatch.setattr(SplitWriter, "_set_mark", counted)


def interrupted(monkeypatch: pytest.MonkeyPatch, chunks: int, **options: object) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, chunks)
        with pytest.raises(Kill):
            prepare("input.txt", **options)  # type: ignore[arg-type]


@pytest.mark.usefixtures("gpt2")
@pytest.mark.parametrize("tokenizer", ["char", "byte", "gpt2"])
@pytest.mark.parametrize("chunks", [1, 7, 20])
def test_resumed_is_byte_identical(tokenizer: str, chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write(TEXT)
    whole = snapshot(prepare("input.txt", tokenizer=tokenizer, data_root=Path("whole")).path)
    interrupted(monkeypatch, chunks, tokenizer=tokenizer)
    assert not Path("data/input").exists()
    (left,) = Path("data").iterdir()
    # A kill comes in the middle of a write: what lies behind the recorded end does not count.
    with (left / "train.bin").open("ab") as file:
        file.write(b"half a chunk")
    recorder = Recorder()
    prepared = prepare("input.txt", tokenizer=tokenizer, resume=True, reporter=recorder)
    assert snapshot(prepared.path) == whole
    assert [path.name for path in Path("data").iterdir()] == ["input"]
    again = [event for event in recorder.progress if event.task == "reading again"]
    assert len(again) == chunks
    assert not [event for event in recorder.progress if event.task == "reading"]
    encoding = [event.done for event in recorder.progress if event.task == "encoding"]
    assert encoding[0] > again[-1].done
    assert encoding[-1] == len(TEXT.encode())


def test_interrupted_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    write(TEXT)
    whole = snapshot(prepare("input.txt", data_root=Path("whole")).path)
    interrupted(monkeypatch, 3)
    for _ in range(4):
        interrupted(monkeypatch, 3, resume=True)
    assert snapshot(prepare("input.txt", resume=True).path) == whole


def test_a_validation_text_of_its_own_and_an_overwrite(monkeypatch: pytest.MonkeyPatch) -> None:
    write(TEXT[5000:], "val.txt")
    write(TEXT)
    options = {"val_file": Path("val.txt"), "tokenizer": "byte"}
    whole = snapshot(prepare("input.txt", data_root=Path("whole"), **options).path)  # type: ignore[arg-type]
    for chunks in (5, 30):  # the second time the validation text is under way
        old = snapshot(prepare("input.txt", overwrite=True).path)
        interrupted(monkeypatch, chunks, overwrite=True, **options)
        assert {name: raw for name, raw in snapshot(Path("data/input")).items() if "/" not in name} == old
        assert open_dataset("input").tokenizer_name == "char"
        assert snapshot(prepare("input.txt", resume=True, **options).path) == whole  # type: ignore[arg-type]


# ---- what is not resumed


def test_without_resume_the_user_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    write(TEXT)
    interrupted(monkeypatch, 5)
    with pytest.raises(
        NanoGPTError, match=r"the preparation of data.input was interrupted at \d+%"
    ) as caught:
        prepare("input.txt")
    assert "to go on: nanogpt prepare input.txt --tokenizer char --name input --resume" in caught.value.hint
    assert "to begin again: nanogpt prepare input.txt" in caught.value.hint
    assert len(list(Path("data").iterdir())) == 1  # nothing was lost by asking
    recorder = Recorder()
    prepare("input.txt", overwrite=True, reporter=recorder)
    (notice,) = [event.message for event in recorder.events if isinstance(event, Notice)]
    assert notice.startswith("removed data")
    assert [path.name for path in Path("data").iterdir()] == ["input"]


def test_nothing_to_resume_begins_at_the_beginning(recorder: Recorder) -> None:
    prepare(write(TEXT), resume=True, reporter=recorder)
    (notice,) = [event.message for event in recorder.events if isinstance(event, Notice)]
    assert notice == "there is nothing to resume for data/input: beginning at the beginning"


def test_another_request_does_not_take_it(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    write(TEXT)
    interrupted(monkeypatch, 5)
    prepared = prepare("input.txt", tokenizer="byte", resume=True, reporter=recorder)
    assert prepared.tokenizer == "byte"
    assert not [event for event in recorder.progress if event.task == "reading again"]
    assert [path.name for path in Path("data").iterdir()] == ["input"]


def test_a_text_that_changed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    write(TEXT)
    interrupted(monkeypatch, 10)
    write(TEXT.replace("Line 3:", "line 3:"))
    with pytest.raises(NanoGPTError, match=r"input\.txt changed"):
        prepare("input.txt", resume=True)
    assert not list(Path("data").iterdir())  # going on is pointless: it was removed
    prepare("input.txt")


@pytest.mark.parametrize("damage", ["truncated", "no job", "broken job", "no tokenizer"])
def test_damaged_leftovers(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(TEXT)
    whole = snapshot(prepare("input.txt", data_root=Path("whole")).path)
    interrupted(monkeypatch, 10)
    (left,) = Path("data").iterdir()
    if damage == "truncated":
        os.truncate(left / "train.bin", 100)
    elif damage == "no job":
        (left / "job.json").unlink()
    elif damage == "broken job":
        (left / "job.json").write_text('{"format": "nanogpt-prepare"')
    else:
        (left / "nanogpt_tokenizer.json").unlink()
    assert snapshot(prepare("input.txt", resume=True).path) == whole
    assert [path.name for path in Path("data").iterdir()] == ["input"]


def test_other_tokens_than_those_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    write(TEXT)
    interrupted(monkeypatch, 10)
    (left,) = Path("data").iterdir()
    (left / "train.bin").write_bytes(bytes((left / "train.bin").stat().st_size))
    with pytest.raises(NanoGPTError, match="cannot be resumed"):
        prepare("input.txt", resume=True)
    prepare("input.txt")


# ---- leftovers of the dead, and of the living


def test_the_folder_of_a_living_process_is_left_alone() -> None:
    write(TEXT)
    with Workplace(Path("data/input")) as living:
        mine = living.folder
        prepare("input.txt")
        assert mine.is_dir()
        assert (mine / LOCK_FILE).exists()
    assert not mine.exists()
    open_dataset("input")


def test_folders_without_a_lock_are_removed_when_old(recorder: Recorder) -> None:
    """Those of earlier releases have no lock, and so has a folder that is just being put into place."""
    old, young = Path("data/.tmp-input-abcdefgh"), Path("data/.tmp-input-ijklmnop")
    other = Path("data/.tmp-input-2-qrstuvwx")
    for folder in (old, young, other):
        folder.mkdir(parents=True)
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    os.utime(other, (hours_ago, hours_ago))
    prepare(write(TEXT), reporter=recorder)
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)


def test_a_lock_is_held_once_and_let_go(tmp_path: Path) -> None:
    first = try_lock(tmp_path / "lock")
    assert first is not None
    assert try_lock(tmp_path / "lock") is None
    first.close()
    second = try_lock(tmp_path / "lock")
    assert second is not None
    second.close()


def test_mark_survives_json() -> None:
    mark = Mark(
        inputs_sha256=("ab",), chunks=3, text_sha256="cd", fraction=0.5, train=SideMark(tokens=7, sha256="x")
    )
    assert mark_from_document(mark.to_document()) == mark


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_true_kill_at_any_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed by the system in the middle of writing, resumed, killed again, until it is done."""
    write(TEXT * 20)
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from nanogpt_cli.data.preparing import split_writer, streaming\n"
        "from nanogpt_cli.data.prepare import prepare\n"
        "streaming.CHUNK_CHARACTERS = 2000\nsplit_writer.MARK_SECONDS = 0.0\n"
        "from nanogpt_cli.data.sources import base\n"
        "base.PIECE_BYTES = 2000\n"
        "prepare('input.txt', resume=True, tokenizer='byte', data_root=Path(sys.argv[1]))\n"
    )
    whole = snapshot(prepare("input.txt", tokenizer="byte", data_root=Path("whole")).path)
    kills = 0
    for patience in (3, 3, 3, 120):
        process = subprocess.Popen([sys.executable, "-c", script, "data"])
        try:
            deadline = time.monotonic() + 60
            marks: set[int] = set()
            while process.poll() is None and len(marks) < patience and time.monotonic() < deadline:
                marks.update(path.stat().st_mtime_ns for path in Path("data").glob(".tmp-*/job.json"))
                time.sleep(0.001)
            if patience < 100 and process.poll() is None:
                process.kill()
                kills += 1
                assert not Path("data/input").exists()
        finally:
            if patience == 120:
                process.wait(60)
            process.kill()
            process.wait(60)
    assert kills
    assert snapshot(Path("data/input")) == whole
    assert [path.name for path in Path("data").iterdir()] == ["input"]
