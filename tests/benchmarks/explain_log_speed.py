"""How fast explain-log reads, and in how much memory.

    python tests/benchmarks/explain_log_speed.py --mb 1000 [nanogpt noise …]

Writes a log of each format into a temporary file (nothing is kept in memory) and reads it with `parse_log`.
Prints MB/s, the points kept, and the process's largest memory in excess of what it had before reading.
"""

import argparse
import gc
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from nanogpt_cli.explain.parse import parse_log


def nanogpt(i: int) -> str:
    """A training line; every hundredth time an evaluation and a checkpoint before it."""
    line = f"iter {i}: loss {3 + 1 / (i + 1):.4f}, time {50 + i % 7:.2f}ms, mfu {10 + i % 5:.2f}%\n"
    if i % 100:
        return line
    return f"step {i}: train loss 3.1000, val loss 3.2000\nsaving checkpoint to out\n{line}"


def prefixed(i: int) -> str:
    """The same behind a time stamp."""
    return f"2024-05-01 10:{i // 60 % 60:02d}:{i % 60:02d} INFO " + nanogpt(i).splitlines()[-1] + "\n"


def noise(i: int) -> str:
    """One training line in fifty."""
    return (
        nanogpt(i) if i % 50 == 1 else f"GRADIENT {i} is {i * 0.37:.3f}, nothing that is known: {i % 977}\n"
    )


def nanochat(i: int) -> str:
    """A line of base_train."""
    return (
        f"step {i:05d}/99999999 ({i % 100:.2f}%) | loss: {2 + 1 / (i + 1):.6f} | lrm: 1.00"
        f" | dt: {640 + i % 9}.12ms | tok/sec: 812,345 | bf16_mfu: 51.20 | epoch: 1"
        f" | total time: {i / 100:.2f}m | eta: 178.1m\n"
    )


def llm_c(i: int) -> str:
    """A line of main.log."""
    return f"s:{i} trl:{3 + 1 / (i + 1):.4f} lr:0.000600 norm:0.31\n"


def modded(i: int) -> str:
    """A line without a loss."""
    return f"step:{i}/99999999 train_time:{i * 130}ms step_avg:129.66ms\n"


def trainer(i: int) -> str:
    """A dict of the Hugging Face Trainer."""
    loss = 2 + 1 / (i + 1)
    return f"{{'loss': {loss:.4f}, 'grad_norm': 0.51, 'learning_rate': 4.9e-05, 'epoch': {i / 1000:.2f}}}\n"


def metrics(i: int) -> str:
    """A record of our metrics.jsonl."""
    return (
        f'{{"v":1,"event":"step","step":{i},"loss":{3 + 1 / (i + 1)},"lr":0.001,"grad_norm":0.5,'
        '"step_ms":40.1,"tok_per_sec":19200.0,"mfu":0.25}\n'
    )


FORMATS = {f.__name__: f for f in (nanogpt, prefixed, noise, nanochat, llm_c, modded, trainer, metrics)}


def _blocks(name: str, n_bytes: int) -> Iterator[str]:
    written = number = 0
    while written < n_bytes:
        block = "".join(map(FORMATS[name], range(number, number + 10_000)))
        number += 10_000
        written += len(block)
        yield block


def measure(name: str, megabytes: int, folder: Path) -> str:
    """Read one log of this format; a row of the table."""
    path = folder / f"{name}.log"
    with path.open("w", encoding="utf-8") as file:
        for block in _blocks(name, megabytes * 1_000_000):
            file.write(block)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    log = parse_log(path)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    size = path.stat().st_size / 1e6
    path.unlink()
    run = log.runs[-1]
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return (
        f"{name:10} {size:7.0f} MB  {size / seconds:6.1f} MB/s  {size / cpu:6.1f} MB/CPU-s  "
        f"read as {log.format:14} "
        f"{run.n_iter_lines:>10,} iterations, {len(run.iters):>7,} kept  +{memory:4.0f} MB"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=20)
    parser.add_argument("formats", nargs="*", choices=[[], *FORMATS], default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.formats or FORMATS:
            print(measure(name, options.mb, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
