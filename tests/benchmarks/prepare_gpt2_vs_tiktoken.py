"""GPT-2 tokens: `prepare --tokenizer gpt2` against tiktoken alone, in MB/s, in turns on the same text.

    python tests/benchmarks/prepare_gpt2_vs_tiktoken.py --text book.txt [--megabytes 40] [--threads 2]

The peers encode a text that is in memory already, and write nothing: `encode_ordinary` on one thread, and
`encode_ordinary_batch` with as many threads as we use. Ours reads the file twice, encodes, hashes text and
tokens, and writes. "processes" is what a pool of processes that send arrays back would give us in place of
threads, without reading and writing. See the ratios; single times mean little.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import tiktoken

from nanogpt_cli.data.prepare import prepare

DOCUMENT_CHARACTERS = 1 << 19


def main() -> None:
    """Run all in turns; print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="a text, repeated to the size wanted")
    parser.add_argument("--megabytes", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    page = args.text.read_text(encoding="utf-8")
    text = (page * (args.megabytes * 1_000_000 // len(page.encode()) + 1))[: args.megabytes * 1_000_000]
    documents = [text[i : i + DOCUMENT_CHARACTERS] for i in range(0, len(text), DOCUMENT_CHARACTERS)]
    megabytes = len(text.encode()) / 1e6
    encoding = tiktoken.get_encoding("gpt2")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(args.threads) as pool:
        path = Path(folder, "input.txt")
        path.write_text(text, encoding="utf-8")
        root = Path(folder, "data")

        def ours() -> None:
            prepare(str(path), tokenizer="gpt2", data_root=root, overwrite=True, threads=args.threads)

        runs: dict[str, Callable[[], object]] = {
            "encode_ordinary, 1 thread": lambda: [encoding.encode_ordinary(each) for each in documents],
            f"encode_ordinary_batch, {args.threads}": lambda: encoding.encode_ordinary_batch(
                documents, num_threads=args.threads
            ),
            f"processes, {args.threads}": lambda: list(pool.map(encode_apart, documents)),
            f"prepare, {args.threads} threads": ours,
        }
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for run in runs.values():
            run()  # vocabularies are loaded, processes started
        for _ in range(args.repeats):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - start)
    base, batch, *_, mine = seconds.values()
    print(f"{megabytes:.0f} MB of text, median of {args.repeats} rounds in turns")
    for name, each in seconds.items():
        print(
            f"{name:28} {megabytes / statistics.median(each):7.1f} MB/s   {ratio(base, each):5.2f}× the first"
        )
    print(
        f"prepare is {ratio(batch, mine):.2f}× encode_ordinary_batch, "
        f"{ratio(base, mine):.2f}× encode_ordinary"
    )


def encode_apart(text: str) -> object:
    """What a process of a pool would do: encode, and send the ids back as an array."""
    return tiktoken.get_encoding("gpt2").encode_to_numpy(text, disallowed_special=())


def ratio(theirs: list[float], ours: list[float]) -> float:
    """How many times faster, by the median over the rounds."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


if __name__ == "__main__":
    main()
