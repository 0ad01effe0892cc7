"""A dataset that is there already: left alone, replaced when asked, and never left half replaced."""

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nanogpt_cli import files
from nanogpt_cli.data.dataset import open_dataset
from nanogpt_cli.data.discovery import INTERRUPTED_MARKER
from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.data.preparing import install
from nanogpt_cli.errors import NanoGPTError
from tests.data.conftest import TEXT, refusal, snapshot, write

# ---- a dataset that is there already


def test_preparing_twice_is_unchanged() -> None:
    source = write(TEXT)
    first = prepare(source)
    before = snapshot(first.path)
    second = prepare(source)
    assert (first.unchanged, second.unchanged) == (False, True)
    assert snapshot(first.path) == before
    assert first.splits == second.splits
    assert first.bytes_per_token == second.bytes_per_token


@pytest.mark.parametrize(
    "options", [{"tokenizer": "byte"}, {"val_fraction": 0.2}, {"text": TEXT + "."}], ids=str
)
def test_another_dataset_needs_overwrite(options: dict[str, object]) -> None:
    folder = prepare(write(TEXT)).path
    write(str(options.pop("text", TEXT)))
    error = refusal("input.txt", **options)
    assert error.message == "data/input already holds another dataset (input.txt, tokenizer char)"
    assert "--overwrite" in error.hint
    before = snapshot(folder)
    prepare("input.txt", overwrite=True, **options)  # type: ignore[arg-type]
    assert snapshot(folder)["meta.json"] != before["meta.json"]
    open_dataset("input")


def test_the_hint_of_a_refusal_works_when_typed() -> None:
    prepare(write(TEXT, "my text.txt"))
    prepare("my text.txt", data_root=Path("other"))
    assert (
        "--name my-text --data-dir other --overwrite"
        in refusal("my text.txt", tokenizer="byte", data_root=Path("other")).hint
    )
    hint = refusal("my text.txt", val_fraction=0.25).hint
    assert (
        "nanogpt prepare 'my text.txt' --tokenizer char --name my-text --val-fraction 0.25 --overwrite"
        in hint
    )


def test_damaged_dataset_is_not_called_unchanged() -> None:
    folder = prepare(write(TEXT)).path
    (folder / "val.bin").write_bytes(b"\0\0" * 172)
    assert "val.bin" in refusal("input.txt").message
    prepare("input.txt", overwrite=True)
    open_dataset("input")


def test_nanogpt_dataset_is_not_replaced_unasked() -> None:
    Path("data/input").mkdir(parents=True)
    Path("data/input/train.bin").write_bytes(b"\0\0")
    assert refusal(write(TEXT)).message == "data/input already holds a dataset"


def test_a_folder_on_another_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """data/big may be a link to a scratch disk: files can be renamed only within it."""
    Path("scratch").mkdir()
    Path("data").mkdir()
    Path("data/big").symlink_to(Path("scratch").resolve(), target_is_directory=True)
    real_replace = Path.replace

    def replace(self: Path, target: Path) -> Path:
        scratch = [Path("scratch").resolve() in path.resolve().parents for path in (self, target)]
        if scratch[0] != scratch[1]:
            raise OSError(18, "Invalid cross-device link")
        return real_replace(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    prepare(write(TEXT), name="big")
    prepare(write(TEXT), name="big", tokenizer="byte", overwrite=True)
    assert Path("data/big").is_symlink()
    assert open_dataset("big").tokenizer_name == "byte"
    assert sorted(path.name for path in Path("scratch").iterdir()) == sorted([*install.DATASET_FILES])


@pytest.mark.usefixtures("gpt2")
def test_users_files_stay() -> None:
    folder = Path("data/mine")
    folder.mkdir(parents=True)
    source = write(TEXT, "data/mine/input.txt")
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("keep")
    prepare(source, name="mine")  # no dataset in there yet: nothing to overwrite
    assert (folder / "meta.pkl").exists()
    prepare(source, name="mine", tokenizer="gpt2", overwrite=True, block_size=8)
    assert (folder / "input.txt").read_text() == TEXT
    assert (folder / "notes" / "a.txt").read_text() == "keep"
    assert not (folder / "meta.pkl").exists()  # the old one would have told nanoGPT of characters
    assert sorted(path.name for path in Path("data").iterdir()) == ["mine"]


# ---- crashes


class Crash(BaseException):
    """Like a kill: nothing may catch it."""


def crash_at(monkeypatch: pytest.MonkeyPatch, nth: int) -> Callable[[], int]:
    """Raise Crash before the nth call that changes the disk; gives the number of calls so far."""
    calls = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*args: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise Crash
            return real(*args, **options)

        return wrapper

    for owner, name in (
        (Path, "replace"),
        (Path, "unlink"),
        (files, "write_atomic"),
        (files, "fsync_file"),
        (files, "fsync_directory"),
        (Path, "rename"),
    ):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    return lambda: calls


def what_is_there(old_fingerprint: str) -> str:
    """`old` or `new` where data/input opens, `refused` where it says that it was interrupted."""
    try:
        found = open_dataset("input")
    except NanoGPTError as error:
        if "was interrupted" in error.message:
            return "refused"
        raise
    return "old" if found.fingerprint == old_fingerprint else "new"


def test_a_crash_at_any_step_of_an_overwrite_leaves_old_new_or_refused() -> None:
    source = write(TEXT)
    outcomes = []
    for nth in range(1, 100):
        prepare(source, tokenizer="char", overwrite=True)
        old = open_dataset("input").fingerprint
        with pytest.MonkeyPatch.context() as patch:
            calls = crash_at(patch, nth)
            try:
                prepare(source, tokenizer="byte", overwrite=True)
            except Crash:
                finished = False
            else:
                finished = calls() < nth
        outcome = what_is_there(old)
        if outcome == "refused":
            # Run again, as the error says: no --overwrite is needed to finish what was begun.
            assert not prepare(source, tokenizer="byte").unchanged
            assert what_is_there(old) == "new"
        outcomes.append(outcome)
        assert not Path("data/input", INTERRUPTED_MARKER).exists()
        if finished:
            break
    assert finished
    assert set(outcomes) == {"old", "refused", "new"}
    assert outcomes == sorted(outcomes, key=["old", "refused", "new"].index)


def test_a_crash_at_any_step_of_a_first_preparation_leaves_nothing() -> None:
    source = write(TEXT)
    for nth in range(1, 100):
        with pytest.MonkeyPatch.context() as patch:
            calls = crash_at(patch, nth)
            with contextlib.suppress(Crash):
                prepare(source, name=f"n{nth}")
        folder = Path("data") / f"n{nth}"
        if folder.exists():
            open_dataset(folder.name)
        assert not list(Path("data").glob(".tmp-*"))
        if calls() < nth:
            return
    raise AssertionError("never finished")


@pytest.mark.parametrize("existing", [False, True])
def test_full_disk(existing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(TEXT)
    if existing:
        prepare(source)

    class FullDisk:
        def write(self, raw: bytes) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    real_open = Path.open

    def open_full(path: Path, mode: str = "r", **options: object) -> object:
        if path.suffix == ".bin" and mode == "wb":
            return FullDisk()
        return real_open(path, mode, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", open_full)
    error = refusal(source, tokenizer="byte", overwrite=True)
    assert error.message == "data/input cannot be written: no space left on device"
    assert "df -h data" in error.hint
    assert not list(Path("data").glob(".tmp-*"))


def test_permission_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    assert refusal(write(TEXT)).message == "data/input cannot be written: permission denied"
