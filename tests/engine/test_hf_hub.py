"""`--init-from owner/name` against a hub on this machine that speaks the real one's protocol."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import constants

from nanogpt_cli.data.batches import Batches
from nanogpt_cli.data.dataset import open_dataset
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
    """A hub with one model, whose files are those of `folder`, under two names."""
    repository = Repository({path.name: path.read_bytes() for path in folder.iterdir()})
    with serve({"owner/tiny": repository, "openai-community/gpt2": repository}) as server:
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
    return subprocess_cli(*TRAIN, "--init-from", name, *more, env=environment(endpoint))


def environment(endpoint: str) -> dict[str, str]:
    return {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


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
def test_nanogpts_evaluation_of_gpt2_gives_the_loss_of_transformers(tiny_gpt2: Path) -> None:
    """A config of the kind of nanoGPT's eval_gpt2.py: evaluated once, nothing trained, nothing saved."""
    text = "batch_size = 2\neval_iters = 3\neval_only = True\nwandb_log = False\ninit_from = 'gpt2'\n"
    Path("eval_gpt2.py").write_text(text, encoding="utf-8")
    with hub(tiny_gpt2) as server:
        flags = ["--device=cpu", "--dtype=float32", "--compile=False", "--block_size=16", "--threads=1"]
        result = subprocess_cli("train", "eval_gpt2.py", *flags, env=environment(server.url))
    assert result.code == 0, result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("step 0: ")]
    found = [float(word.rstrip(",")) for word in line.split() if "." in word]

    model = transformers.GPT2LMHeadModel.from_pretrained(tiny_gpt2).eval()
    expected = []
    for split in ("train", "val"):
        batches = Batches(tokens=open_dataset("input").tokens(split), block_size=16, seed=0)
        windows = [
            torch.from_numpy(np.stack(batches.even_batch(i, 2, 3))) for i in range(3)
        ]  # each (2, B, T)
        inputs, targets = torch.cat([w[0] for w in windows]), torch.cat([w[1] for w in windows])
        with torch.no_grad():
            logits = model(inputs).logits.double()
        expected.append(float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())))
    assert found == pytest.approx(expected, abs=6e-5)  # four decimals are printed
    assert not list(Path("out").glob("*/checkpoints/*"))
    assert "iter 0" not in result.err


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize(("name", "asked"), [("gpt2-xl", set()), ("owner/tiny", {"config.json"})])
def test_other_tokens_are_refused_before_weights_are_downloaded(
    tiny_gpt2: Path, name: str, asked: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenAI's are known to be of GPT-2's tokens; of others the vocabulary's size is looked up."""
    assert run_cli("prepare", "input.txt", "--tokenizer", "byte", "--name", "bytes").code == 0
    with hub(tiny_gpt2) as server:
        use_hub(server.url, monkeypatch)
        result = run_cli(*TRAIN, "--init-from", name, "--dataset", "bytes")
        files = {path.rpartition("/")[2] for path in server.asked if "/resolve/" in path}
        assert files == asked
    assert result.code == 2
    error, hint = result.err.splitlines()
    assert error == (
        f"error: {name} speaks GPT-2's tokens, but dataset bytes was prepared with the tokenizer byte"
    )
    assert hint == "hint: prepare the text for it: nanogpt prepare SOURCE --tokenizer gpt2 --name bytes-gpt2"


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
