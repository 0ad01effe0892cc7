"""GPT-2 tokens: `prepare --tokenizer gpt2` against tiktoken alone, in MB/s, in turns on the same text.

    python tests/benchmarks/prepare_gpt2_vs_tiktoken.py --text book.txt [--megabytes 40] [--threads 2]

The peers encode a text that is in memory already, and write nothing: `encode_ordinary` on one thread, and
`encode_ordinary_batch` with as many threads as we use. Ours reads the file twice, encodes, hashes text and
tokens, and writes. "processes" is what a pool of processes that send arrays back would give us in place of
threads, without reading and writing. Each runs in a process of its own, whose clock starts when all is loaded
(tiktoken's pattern matcher is fastest on the thread that used it first). See the ratios: single times on a
busy machine mean little.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

COMMON = """
import sys, time, tiktoken
from pathlib import Path
path, threads = Path(sys.argv[1]), int(sys.argv[2])
encoding = tiktoken.get_encoding("gpt2")
text = path.read_text(encoding="utf-8")
documents = [text[i : i + (1 << 19)] for i in range(0, len(text), 1 << 19)]
def apart(document):
    return encoding.encode_to_numpy(document, disallowed_special=())
"""
RUNS = {
    "encode_ordinary, 1 thread": "for each in documents: encoding.encode_ordinary(each)",
    "encode_ordinary_batch": "encoding.encode_ordinary_batch(documents, num_threads=threads)",
    "processes": "list(pool.map(apart, documents))",
    "prepare": "prepare(str(path), tokenizer='gpt2', data_root=path.parent, overwrite=True, threads=threads)",
}
LOADED = {
    "processes": "import multiprocessing\npool = multiprocessing.get_context('fork').Pool(threads)\n"
    "pool.map(apart, documents[:2])",
    "prepare": "from nanogpt_cli.data.prepare import prepare\ndel text, documents",
}


def main() -> None:
    """Run all in turns; print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="a text, repeated to the size wanted")
    parser.add_argument("--megabytes", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    page = args.text.read_bytes()
    seconds: dict[str, list[float]] = {name: [] for name in RUNS if name != "processes" or os.name != "nt"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "input.txt")
        path.write_bytes(page * (args.megabytes * 1_000_000 // len(page) + 1))
        megabytes = path.stat().st_size / 1e6
        for _ in range(args.repeats):
            for name in seconds:
                seconds[name].append(timed(name, path, args.threads))
    base, batch, mine = (seconds[name] for name in RUNS if name != "processes")
    print(f"{megabytes:.0f} MB of text, {args.threads} threads, median of {args.repeats} rounds in turns")
    for name, each in seconds.items():
        print(
            f"{name:26} {megabytes / statistics.median(each):7.1f} MB/s   {ratio(base, each):5.2f}× the first"
        )
    print(
        f"prepare is {ratio(batch, mine):.2f}× encode_ordinary_batch, "
        f"{ratio(base, mine):.2f}× encode_ordinary"
    )


def timed(name: str, path: Path, threads: int) -> float:
    """Seconds of the work itself, as the process says."""
    clock = f"start = time.perf_counter()\n{RUNS[name]}\nprint(time.perf_counter() - start)"
    script = f"{COMMON}\n{LOADED.get(name, '')}\n{clock}"
    command = [sys.executable, "-c", script, str(path), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return float(done.stdout)


def ratio(theirs: list[float], ours: list[float]) -> float:
    """How many times faster, by the median over the rounds."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


if __name__ == "__main__":
    main()
