"""What a dataset of the hub cannot give: every failure is one line that says what, and one that helps."""

import errno
import logging
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

from nanogpt_cli.data.sources.base import Source, SourceOptions
from nanogpt_cli.data.sources.hub import open_hub
from nanogpt_cli.data.sources.hub_errors import Asked, explain
from nanogpt_cli.errors import NanoGPTError
from tests.data.conftest import Recorder
from tests.data.hub.conftest import set_offline, use_endpoint
from tests.data.hub.repositories import card, jsonl, parquet, texts
from tests.hub_server import TOKEN, Hub, Repository

Start = Callable[..., Hub]
LINES = {"README.md": b"# x", "train.jsonl": jsonl("text", texts("t"))}
PARQUET = {
    # The card says which columns there are, so that nothing is read before the download.
    "README.md": card("dataset_info:\n  features:\n  - name: text\n    dtype: string\n"),
    "train.parquet": parquet({"text": texts("t", 2000)}),
}
MANY = {
    "README.md": card(
        "configs:\n- config_name: en\n  data_files: en/*\n- config_name: fr\n  data_files: fr/*\n"
    ),
    "en/train.jsonl": jsonl("text", ["hello"]),
    "fr/train.jsonl": jsonl("text", ["bonjour"]),
}


def read(source: Source) -> list[str]:
    return ["".join(document) for document in source.documents()]


def failure(name: str, reporter: Recorder | None = None, **options: object) -> NanoGPTError:
    """The error of opening and reading a dataset, in one line and a hint."""
    with pytest.raises(NanoGPTError) as caught:
        read(open_hub(name, SourceOptions(**options), reporter or Recorder()))  # type: ignore[arg-type]
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


# ---- Choices


def test_a_configuration_has_to_be_chosen(start_hub: Start) -> None:
    start_hub(many=Repository(MANY))
    error = failure("owner/many")
    assert error.message == "owner/many has several configurations: en, fr"
    assert error.hint == "nanogpt prepare owner/many --config en"
    error = failure("hf:owner/many", config="fra")
    assert error.message == "owner/many has no configuration 'fra'; it has en, fr"
    assert error.hint == "nanogpt prepare hf:owner/many --config fr"


def test_splits(start_hub: Start) -> None:
    two = {"a/validation.jsonl": jsonl("text", ["v"]), "a/test.jsonl": jsonl("text", ["t"])}
    start_hub(two=Repository(two), one=Repository(LINES))
    error = failure("owner/two")
    assert error.message == "owner/two has several splits and none is called train: validation, test"
    assert error.hint == "nanogpt prepare owner/two --split validation"
    error = failure("owner/two", split="val")
    assert error.message == "owner/two has no split 'val'; it has validation, test"
    assert error.hint == "nanogpt prepare owner/two --split validation"
    error = failure("owner/one", split="train[:10%]", streaming=True)
    assert "--streaming cannot cut a split" in error.message
    assert "--max-docs" in error.hint


def test_columns(start_hub: Start) -> None:
    start_hub(
        two=Repository({"train.parquet": parquet({"q": ["a"], "a": ["b"], "n": [1]})}),
        none=Repository({"train.parquet": parquet({"n": [1], "x": [0.5]})}),
        chats=Repository({"train.jsonl": jsonl("messages", [[{"role": "user", "content": "hi"}]])}),
    )
    assert failure("owner/two").message == "which column of owner/two is the text? It has q, a, n (int64)"
    assert failure("owner/two").hint == "--text-column q"
    missing = failure("owner/two", text_column="text").message
    assert missing == "owner/two has no column 'text'; it has q, a, n (int64)"
    assert failure("owner/two", text_column="n").message == "column 'n' of owner/two holds int64, not text"
    assert "has no column of text" in failure("owner/none").message
    assert "as chats do, not text" in failure("owner/chats").message
    assert not list(Path("datasets-cache").rglob("*.arrow")), "all was downloaded before it was known"


def test_a_column_without_a_single_text(start_hub: Start) -> None:
    start_hub(empty=Repository({"train.parquet": parquet({"text": ["", ""], "other": ["a", "b"]})}))
    error = failure("owner/empty")
    assert error.message == "column 'text' of owner/empty holds no text in any of its rows (2 empty)"
    assert error.hint == "name another column: nanogpt prepare owner/empty --text-column NAME"


