"""Sources that can be read only once: kept in a file, read again as they were."""

import io
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.data import prepare as prepare_module
from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.data.preparing.spool import spooled
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import NullReporter
from tests.data.conftest import snapshot, write
from tests.data.memory_source import MemorySource
from tests.helpers import run_cli

TEXT = "Wovon man nicht sprechen kann, darüber muss man schweigen.\r\n" * 60


@given(st.lists(st.lists(st.text())))
def test_a_spool_gives_the_same_documents(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[str]]
) -> None:
    source = MemorySource(documents, repeatable=False)
    kept = spooled(source, tmp_path_factory.mktemp("spool") / "spool", NullReporter())
    for _ in range(2):
        assert ["".join(pieces) for pieces in kept.documents()] == ["".join(each) for each in documents]
        assert kept.done_bytes == kept.size_bytes
    assert source.passes == 1
    assert (kept.label, kept.kind, kept.collection) == ("memory", "memory", True)


@pytest.mark.usefixtures("gpt2")
@pytest.mark.parametrize("tokenizer", ["char", "gpt2"])
def test_standard_input_gives_what_a_file_gives(tokenizer: str) -> None:
    write(TEXT)
    block = ("--block-size", 32)
    assert run_cli("prepare", "-", "-t", tokenizer, "--name", "piped", *block, stdin=TEXT).code == 0
    assert run_cli("prepare", "input.txt", "-t", tokenizer, "--name", "filed", *block).code == 0
    piped, filed = snapshot(Path("data/piped")), snapshot(Path("data/filed"))
    assert {**piped, "meta.json": b""} == {**filed, "meta.json": b""}
    assert not list(Path("data").glob(".tmp-*"))


def test_a_collection_that_can_be_read_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [[f"Document {i}. " * 40] for i in range(50)]
    folders = []
    for repeatable in (True, False):
        source = MemorySource(documents, repeatable=repeatable)
        monkeypatch.setattr(prepare_module, "open_sources", lambda *args, source=source, **options: source)
        folders.append(snapshot(prepare("memory", name=f"n{repeatable}", tokenizer="byte").path))
    assert folders[0] == folders[1]


def test_an_error_while_it_is_received_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(MemorySource):
        def documents(self):  # type: ignore[no-untyped-def]
            yield iter(["some text"])
            raise NanoGPTError("the line went dead", "try again")

    monkeypatch.setattr(prepare_module, "open_sources", lambda *a, **o: Broken([], repeatable=False))
    with pytest.raises(NanoGPTError, match="the line went dead"):
        prepare("memory")
    assert not Path("data").exists()


def test_standard_input_that_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(NanoGPTError):
        prepare("-")
    assert not Path("data").exists()
