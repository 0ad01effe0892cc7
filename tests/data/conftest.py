"""What the data tests share: GPT-2's vocabulary, loaded once, and real texts in four languages."""

import os
from pathlib import Path

import pytest

from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.data.tokenizers.tiktoken_names import TiktokenTokenizer, load_encoding
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Event, Progress, Warned
from tests.gpt2_vocabulary import seed_tiktoken_cache

TEXTS = Path(__file__).parent.parent / "fixtures" / "texts"
TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler in the mind to suffer\n" * 20


def write(text: str, name: str = "input.txt") -> str:
    Path(name).write_bytes(text.encode())
    return name


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file under `folder`, stamps aside."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".verified.json"
    }


def refusal(source: str, **options: object) -> NanoGPTError:
    """The error of prepare, which must have written nothing."""
    before = snapshot(Path())
    with pytest.raises(NanoGPTError) as caught:
        prepare(source, **options)  # type: ignore[arg-type]
    assert snapshot(Path()) == before
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> TiktokenTokenizer:
    """The gpt2 tokenizer; tiktoken keeps it for the whole process, whatever the cache folder is later."""
    folder = tmp_path_factory.mktemp("tiktoken")
    seed_tiktoken_cache(folder)
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        load_encoding("gpt2")
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before
    return TiktokenTokenizer("gpt2")


@pytest.fixture(params=["english", "spanish", "french", "chinese"])
def language_text(request: pytest.FixtureRequest) -> str:
    """About a page of prose in each of four languages."""
    return (TEXTS / f"{request.param}.txt").read_bytes().decode("utf-8")


class Recorder:
    """A reporter that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        pass

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warned)]

    @property
    def progress(self) -> list[Progress]:
        return [event for event in self.events if isinstance(event, Progress)]


@pytest.fixture
def recorder() -> Recorder:
    """A fresh one."""
    return Recorder()


@pytest.fixture
def shakespeare_like(tmp_path: Path) -> Path:
    """A short text with LF newlines in the current folder, `input.txt`."""
    path = tmp_path / "input.txt"
    path.write_bytes("".join(f"SPEAKER {i}:\nSpeak, speak; line {i * i}.\n\n" for i in range(60)).encode())
    return path
