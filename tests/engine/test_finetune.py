"""`init_from` naming a run of ours: its weights go on with another text, if that speaks the same tokens."""

from pathlib import Path

import pytest
import torch

from nanogpt_cli.data.dataset import open_dataset
from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.engine.checkpoint import list_checkpoints, read_checkpoint
from nanogpt_cli.engine.interop.hf import export_hf
from nanogpt_cli.engine.models.gpt2 import GPT2
from nanogpt_cli.engine.pretrained import load_pretrained
from nanogpt_cli.engine.runs import load_run
from nanogpt_cli.engine.train import train
from nanogpt_cli.errors import NanoGPTError, UsageError
from tests.engine.datasets import prepared, tiny_settings
from tests.engine.tiny import cpu_hardware


@pytest.fixture(autouse=True)
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run on bytes."""
    monkeypatch.chdir(tmp_path)
    train(tiny_settings(), prepared(), Path("first"))
    return Path("first")


def other_text(text: str, tokenizer: str) -> None:
    Path("other.txt").write_text(text * 40, encoding="utf-8")
    prepare("other.txt", tokenizer=tokenizer, block_size=8)


def test_another_text_begins_where_the_run_ended(first: Path) -> None:
    other_text("Ein ganz anderer Text, den das Modell nie sah.\n", "byte")
    ended = train(tiny_settings(init_from="first", max_iters=0), open_dataset("other"), Path("second"))
    assert ended.iters == 0
    start = read_checkpoint(list_checkpoints(Path("second"))[-1])
    best = load_pretrained("first")
    for name, tensor in start.weights().items():
        assert torch.equal(tensor, best.weights[name]), name
    assert start.state.best_val_iter == 0  # the old run's best is not this one's


def test_a_gpt2_of_its_own_vocabulary_goes_on_with_a_text_of_as_many_ids(first: Path, tmp_path: Path) -> None:
    """Bug: every folder of Hugging Face's format was said to speak GPT-2's tokens, our exports too."""
    model = load_run(first, hardware=cpu_hardware()).model
    assert isinstance(model, GPT2)
    exported = export_hf(model, tmp_path / "exported")
    ended = train(tiny_settings(init_from=str(exported)), prepared(), Path("second"))
    assert ended.iters == 6
    other_text("Ein ganz anderer Text, den das Modell nie sah.\n", "char")
    with pytest.raises(UsageError, match="was trained with 256 token ids, dataset other has"):
        train(tiny_settings(init_from=str(exported)), open_dataset("other"), Path("third"))


def test_one_checkpoint_can_be_named(first: Path) -> None:
    oldest = list_checkpoints(first)[0]
    assert torch.equal(
        load_pretrained(str(oldest)).weights["transformer.wte.weight"],
        read_checkpoint(oldest).weights()["transformer.wte.weight"],
    )


def test_the_context_is_cropped_and_never_stretched(first: Path) -> None:
    dataset = open_dataset("input")
    assert train(tiny_settings(init_from="first", block_size=4), dataset, Path("short")).iters == 6
    with pytest.raises(UsageError, match="more than the 8 positions of first"):
        train(tiny_settings(init_from="first", block_size=16), dataset, Path("long"))


def test_its_shape_overrules_the_settings_and_says_so(first: Path) -> None:
    dataset = open_dataset("input")
    train(tiny_settings(init_from="first", n_layer=4, n_embd=32), dataset, Path("second"))
    assert "n_layer = 2  # init_from first" in Path("second/config.toml").read_text(encoding="utf-8")


def test_another_tokenizer_is_an_error_that_explains(first: Path) -> None:
    other_text("Nur Buchstaben.\n", "char")
    with pytest.raises(UsageError, match="trained on the tokens of byte, but dataset other") as caught:
        train(tiny_settings(init_from="first"), open_dataset("other"), Path("second"))
    assert "the same ids would mean other text" in caught.value.message
    assert "--tokenizer first" in caught.value.hint
    assert not Path("second").exists()


def test_a_run_without_checkpoints(first: Path) -> None:
    Path("empty").mkdir()
    Path("empty/config.toml").write_text("", encoding="utf-8")
    with pytest.raises(NanoGPTError, match="empty holds no complete checkpoint"):
        train(tiny_settings(init_from="empty"), open_dataset("input"), Path("second"))
