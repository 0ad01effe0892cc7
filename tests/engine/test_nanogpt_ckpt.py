"""nanoGPT's ckpt.pt: resumed, fine-tuned and sampled here, whatever prefix its weights carry, and never run.

The files are written as nanoGPT's train.py writes them: a torch.save of model.state_dict(), the state of an
AdamW over two groups, model_args, iter_num, best_val_loss (a tensor) and config.
"""

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from nanogpt_cli.config.load import load_config
from nanogpt_cli.data.nanogpt_folder import META_PKL, meta_pkl
from nanogpt_cli.data.tokenizers.base import CharTokenizer
from nanogpt_cli.engine.device import choose_inference_hardware
from nanogpt_cli.engine.interop.nanogpt import find_tokenizer, read_ckpt, read_ckpt_settings
from nanogpt_cli.engine.runs import foreign_ckpt, load_run, resumed_settings
from nanogpt_cli.engine.train import train
from nanogpt_cli.engine.trainer import Trainer
from nanogpt_cli.errors import NanoGPTError, UsageError
from tests.engine.checkpoints import trained
from tests.engine.datasets import prepared, tiny_settings
from tests.engine.tiny import VOCAB_SIZE, build_trainer, tiny_config


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_ckpt(trainer: Trainer, path: Path, *, prefix: str = "", **changes: Any) -> Path:
    """What nanoGPT's train.py would have saved at this point."""
    model, config = trainer.raw_model, trainer.config
    masks = {f"transformer.h.{i}.attn.bias": torch.ones(1, 1, 8, 8) for i in range(config.n_layer)}
    document = {
        "model": {prefix + name: tensor for name, tensor in {**model.state_dict(), **masks}.items()},
        "optimizer": trainer.optimizer.state_dict(),
        "model_args": {
            "n_layer": config.n_layer,
            "n_head": config.n_head,
            "n_embd": config.n_embd,
            "block_size": config.block_size,
            "bias": config.bias,
            "vocab_size": model.config.vocab_size,
            "dropout": config.dropout,
        },
        "iter_num": trainer.state.iter_num,
        "best_val_loss": torch.tensor(2.5),
        "config": {**dataclasses.asdict(config), "device": "cuda", "dtype": "float16", "compile": True},
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(document, path)
    return path


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("bias", [False, True])
def test_going_on_equals_never_having_stopped(prefix: str, bias: bool, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", iters=10, bias=bias)
    ckpt = write_ckpt(trained(tmp_path / "first", iters=4, bias=bias), tmp_path / "ckpt.pt", prefix=prefix)

    second = build_trainer(tmp_path / "second", tiny_config(bias=bias), checkpoint=read_ckpt(ckpt))
    assert second.state.iter_num == 4
    assert second.state.tokens_seen == 4 * 4 * 8
    assert (second.state.best_val_loss, second.state.best_val_iter) == (2.5, 4)  # said "at iteration None"
    for iter_num in range(4, 10):
        second.train_iteration(iter_num)

    for name, tensor in whole.raw_model.state_dict().items():
        assert torch.equal(tensor, second.raw_model.state_dict()[name]), name


def test_settings_of_training_are_kept_and_those_of_the_machine_are_not(tmp_path: Path) -> None:
    ckpt = write_ckpt(trained(tmp_path / "run", learning_rate=0.02), tmp_path / "out-ng" / "ckpt.pt")
    loaded = load_config(flags={"max_iters": 99}, environment={}, base=resumed_settings(ckpt.parent))
    assert (loaded.config.learning_rate, loaded.config.n_embd, loaded.config.max_iters) == (0.02, 16, 99)
    assert (loaded.config.device, loaded.config.dtype, loaded.config.compile) == ("auto", "auto", "auto")
    assert loaded.origins["learning_rate"] == str(ckpt)


def test_settings_are_read_without_the_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed ckpt.pt was read twice: once for its settings, once for its weights."""
    ckpt = write_ckpt(trained(tmp_path / "run", learning_rate=0.02), tmp_path / "ckpt.pt")
    settings = read_ckpt(ckpt).settings
    old = tmp_path / "old.pt"
    document = torch.load(ckpt, weights_only=True)
    torch.save(document, old, _use_new_zipfile_serialization=False)
    mapped = []
    load = torch.load

    def watched(*args: Any, **options: Any) -> Any:
        mapped.append(options["mmap"])
        return load(*args, **options)

    monkeypatch.setattr(torch, "load", watched)
    assert read_ckpt_settings(ckpt) == settings
    assert read_ckpt_settings(old) == settings  # of a torch whose files cannot be mapped
    assert mapped == [True, False]
    torch.save({**document, "config": 3}, ckpt)
    with pytest.raises(NanoGPTError, match="is not a checkpoint of nanoGPT's"):
        read_ckpt_settings(ckpt)


def test_a_folder_of_nanogpts_goes_on_as_a_run_of_ours() -> None:
    dataset = prepared()
    first = tiny_settings(max_iters=4, lr_decay_iters=6)
    train(first, dataset, Path("whole"))
    trainer = trained(Path("t"), block_size=8)
    del trainer
    loaded = load_run("whole", hardware=choose_inference_hardware("cpu", "float32"), which="last")
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in loaded.model.parameters() if p.dim() >= 2]},
            {"params": [p for p in loaded.model.parameters() if p.dim() < 2]},
        ]
    )
    loaded.checkpoint.restore_optimizer(loaded.model, optimizer)
    shape = loaded.model.config
    Path("out-ng").mkdir()
    torch.save(
        {
            "model": loaded.model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "model_args": {
                "n_layer": shape.n_layer,
                "n_head": shape.n_head,
                "n_embd": shape.n_embd,
                "block_size": shape.block_size,
                "bias": shape.bias,
                "vocab_size": shape.vocab_size,
                "dropout": 0.0,
            },
            "iter_num": 4,
            "best_val_loss": 9.0,
            "config": dataclasses.asdict(first.config),
        },
        "out-ng/ckpt.pt",
    )
    again = tiny_settings(max_iters=6)
    ended = train(again, dataset, Path("out-ng"), resume=True)
    straight = train(tiny_settings(max_iters=6, lr_decay_iters=6), dataset, Path("straight"))
    assert ended.iters == 6
    assert ended.final_val_loss == pytest.approx(straight.final_val_loss)
    assert foreign_ckpt(Path("out-ng")) is None  # from now on its own checkpoints are the newer ones
    assert Path("out-ng/ckpt.pt").exists()


def test_starting_from_its_weights_on_the_same_vocabulary() -> None:
    dataset = prepared()
    train(tiny_settings(max_iters=3), dataset, Path("first"))
    loaded = load_run("first", hardware=choose_inference_hardware("cpu", "float32"), which="last")
    trainer = build_trainer(Path("t"), tiny_config(), model=loaded.model)
    ckpt = write_ckpt(trainer, Path("ng/ckpt.pt"))
    for name in (str(ckpt), "ng"):
        ended = train(tiny_settings(init_from=name, eval_only=True), dataset, Path(f"out-{len(name)}"))
        original = train(tiny_settings(init_from="first", eval_only=True), dataset, Path(f"o{len(name)}"))
        assert ended.final_val_loss == original.final_val_loss
    other = prepared("abc " * 200, tokenizer="char")
    with pytest.raises(UsageError, match=r"256 token ids, dataset input has 4"):
        train(tiny_settings(init_from="ng"), other, Path("never"))
    assert not Path("never").exists()


def test_sampling_takes_the_letters_of_its_data_folder(tmp_path: Path) -> None:
    tokenizer = CharTokenizer("abcdefghijklm")
    assert tokenizer.vocab_size == VOCAB_SIZE
    folder = Path("data/letters")
    folder.mkdir(parents=True)
    raw = meta_pkl(tokenizer)
    assert raw is not None
    (folder / META_PKL).write_bytes(raw)
    ckpt = write_ckpt(trained(tmp_path / "run", dataset="letters"), Path("out-ng/ckpt.pt"))
    loaded = load_run("out-ng", hardware=choose_inference_hardware("cpu", "float32"))
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.decode([0, 12]) == "am"
    assert loaded.checkpoint.state.best_val_loss == 2.5
    (folder / META_PKL).unlink()
    assert find_tokenizer(read_ckpt(ckpt)) is None  # 13 ids of nobody knows what


class _Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("executed"),))


def test_nothing_in_a_pickle_is_run() -> None:
    for document in (_Hostile(), {"model": _Hostile(), "model_args": {}}):
        torch.save(document, "ckpt.pt")
        with pytest.raises(NanoGPTError, match=r"is not a checkpoint of nanoGPT's train\.py") as caught:
            read_ckpt(Path("ckpt.pt"))
        assert "\n" not in caught.value.message
    assert not Path("executed").exists()


def test_whatever_else_has_the_name_is_two_lines(tmp_path: Path) -> None:
    good = write_ckpt(trained(tmp_path / "run"), tmp_path / "good.pt").read_bytes()
    model_args = {"n_layer": 3, "n_head": 2, "n_embd": 16, "block_size": 8, "vocab_size": VOCAB_SIZE}
    write_ckpt(trained(tmp_path / "run"), tmp_path / "other.pt", model_args=model_args)
    wrong = {
        "text": b"not a checkpoint",
        "empty": b"",
        "half": good[: len(good) // 2],
        "pickle": pickle.dumps({"model": 1}),
        "other model": (tmp_path / "other.pt").read_bytes(),
    }
    for raw in wrong.values():
        Path("ckpt.pt").write_bytes(raw)
        with pytest.raises(NanoGPTError) as caught:
            read_ckpt(Path("ckpt.pt"))
        assert "ckpt.pt" in caught.value.message
        assert "\n" not in caught.value.message
        assert caught.value.hint


def test_an_edited_optimizer_can_still_be_started_from(tmp_path: Path) -> None:
    ckpt = write_ckpt(
        trained(tmp_path / "run"),
        tmp_path / "ckpt.pt",
        optimizer={"state": {0: {}}, "param_groups": [{"params": [0]}]},
    )
    with pytest.raises(NanoGPTError, match="not that of nanoGPT's") as caught:
        build_trainer(tmp_path / "second", checkpoint=read_ckpt(ckpt))
    assert f"--init-from {ckpt}" in caught.value.hint
