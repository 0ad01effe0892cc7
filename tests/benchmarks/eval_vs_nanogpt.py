"""Evaluation against nanoGPT: tokens per second of forward passes of both, in turns.

    python tests/benchmarks/eval_vs_nanogpt.py --nanogpt ~/nanoGPT

Two shapes with random weights, each at nanoGPT's batch size: the character model of its CPU command (0.8M
parameters, 12 × 64 tokens) and its shakespeare_char (10.6M, 64 × 256 tokens). nanoGPT's side does what its
train.py's estimate_loss does on a CPU: float32, a batch of random windows from the mapped file, the loss
read after each. Ours is `evaluate`, which `nanogpt eval` runs, over as many tokens side by side; in float32,
and in bfloat16, which it takes by default for runs that train in it. Both losses are shown.
"""

import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from nanogpt_cli.engine.device import choose_inference_hardware
from nanogpt_cli.engine.evaluate import evaluate
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.models.gpt2 import GPT2Config
from nanogpt_cli.engine.models.registry import build_model
from tests.benchmarks.sample_vs_nanogpt import begin, load_peer

# fmt: off
SHAPES: dict[str, tuple[dict[str, Any], int, int]] = {  # a shape, nanoGPT's batch size, and how many batches
    "char 0.8M": ({"block_size": 64, "vocab_size": 65, "n_layer": 4, "n_head": 4, "n_embd": 128,
                   "dropout": 0.0, "bias": False}, 12, 100),
    "char 10.6M": ({"block_size": 256, "vocab_size": 65, "n_layer": 6, "n_head": 6, "n_embd": 384,
                    "dropout": 0.0, "bias": False}, 64, 1),
}
# fmt: on


def main() -> None:
    """Both shapes."""
    args = begin(__doc__, repeats=5, parts=[*SHAPES])
    peer = load_peer(args.nanogpt)
    with tempfile.TemporaryDirectory() as folder:
        for name, (shape, batch_size, n_batches) in SHAPES.items():
            if args.only not in (None, name):
                continue
            torch.manual_seed(0)
            with contextlib.redirect_stdout(io.StringIO()):
                model = peer.GPT(peer.GPTConfig(**shape)).eval()
            length = n_batches * batch_size * shape["block_size"]
            path = Path(folder) / "val.bin"
            np.random.default_rng(0).integers(65, size=length + 1).astype(np.uint16).tofile(path)
            same = build_model(GPT2Config(**shape), model.state_dict()).eval()
            compare(name, model, same, path, batch_size, n_batches, args.repeats)


def compare(
    name: str,
    theirs: torch.nn.Module,
    ours: LanguageModel,
    path: Path,
    batch_size: int,
    n_batches: int,
    repeats: int,
) -> None:
    """One shape: nanoGPT, then each format of ours, as often as `repeats` says."""
    block_size = ours.config.block_size
    losses: dict[str, float] = {}

    def measure(dtype: str) -> Callable[[], int]:
        hardware = choose_inference_hardware("cpu", dtype)

        def run() -> int:
            found = evaluate(ours, np.memmap(path, dtype=np.uint16, mode="r"), hardware=hardware)
            losses[dtype] = found.loss
            return found.tokens

        return run

    def peer() -> int:
        return estimate_as_nanogpt(theirs, path, block_size, batch_size, n_batches)

    rounds: dict[str, list[tuple[float, float, float]]] = {"float32": [], "bfloat16": []}
    for _ in range(repeats):
        wall, cpu = speed(peer)
        for dtype, results in rounds.items():
            own_wall, own_cpu = speed(measure(dtype))
            results.append((own_wall, own_wall / wall, own_cpu / cpu))
    passes = statistics.median(r[0] / r[1] for results in rounds.values() for r in results)
    print(f"\n{name}, {batch_size} × {block_size} tokens. nanoGPT: {passes:,.0f} tokens/s")
    for dtype, results in rounds.items():
        wall, ratio, cpu_ratio = (statistics.median(column) for column in zip(*results, strict=True))
        print(
            f"  {dtype:9} {wall:10,.0f} tokens/s, {ratio:.2f}× nanoGPT ({cpu_ratio:.2f}× by processor time), "
            f"loss {losses[dtype]:.5f}"
        )


@torch.no_grad()
def estimate_as_nanogpt(
    model: torch.nn.Module, path: Path, block_size: int, batch_size: int, n_batches: int
) -> int:
    """The work of its estimate_loss over one split; how many tokens were predicted."""
    losses = torch.zeros(n_batches)
    for number in range(n_batches):
        data = np.memmap(path, dtype=np.uint16, mode="r")  # opened for each batch, as there
        starts = torch.randint(len(data) - block_size, (batch_size,)).tolist()
        windows = [torch.from_numpy(data[at : at + block_size + 1].astype(np.int64)) for at in starts]
        inputs, targets = (torch.stack([w[side] for w in windows]) for side in (slice(-1), slice(1, None)))
        _, loss = model(inputs, targets)
        losses[number] = loss.item()
    assert losses.mean().isfinite()
    return n_batches * batch_size * block_size


def speed(run: Callable[[], int]) -> tuple[float, float]:
    """Tokens per second of wall time, and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = run()
    return tokens / (time.perf_counter() - wall), tokens / (time.process_time() - cpu)


if __name__ == "__main__":
    main()
