"""Feeds explain-log damaged logs of every format until the time is up; any exception is a defect.

    python tests/benchmarks/explain_log_fuzz.py --minutes 10 [--logs FOLDER]

Each input is a log that looks real, mutated: bytes flipped, lines dropped, doubled, swapped, spliced with
another format's, numbers made extreme, encodings changed, single lines made very long. It is read and
explained whole. Checked besides: the counts agree, iterations grow within a run, and time is linear in the
size. An input that fails is written into the current folder, named with its seed.
"""

import argparse
import gzip
import io
import json
import random
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from nanogpt_cli.explain.parse import parse_stream
from nanogpt_cli.explain.records import Log
from nanogpt_cli.explain.report import explain

HEADER = """Overriding config with config/x.py:
batch_size = 12
Overriding: max_iters = 2000
tokens per iteration will be: 491,520
found vocab_size = 65 (inside data/x/meta.pkl)
Initializing a new model from scratch
number of parameters: 123.59M
"""
CRASH = """[rank0]: Traceback (most recent call last):
[rank0]:   File "/x/train.py", line 3, in <module>
[rank0]:     main()
[rank0]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 6.14 GiB.
"""
# One line of each kind with {i} for the iteration and {x} for a loss.
# fmt: off
LINES = (
    "iter {i}: loss {x:.4f}, time 33.23ms, mfu 11.09%",
    "step {i}: train loss {x:.4f}, val loss {x:.4f}",
    "saving checkpoint to out",
    "step {i:05d}/16704 (0.06%) | loss: {x:.6f} | lrm: 1.00 | dt: 656.79ms "
    "| tok/sec: 798,252 | mfu: 49.89 | epoch: 1 | total time: 0.11m | eta: 182.0m",
    "Step {i:05d} | Validation bpb: {x:.6f}",
    "s:{i} trl:{x:.4f} lr:0.000600 norm:0.31",
    "s:{i} tel:{x:.4f}",
    "step {i:4d}/19560 | loss {x:.6f} (+nanz)| norm 15.37 (+nanz)| lr 8.57e-07 | 12.5 ms | 45.1% bf16 MFU",
    "val loss {x:.6f}",
    "step:{i}/1393 train_time:15434ms step_avg:133.05ms",
    "step:{i}/1393 val_loss:{x:.4f} train_time:15434ms step_avg:nanms",
    "Epoch 1 | iter {i} step 2 | loss train: {x:.3f}, val: n/a | iter time: 9.10 ms (step)",
    "iter {i}: val loss {x:.4f}, val time: 12.50 ms",
    "[rank0]:2025 - root - INFO - step: {i:2d}  loss: {x:8.5f}  grad_norm: 1.2  tps: 6,483  mfu: N/A",
    "[rank0]:2025 - root - INFO - validate step: {i:2d}  loss: {x:8.5f}  memory: 1.4GiB(1.5%)",
    "{{'loss': {x:.4f}, 'grad_norm': 0.51, 'learning_rate': 4.9e-05, 'epoch': 0.12}}",
    "{{'eval_loss': {x:.4f}, 'eval_runtime': 1.5, 'epoch': 1.0}}",
    " 10%|█         | {i}/1000 [00:10<01:30, 10.0it/s]",
    "epoch 13 iter {i}: train loss {x:.5f}. lr 5.9e-04: 100%|████| 17/17 [00:04<00:00,  4.10it/s]",
    '{{"v":1,"event":"step","step":{i},"loss":{x:.4f},"lr":0.001,"grad_norm":0.5,"step_ms":40.0,"mfu":0.25}}',
    '{{"v":1,"event":"eval","step":{i},"train_loss":{x:.4f},"val_loss":{x:.4f}}}',
    '{{"log":"iter {i}: loss {x:.4f}\\n","stream":"stdout"}}',
    "Step {i} | Train Loss: {x:.4f} | Val Loss: {x:.4f} | LR: 9.9e-04",
    "step {i} | loss: {x:.6f} | lr 8.3e-07 | norm: 15.3 | dt: 34.56ms | tok/sec: 123.78",
    "Resuming training from out",
    "nothing that anybody knows {i}",
)
EXTREMES = (b"nan", b"-inf", b"1e999", b"-1", b"0", b"9" * 30, b"1e-999", b"", b"-", b"1,5", b"0x1f", b"--5",
            "٣".encode())
