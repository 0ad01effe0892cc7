"""How the commands begin: without the half of PyTorch that they do not use."""

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nanogpt_cli.cli.loading import load_torch
from nanogpt_cli.engine import flops
from nanogpt_cli.engine.device import choose_inference_hardware
from nanogpt_cli.engine.runs import load_run
from tests.cli.tiny_run import FLAGS, RUN, trained

# The compiler and what it brings along take a second, each of the libraries a tenth to two.
UNUSED = {
    *("torch._dynamo", "torch._inductor", "torch.fx.experimental.symbolic_shapes", "sympy"),
    *("torch.distributed.fsdp", "torch.distributed.tensor", "torch.utils.tensorboard"),
    *("datasets", "transformers", "tokenizers", "tiktoken", "huggingface_hub", "matplotlib", "pandas"),
    *("wandb", "trackio", "tensorboard"),
}
PROBE = """
import json, sys
from nanogpt_cli.cli.app import run
loaded = {}
for words in json.loads(sys.argv[1]):
    assert run(words) == 0, words
    loaded[" ".join(words[:2])] = sorted(sys.modules)
with open("loaded.json", "w", encoding="utf-8") as file:
    json.dump(loaded, file)
"""


def write_ckpt(folder: str) -> None:
    """The run as nanoGPT's train.py would have saved it."""
    loaded = load_run(RUN, hardware=choose_inference_hardware("cpu", "auto"))
    shape = loaded.model.config
    document = {
        "model": loaded.model.state_dict(),
        "model_args": {
            name: getattr(shape, name)
            for name in ("n_layer", "n_head", "n_embd", "block_size", "bias", "vocab_size", "dropout")
        },
        "config": {"dataset": "input"},
        "iter_num": 6,
        "best_val_loss": 3.0,
    }
    Path(folder).mkdir()
    torch.save(document, Path(folder, "ckpt.pt"))


def test_no_command_loads_what_it_does_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops, "measure_gemm", lambda _hardware: 1e12)
    trained()
    write_ckpt("out-theirs")
    commands = [
        ["sample", str(RUN), "--max-new-tokens", "3"],
        ["sample", "out-theirs", "--max-new-tokens", "3"],
        ["eval", str(RUN)],
        ["train", "--quiet", *FLAGS, "--out-dir", "out/second"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(commands)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(Path("loaded.json").read_text(encoding="utf-8"))
    assert {words: UNUSED & set(names) for words, names in loaded.items()} == {
        words: set() for words in loaded
    }
    assert all("torch.nn" in names for names in loaded.values()), "the probe sees what is loaded"


@pytest.mark.parametrize("collecting", [True, False])
def test_the_garbage_collector_is_left_as_it_was(collecting: bool) -> None:
    was = gc.isenabled()
    (gc.enable if collecting else gc.disable)()
    try:
        load_torch()
        assert gc.isenabled() == collecting
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        (gc.enable if was else gc.disable)()
