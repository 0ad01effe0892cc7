"""Peak memory of `prepare` by the size of its input: it must not grow.

    python tests/benchmarks/prepare_memory.py [--megabytes 100 1000] [--tokenizer char byte gpt2] [--stream 0]

Each text is a file of lines (or, with --line, one single line) made here; each preparation is a process of
its own, and its peak resident memory is what the system says of it at the end. --stream sends so many
megabytes through standard input, made on the fly: only the copy kept for the second pass and the tokens need
disk. Nothing is kept.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PAGE = "".join(
    f"Line {i}: the quick brown fox jumps over {i * i % 977} lazy dogs, naïvely.\n" for i in range(20_000)
)
RUN = """
import resource, sys
from nanogpt_cli.cli.app import run
code = run(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("peak", peak // 1024 if sys.platform != "darwin" else peak // (1 << 20))
sys.exit(code)
"""


def main() -> None:
    """One line for each size and tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--tokenizer", nargs="+", default=["char", "byte", "gpt2"])
    parser.add_argument("--line", action="store_true", help="one line without a newline or a space")
    parser.add_argument("--stream", type=int, default=0, help="megabytes through standard input")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    page = (PAGE.replace(" ", "").replace("\n", "") if args.line else PAGE).encode()
    with tempfile.TemporaryDirectory() as folder:
        for tokenizer in args.tokenizer:
            for megabytes in args.megabytes:
                path = Path(folder, "input.txt")
                with path.open("wb") as file:
                    file.writelines(pieces(page, megabytes))
                show(tokenizer, megabytes, measure([str(path)], tokenizer, folder, args.threads))
                path.unlink()
            if args.stream:
                stream = pieces(page, args.stream)
                show(tokenizer, args.stream, measure(["-"], tokenizer, folder, args.threads, stream))


def pieces(page: bytes, megabytes: int) -> Iterator[bytes]:
    """A text of so many million bytes, page by page."""
    left = megabytes * 1_000_000
    while left > 0:
        yield page[:left] if left < len(page) else page
        left -= len(page)


def measure(
    source: list[str], tokenizer: str, folder: str, threads: int, stream: Iterator[bytes] | None = None
) -> tuple[int, float]:
    """Peak MB of one `nanogpt prepare`, and its seconds."""
    options = ["--tokenizer", tokenizer, "--name", "x", "--data-dir", folder, "--threads", str(threads)]
    command = [sys.executable, "-c", RUN, "prepare", *source, *options, "--overwrite", "--quiet"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE if stream else None, stdout=subprocess.PIPE)
    if stream:
        threading.Thread(target=feed, args=(process, stream), daemon=True).start()
    assert process.stdout is not None
    said = process.stdout.read().split()
    if process.wait():
        sys.exit(process.returncode)
    return int(said[-1]), time.perf_counter() - start


def feed(process: subprocess.Popen[bytes], stream: Iterator[bytes]) -> None:
    """Send the text."""
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.writelines(stream)


def show(tokenizer: str, megabytes: int, measured: tuple[int, float]) -> None:
    """One line of the table."""
    peak, seconds = measured
    speed = megabytes / seconds
    print(
        f"{tokenizer:6} {megabytes:6,} MB   peak {peak:5,} MB   {seconds:7.1f} s  {speed:6.1f} MB/s",
        flush=True,
    )


if __name__ == "__main__":
    main()
