"""`--init-from owner/name` against a hub on this machine that speaks the real one's protocol."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import transformers
from huggingface_hub import constants

from nanogpt_cli.engine.interop.hf import load_gpt2
from nanogpt_cli.errors import NanoGPTError
from tests.gpt2_vocabulary import seed_tiktoken_cache
from tests.helpers import Result, run_cli, subprocess_cli
from tests.hub_server import Hub, Repository, serve

TRAIN = [
    *("train", "--preset", "finetune-gpt2", "--device", "cpu", "--dtype", "float32", "--compile=False"),
    *("--threads", "1", "--block-size", "16", "--batch-size", "2", "--gradient-accumulation-steps", "1"),
    *("--max-iters", "3", "--eval-iters", "1", "--log-interval", "1", "--warmup-iters", "0"),
]


@contextlib.contextmanager
def hub(folder: Path) -> Iterator[Hub]:
    """A hub whose only repository, owner/tiny, has the files of `folder`."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with serve({"owner/tiny": Repository(files)}) as server:
        yield server


@pytest.fixture
def dataset() -> None:
    """data/input in GPT-2's tokens."""
    seed_tiktoken_cache(Path(os.environ["TIKTOKEN_CACHE_DIR"]))
    Path("input.txt").write_text("To be, or not to be, that is the question.\n" * 60, encoding="utf-8")
    assert run_cli("prepare", "input.txt", "--tokenizer", "gpt2").code == 0


@pytest.fixture
def tiny_gpt2(tmp_path: Path) -> Path:
    """A random GPT-2 with the full vocabulary, written by transformers."""
    config = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, n_positions=32)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "served")
    return tmp_path / "served"


def train_from(name: str, endpoint: str, *more: str) -> Result:
    environment = {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    return subprocess_cli(*TRAIN, "--init-from", name, *more, env=environment)


@pytest.mark.usefixtures("dataset")
def test_a_model_of_the_hub_is_downloaded_once_and_trained(tiny_gpt2: Path) -> None:
    with hub(tiny_gpt2) as server:
        result = train_from("owner/tiny", server.url)
        assert result.code == 0, result.err
        assert "Initializing from OpenAI GPT-2 weights: owner/tiny" in result.err
        assert "iter 2: loss " in result.err
        gets = [path for path in server.asked if path.startswith("GET")]
        assert [path.rpartition("/")[2] for path in gets] == ["config.json", "model.safetensors"]
        again = train_from("owner/tiny", server.url)
        assert again.code == 0, again.err
        assert [path for path in server.asked if path.startswith("GET")] == gets, "not taken from the cache"
    local = run_cli(*TRAIN, "--init-from", tiny_gpt2)
    assert losses(local.err) == losses(result.err) == losses(again.err)


@pytest.mark.usefixtures("dataset")
def test_a_repository_that_does_not_exist_is_two_lines_and_leaves_nothing(tiny_gpt2: Path) -> None:
    with hub(tiny_gpt2) as server:
        result = train_from("owner/nothing", server.url)
    assert result.code == 1
    assert result.out == ""
    notice, error, hint = result.err.splitlines()
    assert notice == "training on data/input (--dataset chooses another)"
    assert error.startswith("error: config.json of owner/nothing could not be had from the Hugging Face hub")
    assert hint.startswith("hint: check the name and the network")
    assert "--init-from" in hint
    assert not Path("out").exists()


def test_a_repository_without_weights(tiny_gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny_gpt2 / "model.safetensors").unlink()
    with hub(tiny_gpt2) as server:
        use_hub(server.url, monkeypatch)
        with pytest.raises(NanoGPTError, match=r"model\.safetensors of owner/tiny could not") as caught:
            load_gpt2("owner/tiny")
    assert "--init-from FOLDER" in caught.value.hint


def test_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens: huggingface_hub tries again five times, waiting in between, and gives up."""
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    use_hub("http://127.0.0.1:9", monkeypatch)  # the discard port
    with pytest.raises(NanoGPTError, match=r"config\.json of owner/tiny could not be had") as caught:
        load_gpt2("owner/tiny")
    assert "the network" in caught.value.hint
    assert waits, "the clock was not the one it waits by"


def test_offline_by_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NanoGPTError, match=r"config\.json of openai-community/gpt2 could not") as caught:
        load_gpt2("gpt2")
    assert "--init-from FOLDER" in caught.value.hint


@pytest.mark.parametrize("name", ["a/b/c", "gpt 2", "-x/y", "../elsewhere"])
def test_what_is_no_name_at_all(name: str) -> None:
    with pytest.raises(NanoGPTError, match="is neither a folder nor a name") as caught:
        load_gpt2(name)
    assert "owner/name" in caught.value.hint


def use_hub(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub reads its environment on import; here it is told afterwards."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(Path("hub-cache").absolute()))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def losses(log: str) -> list[str]:
    return [line.partition(", time")[0] for line in log.splitlines() if line.startswith("iter ")]
