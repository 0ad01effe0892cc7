"""Files that are whole or not there, whatever happens while they are written."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanogpt_cli import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def umask_077() -> Iterator[None]:
    previous = os.umask(0o077)
    yield
    os.umask(previous)


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_atomic(path, "vieux")
    files.write_atomic(path, "né 新")
    assert path.read_bytes() == "né 新".encode()
    files.write_atomic(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_temporary_one(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    files.write_atomic(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if call == "fsync" else Path, call, full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_file_and_a_folder_are_as_open_as_the_umask_says(tmp_path: Path) -> None:
    """mkstemp and mkdtemp make private ones; a dataset prepared for a team was readable by one."""
    files.write_atomic(tmp_path / "a.txt", "x")
    with files.new_directory(tmp_path / "d"):
        pass
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o777 & ~mask


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
@pytest.mark.usefixtures("umask_077")
def test_a_private_umask_is_respected_and_restored(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "a.txt", "x")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o600
    (tmp_path / "b.txt").touch()
    assert stat.S_IMODE((tmp_path / "b.txt").stat().st_mode) == 0o600


def test_json_keeps_every_script_and_refuses_nan(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"é": "新", "n": 1})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "é": "新",\n  "n": 1\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert '"n": 1' in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_folder_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "run"
    with files.new_directory(target) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("x", encoding="utf-8")
        assert not target.exists()
        assert folder.name.startswith(files.TEMPORARY_PREFIX)
    assert (target / "sub" / "a.txt").read_text(encoding="utf-8") == "x"
    assert names(tmp_path / "deep") == ["run"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_folder_that_fails_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with files.new_directory(tmp_path / "run") as folder:
            (folder / "a.txt").write_text("x", encoding="utf-8")
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert names(tmp_path) == []


def test_a_folder_that_is_there_already_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").touch()
    with pytest.raises(OSError, match=r"not empty|exists"), files.new_directory(tmp_path / "run"):
        pass
    assert names(tmp_path) == ["run"]
    assert names(tmp_path / "run") == ["mine.txt"]


@pytest.mark.skipif(os.name == "nt", reason="folders have no fsync there")
def test_everything_is_on_the_disk_before_the_folder_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order that survives a power cut: contents, folders, rename, then the parent's list of names."""
    log: list[str] = []
    real_rename = Path.rename

    def rename(self: Path, target: Path) -> Path:
        log.append("rename")
        return real_rename(self, target)

    monkeypatch.setattr(files, "fsync_file", lambda path: log.append(path.name))
    monkeypatch.setattr(files, "fsync_directory", lambda path: log.append(f"{path.name}/"))
    monkeypatch.setattr(Path, "rename", rename)
    with files.new_directory(tmp_path / "run") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").touch()
        (folder / "b").touch()
    assert log == ["b", "a", "sub/", f"{folder.name}/", "rename", f"{tmp_path.name}/"]


def test_a_checksum_of_more_than_one_chunk(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # 1,280,000 bytes: two chunks
    (tmp_path / "a.bin").write_bytes(content)
    assert files.sha256_file(tmp_path / "a.bin") == hashlib.sha256(content).hexdigest()
    (tmp_path / "empty").touch()
    assert files.sha256_file(tmp_path / "empty") == hashlib.sha256(b"").hexdigest()


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NANOGPT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert files.cache_dir() == tmp_path / "xdg" / "nanogpt"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert files.cache_dir() == Path.home() / ".cache" / "nanogpt"