def test_text_that_is_not_utf8(start_hub: Start) -> None:
    latin = parquet({"text": ["good", "bad: _"]}).replace(b"bad: _", b"bad: \xe9")
    start_hub(latin=Repository({"train.parquet": latin}))
    error = failure("owner/latin")
    assert "is not UTF-8: byte 0xE9 after 'bad: '" in error.message
    assert "--errors replace" in error.hint
    source = open_hub("owner/latin", SourceOptions(errors="replace"), Recorder())
    assert read(source) == ["good", "bad: \ufffd"]


# ---- Access


def test_a_script_is_not_run_and_its_parquet_copy_is_named(start_hub: Start) -> None:
    evil = b"open('pwned', 'w')\n"
    start_hub(script=Repository({"script.py": evil, "README.md": b"# x"}))
    error = failure("owner/script")
    assert "dataset script" in error.message
    assert error.hint.endswith("nanogpt prepare owner/script --revision refs/convert/parquet")
    assert not Path("pwned").exists()
    error = failure("owner/script", revision="refs/convert/parquet")
    assert error.message == "owner/script has no revision 'refs/convert/parquet'"
    assert "has made no Parquet copy" in error.hint


def test_a_script_is_named_also_where_its_parquet_copy_is_cached(start_hub: Start) -> None:
    """`datasets` then looks into its cache, finds the copy alone, and says nothing of a script."""
    copy = {"default/train/0000.parquet": parquet({"text": texts("t")})}
    start_hub(script=Repository({"script.py": b"", "README.md": b"# x"}, {"refs/convert/parquet": copy}))
    source = open_hub("owner/script", SourceOptions(revision="refs/convert/parquet"), Recorder())
    assert read(source) == texts("t")
    assert failure("owner/script").hint.endswith("--revision refs/convert/parquet")


def test_a_name_that_does_not_exist(start_hub: Start) -> None:
    start_hub({"other/TinyPoems": Repository(LINES)}, TinyStories=Repository(LINES))
    error = failure("owner/TinyStorys")
    assert error.message.startswith("there is no dataset owner/TinyStorys on the Hugging Face hub")
    assert "did you mean owner/TinyStories? nanogpt prepare owner/TinyStories" in error.hint
    assert "did you mean other/TinyPoems?" in failure("oter/tinypoems").hint
    assert "check the name on http://127.0.0.1" in failure("nobody/unheard-of").hint


