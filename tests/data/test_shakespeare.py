"""The built-in `shakespeare`: downloaded once, resumed, checked, and never half there."""

import hashlib
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanogpt_cli.data.sources import download, shakespeare
from nanogpt_cli.data.sources.download import Download
from nanogpt_cli.data.sources.shakespeare import open_shakespeare
from nanogpt_cli.errors import NanoGPTError
from tests.data.conftest import Recorder
from tests.hub_server import Hub, Repository, serve

TEXT = "".join(f"FIRST CITIZEN:\nSpeak, speak; line {i * i}.\n\n" for i in range(3000)).encode()
FILE = "input.txt"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server with the text, where the corpus is looked for; nobody waits between tries."""
    with serve({"char/rnn": Repository({FILE: TEXT})}) as server:
        url = f"{server.url}/datasets/char/rnn/resolve/main/{FILE}"
        sha256 = hashlib.sha256(TEXT).hexdigest()
        monkeypatch.setattr(
            shakespeare, "TINY_SHAKESPEARE", Download(url=url, bytes=len(TEXT), sha256=sha256)
        )
        monkeypatch.setattr(download, "_WAIT_SECONDS", 0.0)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


def cache() -> dict[str, bytes]:
    """What lies in the cache folder."""
    folder = Path(os.environ["NANOGPT_CACHE_DIR"])
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def read(recorder: Recorder) -> str:
    return "".join(piece for document in open_shakespeare(recorder).documents() for piece in document)


def test_downloaded_once(web: Hub, recorder: Recorder) -> None:
    source = open_shakespeare(recorder)
    assert (source.label, source.dataset_name, source.kind) == ("shakespeare", "shakespeare", "builtin")
    assert not source.collection
    assert read(recorder) == TEXT.decode()
    assert cache() == {"tinyshakespeare.txt": TEXT}
    assert len(web.asked) == 1
    last = recorder.progress[-1]
    assert (last.task, last.done, last.total) == ("downloading", len(TEXT), len(TEXT))


def test_a_lost_connection_is_taken_up_where_it_broke(web: Hub, recorder: Recorder) -> None:
    web.cut(FILE, after=20_000, times=3)
    assert read(recorder) == TEXT.decode()
    assert len(web.asked) == 4
    assert web.sent[FILE] == len(TEXT), "bytes were sent twice"


def test_a_line_that_stays_dead_ends_and_the_next_run_resumes(web: Hub, recorder: Recorder) -> None:
    web.cut(FILE, after=0, times=99)
    with pytest.raises(
        NanoGPTError, match=r"input\.txt could not be downloaded: the connection was lost"
    ) as caught:
        open_shakespeare(recorder)
    assert "nanogpt prepare input.txt --name shakespeare" in caught.value.hint
    assert cache() == {"tinyshakespeare.txt.part": b""}
    web.cut(FILE, after=30_000, times=1)
    web.asked.clear()
    assert read(recorder) == TEXT.decode()
    assert len(web.asked) == 2
    assert cache() == {"tinyshakespeare.txt": TEXT}


def test_what_another_program_left_is_not_believed(web: Hub, recorder: Recorder) -> None:
    """A wrong beginning is noticed by the checksum, and the file fetched from its first byte."""
    folder = Path(os.environ["NANOGPT_CACHE_DIR"])
    folder.mkdir()
    (folder / "tinyshakespeare.txt.part").write_bytes(b"something else")
    (folder / "tinyshakespeare.txt").write_bytes(TEXT[:-1] + b"?")
    assert read(recorder) == TEXT.decode()
    assert cache() == {"tinyshakespeare.txt": TEXT}


@pytest.mark.parametrize("served", [TEXT[:-1] + b"?", TEXT + b"?"], ids=["changed", "longer"])
def test_another_file_is_refused(web: Hub, recorder: Recorder, served: bytes) -> None:
    web.repositories["char/rnn"] = Repository({FILE: served})
    with pytest.raises(NanoGPTError, match="is not the file that it should be"):
        open_shakespeare(recorder)
    assert cache() == {}


def test_a_file_that_is_gone(web: Hub, recorder: Recorder) -> None:
    web.repositories.clear()
    with pytest.raises(NanoGPTError, match="the server answers 401"):
        open_shakespeare(recorder)


def test_without_a_network(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    nobody = Download(url="http://127.0.0.1:9/input.txt", bytes=5, sha256="")
    monkeypatch.setattr(shakespeare, "TINY_SHAKESPEARE", nobody)
    monkeypatch.setattr(download, "_WAIT_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(NanoGPTError, match=r"could not be downloaded: connection refused") as caught:
        open_shakespeare(recorder)
    assert caught.value.hint.startswith("download http://127.0.0.1:9/input.txt elsewhere as input.txt")


def test_the_proxy_of_the_environment_is_used(
    web: Hub, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name does not exist; the proxy, which is our server, is asked for it."""
    elsewhere = shakespeare.TINY_SHAKESPEARE.url.replace(web.url, "http://corpus.invalid")
    known = shakespeare.TINY_SHAKESPEARE
    monkeypatch.setattr(
        shakespeare, "TINY_SHAKESPEARE", Download(url=elsewhere, bytes=known.bytes, sha256=known.sha256)
    )
    monkeypatch.setenv("http_proxy", web.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies of the first request
    assert read(recorder) == TEXT.decode()
    assert web.asked[0].startswith("GET http://corpus.invalid/")


def test_a_cache_folder_that_cannot_be_written(
    web: Hub, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("")
    monkeypatch.setenv("NANOGPT_CACHE_DIR", str(Path("file").absolute()))
    with pytest.raises(NanoGPTError, match="cannot be written") as caught:
        open_shakespeare(recorder)
    assert "NANOGPT_CACHE_DIR" in caught.value.hint
