"""Characters to tokens: `prepare` against nanoGPT's own data/shakespeare_char/prepare.py, in MB/s.

    python tests/benchmarks/prepare_char_vs_nanogpt.py --nanogpt ~/nanoGPT [--text book.txt] [--megabytes 100]

Both programs prepare the same text, one after the other, as often as --repeats says: the given text over and
over, or generated English-like lines. nanoGPT's script runs as it is, in its own folder. The clock of the
first three lines starts when all is imported; the others include start-up. Single times on a busy
machine mean little: see the ratio.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NANOGPT_SCRIPT = Path("data/shakespeare_char/prepare.py")

# Each prints the seconds its work took, imports aside. nanoGPT's script imports requests only to download.
RUN_THEIRS = """
import sys, time, runpy, types
import numpy
sys.modules.setdefault("requests", types.ModuleType("requests"))
start = time.perf_counter()
runpy.run_path(sys.argv[1])
print("seconds", time.perf_counter() - start)
"""
RUN_OURS = """
import sys, time
from pathlib import Path
from nanogpt_cli.data.prepare import prepare
start = time.perf_counter()
prepare(sys.argv[1], name="text", data_root=Path(sys.argv[2]), overwrite=True)
print("seconds", time.perf_counter() - start)
"""


def main() -> None:
    """Run both in turns and print MB/s and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--text", type=Path, help="a text to repeat (default: generated)")
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peer, ours = Path(folder, "peer"), Path(folder, "ours")
        peer.mkdir()
        ours.mkdir()
        shutil.copy(args.nanogpt / NANOGPT_SCRIPT, peer)
        text = peer / "input.txt"
        text.write_bytes(make_text(args.text, args.megabytes))
        megabytes = text.stat().st_size / 1e6
        rounds, floors = [], []
        for _ in range(args.repeats):
            rounds.append((run_theirs(peer), run_ours(text, ours)))
            floors.append(write_alone(ours / "alone.bin", 2 * text.stat().st_size))
        check_equal(peer, ours / "text")
    print(f"{megabytes:.0f} MB of text, median of {args.repeats} rounds in turns; the tokens are identical")
    for column, what in enumerate(("work alone", "with start-up")):
        theirs, mine = ([pair[side][column] for pair in rounds] for side in (0, 1))
        ratios = [a / b for a, b in zip(theirs, mine, strict=True)]
        print(f"nanoGPT, {what:14} {megabytes / statistics.median(theirs):8.1f} MB/s")
        print(f"prepare, {what:14} {megabytes / statistics.median(mine):8.1f} MB/s")
        each = ", ".join(f"{ratio:.1f}" for ratio in ratios)
        print(f"faster by {statistics.median(ratios):.1f}× (each: {each})")
    floor = megabytes / statistics.median(floors)
    print(f"writing as many bytes as the tokens have, and nothing else: {floor:.1f} MB of text/s")


def make_text(source: Path | None, megabytes: int) -> bytes:
    """A text of so many million bytes."""
    if source is not None:
        page = source.read_bytes()
    else:
        draw = random.Random(1337)
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        words = ["".join(draw.choices(letters, k=draw.randint(1, 9))) for _ in range(5000)]
        lines = (" ".join(draw.choices(words, k=draw.randint(3, 12))) for _ in range(20_000))
        page = "".join(f"{line.capitalize()}{draw.choice('.,;:!?')}\n" for line in lines).encode()
    size = megabytes * 1_000_000
    return (page * (size // len(page) + 1))[:size]


def run_theirs(folder: Path) -> tuple[float, float]:
    """nanoGPT's script: seconds of its work, and from start to exit."""
    return timed([sys.executable, "-c", RUN_THEIRS, str(folder / NANOGPT_SCRIPT.name)])


def run_ours(text: Path, folder: Path) -> tuple[float, float]:
    """Ours: seconds of `prepare`, and of the whole command line from start to exit."""
    inner, _ = timed([sys.executable, "-c", RUN_OURS, str(text), str(folder)])
    command = ["prepare", str(text), "--name", "text", "--data-dir", str(folder), "--overwrite"]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "nanogpt_cli", *command, "--quiet"], check=True)
    return inner, time.perf_counter() - start


def write_alone(path: Path, n_bytes: int) -> float:
    """Seconds that this file system takes for the tokens' bytes: no program that writes them is faster."""
    block = bytes(range(256)) * 2048  # 512 kB, as prepare writes
    start = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(n_bytes // len(block)):
            file.write(block)
    seconds = time.perf_counter() - start
    path.unlink()
    return seconds


def timed(command: list[str]) -> tuple[float, float]:
    """What the program says its work took, and the seconds from start to exit."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return float(done.stdout.split()[-1]), time.perf_counter() - start


def check_equal(theirs: Path, ours: Path) -> None:
    """A race between different results would mean nothing."""
    for name in ("train.bin", "val.bin"):
        assert (theirs / name).read_bytes() == (ours / name).read_bytes(), f"{name} differs"


if __name__ == "__main__":
    main()
