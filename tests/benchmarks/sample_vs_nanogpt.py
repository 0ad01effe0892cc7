"""Sampling against nanoGPT: tokens per second of both, in turns, and the bound that the memory sets.

    python tests/benchmarks/sample_vs_nanogpt.py --nanogpt ~/nanoGPT

Two shapes with random weights: the character model of nanoGPT's CPU command (0.8M parameters, block 64,
500 new tokens) and GPT-2 124M (200 new tokens). nanoGPT's `generate` is what its sample.py runs; ours
what `nanogpt sample` runs, with one text and with several. Each round takes all of them one
after the other, and the ratio within a round is what counts; wall time first, processor time beside it,
which a busy machine disturbs less. Start-up is measured as a user meets it: both commands on a checkpoint
of the character model, from start to exit.

The floor of a pass, in which each text gets a token: the bytes of the weights that it is multiplied with,
over the bandwidth at which this process reads as many bytes again and again (a sum): a small model's come
from the processor's caches, a large one's from the memory.
"""

import argparse
import contextlib
import importlib.util
import io
import os
import pickle
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from nanogpt_cli.data.tokenizers.base import CharTokenizer
from nanogpt_cli.engine.device import choose_inference_hardware, cpu_name
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.models.gpt2 import GPT2Config
from nanogpt_cli.engine.models.registry import build_model
from nanogpt_cli.engine.writing import Writer

# fmt: off
SHAPES: dict[str, tuple[dict[str, Any], int]] = {  # a shape, and how many tokens are drawn
    "char 0.8M": ({"block_size": 64, "vocab_size": 65, "n_layer": 4, "n_head": 4, "n_embd": 128,
                   "dropout": 0.0, "bias": False}, 500),
    "gpt2 124M": ({"block_size": 1024, "vocab_size": 50257, "n_layer": 12, "n_head": 12, "n_embd": 768,
                   "dropout": 0.0, "bias": True}, 200),
}
# fmt: on


def main() -> None:
    """Both shapes, then start-up."""
    args = begin(__doc__, repeats=3, parts=[*SHAPES, "start-up"])
    theirs = load_peer(args.nanogpt)
    for name, (shape, count) in SHAPES.items():
        if args.only in (None, name):
            compare(theirs, name, shape, count, args.repeats)
    if args.only in (None, "start-up"):
        compare_commands(theirs, args.nanogpt.resolve(), args.repeats)


def compare(peer: ModuleType, name: str, shape: dict[str, Any], count: int, repeats: int) -> None:
    """One shape: nanoGPT, then each way of ours, as often as `repeats` says."""
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        model = peer.GPT(peer.GPTConfig(**shape)).eval()
    same = build_model(GPT2Config(**shape), model.state_dict()).eval()
    ways = {
        "float32": lambda: ours(same, count, 1, "float32"),
        "float32, stride 1": lambda: ours(same, count, 1, "float32", stride=1),
        "float32, 10 texts": lambda: ours(same, count, 10, "float32"),
        "bfloat16": lambda: ours(same, count, 1, "bfloat16"),
        "bfloat16, 10 texts": lambda: ours(same, count, 10, "bfloat16"),
    }
    if count < shape["block_size"]:
        del ways["float32, stride 1"]  # nothing slides
    prompt = torch.tensor([[1]])
    rounds: dict[str, list[tuple[float, float, float, float]]] = {way: [] for way in ways}
    for _ in range(repeats):
        their_wall, their_cpu = timed(
            lambda: model.generate(prompt, count, temperature=0.8, top_k=200).shape[1] - 1
        )
        for way, run in ways.items():
            rounds[way].append((their_wall, their_cpu, *timed(run)))
    multiplied = sum(p.numel() for p in model.parameters()) - model.transformer.wpe.weight.numel()
    everything = [r for results in rounds.values() for r in results]
    print(
        f"\n{name}, {count} new tokens. nanoGPT: {statistics.median(r[0] for r in everything):.1f} tokens/s"
    )
    for way, results in rounds.items():
        n_bytes = multiplied * (2 if "bfloat16" in way else 4)
        floor = reading_seconds(n_bytes)
        print(
            f"  {way:20} {statistics.median(r[2] for r in results):8.1f} tokens/s, "
            f"{statistics.median(r[2] / r[0] for r in results):5.1f}× nanoGPT "
            f"({statistics.median(r[3] / r[1] for r in results):.1f}× by processor time); "
            f"to read {n_bytes / 1e6:.1f} MB of weights: {1e3 * floor:.2f} ms, {1 / floor:.0f} passes/s"
        )


