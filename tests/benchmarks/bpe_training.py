"""Training a bpe vocabulary: ours next to the two libraries it was chosen from, on the same text.

    pip install rustbpe && python tests/benchmarks/bpe_training.py --text corpus.txt --vocab-size 8192

Each of the three learns from the first nine tenths of the text in a process of its own, in turns, as often
as --repeats says: `ours` from a sample as `prepare` draws it, the libraries from all of it. Then tiktoken
encodes the last tenth with the ranks learnt. Printed: seconds to learn, the process's highest memory, bytes
per token. Single times on a busy machine mean little: see the ratios.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import tiktoken

from nanogpt_cli.data.preparing.sampling import EvenSample
from nanogpt_cli.data.tokenizers.bpe_training import SAMPLE_BYTES, byte_of_character, train_bpe
from nanogpt_cli.data.tokenizers.word_patterns import PATTERNS
from nanogpt_cli.events import NullReporter

LEARNERS = ("ours", "tokenizers", "rustbpe")
PIECE_CHARACTERS = 1 << 16


def main() -> None:
    """Run the three in turns, and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="UTF-8 text to learn from")
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--pattern", choices=["gpt4", "gpt2"], default="gpt4")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--learner", choices=LEARNERS, help=argparse.SUPPRESS)  # one run, as JSON
    args = parser.parse_args()
    if args.learner:
        print(json.dumps(measure(args.learner, args.text, args.vocab_size, args.pattern)))
        return
    print(
        f"{args.text.stat().st_size / 1e6:.1f} MB of text, {args.vocab_size:,} ids, {args.pattern} splitting"
    )
    settings = ["--text", str(args.text), "--vocab-size", str(args.vocab_size), "--pattern", args.pattern]
    rounds = [{name: in_a_process(name, settings) for name in LEARNERS} for _ in range(args.repeats)]
    best = max(rounds[0][name]["bytes_per_token"] for name in LEARNERS[1:])
    for name in LEARNERS:
        seconds = statistics.median(results[name]["seconds"] for results in rounds)
        ratio = statistics.median(results[name]["seconds"] / results["ours"]["seconds"] for results in rounds)
        print(
            f"{name:<11} {seconds:7.2f} s ({ratio:.2f}× ours)  "
            f"{max(results[name]['peak_mb'] for results in rounds):6.0f} MB  "
            f"{rounds[0][name]['bytes_per_token']:.4f} bytes per token "
            f"({100 * rounds[0][name]['bytes_per_token'] / best - 100:+.2f} % of the better library)"
        )


def in_a_process(name: str, settings: list[str]) -> dict[str, float]:
    """One measurement in a fresh process, so that its highest memory is its own."""
    command = [sys.executable, __file__, *settings, "--learner", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def measure(name: str, path: Path, vocab_size: int, pattern: str) -> dict[str, float]:
    """Learn, then encode what was not learnt from."""
    learning_bytes = path.stat().st_size * 9 // 10
    start = time.perf_counter()
    ranks = {"ours": ours, "tokenizers": tokenizers_alone, "rustbpe": rustbpe_alone}[name](
        pieces(path, 0, learning_bytes), vocab_size, pattern
    )
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux
    encoding = tiktoken.Encoding(
        "learnt", pat_str=PATTERNS[pattern].ours, mergeable_ranks=ranks, special_tokens={}
    )
    size = tokens = 0
    for text in pieces(path, learning_bytes, path.stat().st_size):
        size += len(text.encode("utf-8"))
        tokens += len(encoding.encode_ordinary(text))
    return {"seconds": seconds, "peak_mb": peak_mb, "bytes_per_token": size / tokens}


def pieces(path: Path, start: int, end: int) -> Iterator[str]:
    """The text between two bytes; a character cut at either end is dropped."""
    with path.open("rb") as file:
        file.seek(start)
        while (left := end - file.tell()) > 0:
            yield file.read(min(left, PIECE_CHARACTERS)).decode("utf-8", "ignore")


def ours(texts: Iterator[str], vocab_size: int, pattern: str) -> dict[bytes, int]:
    """As `nanogpt prepare --tokenizer bpe` learns; its one special token is not counted here."""
    sample = EvenSample(SAMPLE_BYTES)
    for text in texts:
        sample.add([text])
    tokenizer = train_bpe(
        sample,
        vocab_size=vocab_size + 1,
        pattern=pattern,
        special_tokens=("<|endoftext|>",),
        reporter=NullReporter(),
    )
    return {token: i for i, token in enumerate(tokenizer._tokens) if token is not None}


def tokenizers_alone(texts: Iterator[str], vocab_size: int, pattern: str) -> dict[bytes, int]:
    """Hugging Face's library on the whole text, with its own settings."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERNS[pattern].known[0]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False, initial_alphabet=alphabet)
    learner.train_from_iterator(texts, trainer)
    values = byte_of_character()
    in_order = sorted(learner.get_vocab().items(), key=lambda item: (len(item[0]) > 1, item[1]))
    return {bytes(values[c] for c in token): rank for rank, (token, _) in enumerate(in_order)}


def rustbpe_alone(texts: Iterator[str], vocab_size: int, pattern: str) -> dict[bytes, int]:
    """rustbpe on the whole text."""
    import rustbpe

    learner = rustbpe.Tokenizer()
    learner.train_from_iterator(texts, vocab_size, pattern=PATTERNS[pattern].known[0])
    return {bytes(token): rank for token, rank in learner.get_mergeable_ranks()}


if __name__ == "__main__":
    main()