def test_a_private_dataset(start_hub: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start_hub(secret=Repository(LINES, private=True))
    error = failure("owner/secret")
    assert "or it is private" in error.message
    assert "export HF_TOKEN=hf_" in error.hint
    monkeypatch.setenv("HF_TOKEN", "hf_no_access")
    assert "export" not in failure("owner/secret").hint
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    error = failure("owner/secret")
    assert error.message == "the Hugging Face hub does not accept your token (hf_wr…)"
    assert f"{server.url}/settings/tokens" in error.hint
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert len(list(open_hub("owner/secret", SourceOptions(), Recorder()).documents())) == 30


def test_a_gated_dataset(start_hub: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start_hub(gated=Repository(LINES, gated=True))
    error = failure("owner/gated")
    assert error.message == "owner/gated is gated: only users who were given access can read it"
    assert f"{server.url}/datasets/owner/gated" in error.hint
    assert "HF_TOKEN" in error.hint
    monkeypatch.setenv("HF_TOKEN", "hf_no_access")
    assert "your token's owner has no access" in failure("owner/gated").message
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert len(list(open_hub("owner/gated", SourceOptions(streaming=True), Recorder()).documents())) == 30


def test_revisions_and_files_that_are_not_there(start_hub: Start) -> None:
    start_hub(lines=Repository(LINES), empty=Repository({"README.md": b"# x", "model.bin": b"1"}))
    assert failure("owner/lines", revision="v2").message == "owner/lines has no revision 'v2'"
    assert "holds no data files" in failure("owner/empty").message


# ---- Network


def test_offline_and_not_cached(start_hub: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start_hub(lines=Repository(LINES))
    set_offline(monkeypatch, offline=True)
    error = failure("owner/lines")
    assert "HF_HUB_OFFLINE forbids" in error.message
    assert error.hint.endswith("HF_HUB_OFFLINE=0 nanogpt prepare owner/lines")
    assert not server.asked


def test_nobody_answers(start_hub: Start, monkeypatch: pytest.MonkeyPatch, no_waiting: list[float]) -> None:
    start_hub()
    use_endpoint("http://127.0.0.1:9", monkeypatch)  # the discard port
    recorder = Recorder()
    error = failure("owner/lines", recorder)
    assert error.message.startswith("owner/lines could not be read from http://127.0.0.1:9: no connection")
    assert "check the network" in error.hint
    assert sum(no_waiting) < 200
    assert "trying again" in str(recorder.events), "the user is not told why it takes so long"


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("streaming", [False, True], ids=["downloaded", "streamed"])
def test_a_lost_connection_is_taken_up_again(start_hub: Start, streaming: bool) -> None:
    server = start_hub(big=Repository(PARQUET))
    server.cut("train.parquet", after=len(PARQUET["train.parquet"]) // 2, times=2)
    source = open_hub("owner/big", SourceOptions(streaming=streaming), Recorder())
    assert read(source) == texts("t", 2000)
    assert server.cuts["train.parquet"][1] == 0, "the connection was never lost"


@pytest.mark.parametrize("streaming", [False, True], ids=["downloaded", "streamed"])
def test_a_line_that_stays_dead_ends(start_hub: Start, no_waiting: list[float], streaming: bool) -> None:
    """With a bound on the tries; what is complete is used by the next run, and nothing half a dataset."""
    server = start_hub(big=Repository(PARQUET))
    server.cut("train.parquet", after=0, times=10_000)
    error = failure("owner/big", streaming=streaming)
    assert "owner/big could not be read from" in error.message
    assert len(server.asked) < 100
    assert sum(no_waiting) < 300
    server.cuts.clear()
    source = open_hub("owner/big", SourceOptions(streaming=streaming), Recorder())
    assert read(source) == texts("t", 2000)


# ---- Manners


def test_the_libraries_are_as_loud_as_before(start_hub: Start, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing of theirs reaches the terminal, and a program that uses them and us gets its logs back."""
    start_hub(lines=Repository(LINES))
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    retries = datasets.config.STREAMING_READ_MAX_RETRIES
    bars = datasets.are_progress_bars_disabled()
    list(open_hub("owner/lines", SourceOptions(), Recorder()).documents())
    failure("owner/lines", split="nothing")
    assert capfd.readouterr() == ("", "")
    assert [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers] == before
    assert datasets.are_progress_bars_disabled() is bars
    assert retries == datasets.config.STREAMING_READ_MAX_RETRIES


# ---- Faults that no server of ours can have


class Answer(OSError):
    """An error with the hub's answer, as huggingface_hub and requests raise them."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status} Error for url: https://huggingface.co/x")
        self.response = type("Response", (), {"status_code": status})()


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (Answer(429), "asks for patience (429", "in some minutes"),
        (Answer(503), "has a fault (503)", "in some minutes"),
        (Answer(403), "refuses to give owner/x (403)", "datasets/owner/x"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device", "--streaming"),
        (OSError("Not enough disk space. Needed: 12.00 GiB"), "Not enough disk space", "--streaming"),
        (
            ImportError("no zstandard", name="zstandard"),
            "needs the Python package zstandard",
            "pip install zstandard",
        ),
        (KeyError("what"), "could not be loaded (KeyError: 'what')", "look at its files"),
    ],
)
def test_other_faults(error: Exception, message: str, hint: str) -> None:
    explained = explain(error, Asked(repository="owner/x", command="nanogpt prepare owner/x"))
    assert message in explained.message
    assert hint in explained.hint


def test_the_reason_is_found_below_what_the_library_says() -> None:
    """`datasets` raises its own error `from None` over the one that tells."""
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("An error occurred while generating the dataset") from None
    except RuntimeError as error:
        explained = explain(error, Asked(repository="owner/x", command="nanogpt prepare owner/x"))
    assert "no space left on device" in explained.message