def timed(run: Callable[[], int]) -> tuple[float, float]:
    """Tokens per second of wall time, and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = run()
    return tokens / (time.perf_counter() - wall), tokens / (time.process_time() - cpu)


def ours(model: LanguageModel, count: int, texts: int, dtype: str, stride: int | None = None) -> int:
    """What `nanogpt sample` does once the model is loaded: weights made ready, texts drawn and decoded."""
    vocab_size = model.config.vocab_size
    writer = Writer(
        model=model,
        tokenizer=CharTokenizer("".join(chr(0x10000 + i) for i in range(vocab_size))),
        hardware=choose_inference_hardware("cpu", dtype),
        vocab_size=vocab_size,
        max_new_tokens=count,
        stride=stride,
    )
    for _ in writer.write(np.array([1]), range(texts)):
        pass
    return writer.tokens


def compare_commands(peer: ModuleType, nanogpt: Path, repeats: int) -> None:
    """nanoGPT's sample.py and `nanogpt sample` on one checkpoint, with nanoGPT's ten texts and with one."""
    shape, _ = SHAPES["char 0.8M"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "NO_COLOR": "1"}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in ("sample.py", "model.py", "configurator.py"):
            shutil.copy(nanogpt / name, work)
        with contextlib.redirect_stdout(io.StringIO()):
            model = peer.GPT(peer.GPTConfig(**shape))
        (work / "out").mkdir()
        (work / "data" / "text").mkdir(parents=True)
        letters = [chr(10), *(chr(33 + i) for i in range(64))]
        meta = {
            "vocab_size": 65,
            "itos": dict(enumerate(letters)),
            "stoi": {c: i for i, c in enumerate(letters)},
        }
        (work / "data" / "text" / "meta.pkl").write_bytes(pickle.dumps(meta))
        saved = {"model": model.state_dict(), "model_args": shape, "config": {"dataset": "text"}}
        saved |= {"iter_num": 1, "best_val_loss": 4.0, "optimizer": {}}
        torch.save(saved, work / "out" / "ckpt.pt")
        print("\nFrom start to exit, character model, 500 tokens per text:")
        for count in (1, 10):
            flags = ["--out_dir=out", "--device=cpu", f"--num_samples={count}"]
            theirs = [sys.executable, "sample.py", *flags]
            mine = [sys.executable, "-m", "nanogpt_cli", "sample", *flags]
            pairs = [
                (elapsed(theirs, work, environment), elapsed(mine, work, environment)) for _ in range(repeats)
            ]
            print(
                f"  {count:2} text(s): nanoGPT {statistics.median(p[0] for p in pairs):.2f} s, "
                f"ours {statistics.median(p[1] for p in pairs):.2f} s, "
                f"{statistics.median(p[0] / p[1] for p in pairs):.2f}×"
            )


def elapsed(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    """Seconds from start to exit; the output of a failing program is shown."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def reading_seconds(n_bytes: int) -> float:
    """The shortest time in which so many bytes are read that have been read before."""
    block = torch.ones(n_bytes // 4)
    seconds = []
    for _ in range(max(10, (1 << 28) // n_bytes)):
        start = time.perf_counter()
        block.sum()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def begin(description: str | None, *, repeats: int, parts: list[str]) -> argparse.Namespace:
    """Read the command line, set the threads and print the machine."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=parts)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    print(f"{versions}, {cpu_name()}, {args.threads} thread(s)")
    return args


def load_peer(nanogpt: Path) -> ModuleType:
    """nanoGPT's model.py as a module."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", nanogpt / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