JUNK = (b"\x1b[", b"\x1b]0;", b"\x00", b"\r", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1f\x8b\x08", b"{",
        b'{"log":"', b"[rank1]: ", b"3: ", b"Traceback (most recent call last):\n", b"{\n \"cells\": [",
        b"import torch\n", b"Namespace(", b"\xe2\x80\xa8")
REPEATED = (b"iter ", b"step:1/", b"| ", b"loss ", b" ", b"9", b"{'loss': ", b"'a': ", b"1.", b"\x1b[1;",
            b"val ", b"(", b"=")
# fmt: on


def generate(rng: random.Random) -> bytes:
    """A log with mostly one format's lines."""
    chosen = [rng.choice(LINES) for _ in range(rng.randint(1, 4))]
    number, lines = rng.choice((0, 0, 1000)), []
    for _ in range(rng.randint(0, 120)):
        line = rng.choice(chosen) if rng.random() < 0.95 else rng.choice(LINES)
        lines.append(line.format(i=number, x=rng.choice((3.1, 2.5, 10.9, 0.1, float("nan"), 250.0))) + "\n")
        number += rng.choice((0, 1, 10, 10, 10, -20 if rng.random() < 0.05 else 10))
    return (
        (HEADER if rng.random() < 0.4 else "") + "".join(lines) + (CRASH if rng.random() < 0.2 else "")
    ).encode()


def mutate(rng: random.Random, raw: bytes, other: bytes) -> bytes:
    """One random damage."""
    at = rng.randrange(len(raw) + 1)
    end = min(len(raw), at + rng.choice((1, 5, 50, 500)))
    lines = raw.splitlines(keepends=True)
    mutations: tuple[Callable[[], bytes], ...] = (
        lambda: raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :],
        lambda: raw[:at] + raw[end:],
        lambda: raw[:at] + raw[at:end] * 2 + raw[end:],
        lambda: raw[:at] + rng.choice(JUNK) + raw[at:],
        lambda: raw[:at] + other[rng.randrange(len(other) + 1) :][:400] + raw[at:],
        lambda: raw[:at],
        lambda: b"".join(rng.sample(lines, len(lines))),
        lambda: b"".join(line * 2 for line in lines),
        lambda: re.sub(rb"\d+\.?\d*", lambda m: rng.choice((m[0], m[0], m[0], *EXTREMES[:2])), raw),
        lambda: re.sub(rb"\d+", lambda m: rng.choice((*[m[0]] * 30, *EXTREMES)), raw),
        lambda: raw.replace(b"\n", rng.choice((b"\r\n", b"\r", b"", b"\n\n", b"\x00\n"))),
        lambda: raw.replace(b".", b","),
        lambda: raw.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-16-le", "utf-32"))),
        lambda: gzip.compress(raw),
        lambda: b"\n".join(raw[i : i + 80] for i in range(0, len(raw), 80)),
        lambda: raw[:at] + rng.choice(REPEATED) * rng.choice((100, 3000, 30_000)) + raw[at:],
        lambda: raw.upper(),
        lambda: b"".join(b"[rank%d]: " % rng.randrange(3) + line for line in lines),
        lambda: json.dumps({"cells": [{"outputs": [{"text": raw.decode("latin-1")}]}]}).encode(),
    )  # fmt: skip
    return rng.choice(mutations)()


def check(log: Log) -> None:
    """What holds for every log."""
    assert 0 <= log.n_unread_lines <= log.n_text_lines <= log.n_lines, "line counts"
    assert len(log.unread) <= 20, "unread lines kept"
    for run in log.runs:
        assert len(run.iters) <= run.n_iter_lines, "iteration count"
        assert len(run.evals) <= run.n_eval_lines, "evaluation count"
        for points in (run.iters, run.evals):
            numbers = [point.iter_num for point in points]
            assert numbers == sorted(set(numbers)), "iterations grow"


def one(raw: bytes, *, read_only: bool) -> float:
    """Read and explain one input; its seconds."""
    start = time.process_time()
    log = parse_stream(io.BytesIO(raw), "fuzz.log")
    seconds = time.process_time() - start
    check(log)
    if not read_only:
        explain(log).to_json()
    return seconds


def main() -> int:
    """Run until the time is up; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--logs", type=Path, help="a folder of real logs to mutate as well")
    parser.add_argument("--read-only", action="store_true", help="read, but do not diagnose")
    options = parser.parse_args()
    real = [path.read_bytes() for path in sorted(options.logs.glob("*.log"))] if options.logs else []
    end, seed, failures, n_bytes = time.monotonic() + 60 * options.minutes, options.seed, 0, 0
    slowest = (0.0, seed)
    while time.monotonic() < end:
        rng = random.Random(seed)
        raw = (
            rng.choice(real)[: rng.choice((2000, 20_000, 200_000))]
            if real and rng.random() < 0.3
            else generate(rng)
        )
        for _ in range(rng.choice((0, 1, 1, 2, 3, 6))):
            raw = mutate(rng, raw, generate(rng))[:2_000_000]
        n_bytes += len(raw)
        try:
            seconds = one(raw, read_only=options.read_only)
            slowest = max(slowest, (seconds / (len(raw) + 50_000) * 1e6, seed))
            assert seconds < 1 + len(raw) / 200_000, f"{seconds:.1f} s for {len(raw)} bytes"
        except Exception:
            failures += 1
            path = Path(f"explain_log_fuzz_{seed}.log")
            path.write_bytes(raw)
            print(f"seed {seed}: {len(raw)} bytes, kept as {path}", file=sys.stderr)
            traceback.print_exc()
        seed += 1
    n_inputs = seed - options.seed
    print(f"{n_inputs:,} inputs, {n_bytes / 1e6:.0f} MB, {failures} failures")
    print(f"slowest: {slowest[0]:.2f} s/MB at seed {slowest[1]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
