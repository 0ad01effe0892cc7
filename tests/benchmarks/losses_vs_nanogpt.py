"""Our losses beside nanoGPT's, iteration by iteration, from equal weights and equal batches, in float32.

    python tests/benchmarks/losses_vs_nanogpt.py --nanogpt DIR --text tinyshakespeare.txt

nanoGPT's train.py itself runs, from a ckpt.pt that holds a model of its own at iteration 0 (so that both
programs read their weights from one file); only its get_batch is replaced, by one that hands out the windows
our run draws. The loss of an iteration is the mean over its micro-batches. Exit code 1 beyond --tolerance.
DIR is a checkout of https://github.com/karpathy/nanoGPT.
"""

import argparse
import ast
import contextlib
import io
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from nanogpt_cli.config.load import load_config
from nanogpt_cli.data.batches import Batches
from nanogpt_cli.data.dataset import open_dataset
from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.engine.runs import resumed_settings
from nanogpt_cli.engine.train import train
from nanogpt_cli.events import Event, StepLogged

ACCUMULATION = 2
OUT = Path("out-nanogpt")


def settings(n_iters: int, *, bias: bool) -> dict[str, Any]:
    """nanoGPT's settings for a CPU, with everything at work that could differ."""
    return {
        "dataset": "text",
        "out_dir": str(OUT),
        "init_from": "resume",
        "device": "cpu",
        "compile": False,
        "dtype": "float32",
        "batch_size": 12,
        "block_size": 64,
        "n_layer": 4,
        "n_head": 4,
        "n_embd": 128,
        "gradient_accumulation_steps": ACCUMULATION,
        "bias": bias,
        "dropout": 0.0,
        "grad_clip": 0.5,
        "learning_rate": 1e-3,
        "min_lr": 1e-4,
        "warmup_iters": 10,
        "lr_decay_iters": n_iters - 5,
        "max_iters": n_iters,
        "beta2": 0.99,
        "log_interval": 1,
        "eval_interval": 1000,
        "eval_iters": 1,
    }


def write_start(shape: dict[str, Any], options: dict[str, Any]) -> None:
    """A ckpt.pt of iteration 0: nanoGPT's own initialisation and an AdamW that has not stepped."""
    from model import GPT, GPTConfig  # type: ignore[import-not-found]  # nanoGPT's

    torch.manual_seed(1337)
    model = GPT(GPTConfig(**shape))
    betas = (0.9, options["beta2"])
    optimizer = model.configure_optimizers(0.1, options["learning_rate"], betas, "cpu")
    document = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "model_args": shape}
    OUT.mkdir()
    torch.save({**document, "iter_num": 0, "best_val_loss": 1e9, "config": options}, OUT / "ckpt.pt")


def nanogpts_losses(root: Path, options: dict[str, Any], batches: Batches, n_iters: int) -> list[float]:
    """The losses of train.py, whose get_batch is replaced by one that draws our windows in turn."""
    import model

    seen: list[float] = []
    original = model.GPT.forward

    def forward(self: Any, idx: torch.Tensor, targets: torch.Tensor | None = None) -> Any:
        logits, loss = original(self, idx, targets)
        if self.training:
            seen.append(loss.item())
        return logits, loss

    size, drawn = options["batch_size"], 0

    def get_batch(split: str) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal drawn
        iter_num, micro = divmod(drawn, ACCUMULATION)
        drawn += scope["model"].training  # not for its evaluation
        rows = slice(micro * size, (micro + 1) * size)
        inputs, targets = batches.batch(iter_num, size * ACCUMULATION, rows)
        return torch.from_numpy(inputs.copy()), torch.from_numpy(targets.copy())

    tree = ast.parse((root / "train.py").read_text(encoding="utf-8"))
    before = len(tree.body)
    tree.body = [n for n in tree.body if not (isinstance(n, ast.FunctionDef) and n.name == "get_batch")]
    assert len(tree.body) == before - 1, "train.py has no get_batch"
    scope: dict[str, Any] = {"__name__": "__main__", "get_batch": get_batch}
    its_own = {**options, "max_iters": n_iters - 1}  # it trains one more than it says
    sys.argv = ["train.py", *(f"--{name}={value}" for name, value in its_own.items())]
    model.GPT.forward = forward
    configurator = (root / "configurator.py").read_text(encoding="utf-8")
    Path("configurator.py").write_text(configurator, encoding="utf-8")
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its GradScaler is spelt the old way
            exec(compile(tree, "train.py", "exec"), scope)
    finally:
        model.GPT.forward = original
    pairs = [seen[i : i + ACCUMULATION] for i in range(0, len(seen), ACCUMULATION)]
    return [sum(pair) / ACCUMULATION for pair in pairs]


class Losses:
    """A reporter that keeps the losses."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, StepLogged):
            self.losses.append(event.loss)

    def close(self) -> None:
        """Nothing to close."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, required=True, help="checkout of nanoGPT")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--iters", type=int, default=50)
    parser.add_argument("--bias", action="store_true", help="biases in LayerNorm and Linear")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()
    root, text = args.nanogpt.resolve(), args.text.resolve()
    sys.path.insert(0, str(root))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        prepare(str(text), tokenizer="char", name="text")
        dataset = open_dataset("text")
        options = settings(args.iters, bias=args.bias)
        names = ("n_layer", "n_head", "n_embd", "block_size", "bias", "dropout")
        write_start({**{name: options[name] for name in names}, "vocab_size": dataset.vocab_size}, options)

        flags = {"init_from": "scratch", **{k: v for k, v in options.items() if k != "init_from"}}
        loaded = load_config(flags=flags, environment={}, base=resumed_settings(OUT))
        config, ours = loaded.config, Losses()
        batches = Batches(
            tokens=dataset.tokens("train"), block_size=config.block_size, seed=config.seed, order="random"
        )
        theirs = nanogpts_losses(root, options, batches, args.iters)
        train(loaded, dataset, OUT, reporter=ours, resume=True)
        os.chdir(root)
    return report(ours.losses, theirs, args.tolerance)


def report(ours: list[float], theirs: list[float], tolerance: float) -> int:
    assert len(ours) == len(theirs), (len(ours), len(theirs))
    print("iter    nanogpt     nanoGPT   difference")
    for i, (own, other) in enumerate(zip(ours, theirs, strict=True)):
        print(f"{i:4d} {own:10.6f}  {other:10.6f}   {own - other:+.1e}")
    largest = max(abs(own - other) for own, other in zip(ours, theirs, strict=True))
    print(f"largest difference {largest:.1e} in {len(ours)} iterations (torch {torch.__version__}, float32)")
    return 0 if largest <= tolerance else 1


if __name__ == "__main__":
    raise SystemExit(main())
