"""Reads a log, a run directory or standard input into a `Log`, whatever it holds.

In a run directory metrics.jsonl is preferred, then train.log, then a lone *.log or *.txt; config.toml beside
either fills in the settings the log itself does not give. Errors about the source are NanoGPTError; nothing
inside the source is.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final

from nanogpt_cli.errors import NanoGPTError, os_reason
from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.metrics_jsonl import MetricsReader, settings
from nanogpt_cli.explain.nanogpt_text import TextReader
from nanogpt_cli.explain.reading import clean_lines
from nanogpt_cli.explain.records import Log
from nanogpt_cli.explain.tracebacks import TracebackReader

STDIN: Final = "-"
LOG_NAMES: Final = ("metrics.jsonl", "train.log")  # best first
_CONFIG = "config.toml"

# Other trainers' lines: named, so that the answer is not "this is no training log".
_RELATIVES: Final = (
    ("nanochat", re.compile(r"^step \d+/\d+ \([\d.]+%\) \| loss")),
    ("modded-nanogpt", re.compile(r"^step:\d+/\d+ (?:val_loss|train_time)")),
    ("llm.c", re.compile(r"^s:\d+ (?:tel|trl|eval):|^step\s+\d+/\d+ \| (?:train )?loss")),
    ("litgpt", re.compile(r"^Epoch \d+ \| iter \d+ step \d+ \| loss train")),
    ("torchtitan", re.compile(r"step:\s+\d+\s+loss:\s+[\d.]+\s+(?:grad_norm|memory):")),
    ("minGPT", re.compile(r"epoch \d+ iter \d+: train loss [\d.]+\. lr")),
    ("Hugging Face Trainer", re.compile(r"^\{'(?:loss|eval_loss)': ")),
)
_RELATIVE_LINES_NEEDED: Final = 3  # one such line may be quoted in a text; three are a log


def parse_log(source: str | Path) -> Log:
    """Read `source`: a file, a run directory, or "-" for standard input."""
    if str(source) == STDIN:
        return parse_stream(sys.stdin.buffer, STDIN)
    path = find_log(Path(source))
    try:
        with path.open("rb") as stream:
            log = parse_stream(stream, str(path))
    except OSError as error:
        raise NanoGPTError(
            f"{path} cannot be read: {os_reason(error)}",
            f"check its permissions: ls -l {path}",
        ) from error
    _add_config(log, path.parent / _CONFIG)
    return log


def parse_stream(stream: BinaryIO, source: str) -> Log:
    """Read an open binary stream to its end."""
    log = Log(source=source)
    log_lines(log, clean_lines(stream))
    return log


def find_log(path: Path) -> Path:
    """The log file meant by `path`; errors for what is missing or ambiguous."""
    if not path.exists():
        raise NanoGPTError(
            f"there is no log or run directory {path}",
            "nanogpt explain-log LOG names an existing file or run directory; without LOG the newest run",
        )
    if not path.is_dir():
        return path
    for name in LOG_NAMES:
        if (path / name).is_file():
            return path / name
    others = sorted(p for p in path.iterdir() if p.is_file() and p.suffix in {".log", ".txt", ".jsonl"})
    logs = [p for p in others if p.suffix == ".log"] or others
    if len(logs) == 1:
        return logs[0]
    if logs:
        names = ", ".join(p.name for p in logs[:5])
        raise NanoGPTError(f"{path} holds several logs: {names}", f"name one: nanogpt explain-log {logs[0]}")
    raise NanoGPTError(
        f"{path} holds no training log ({' or '.join(LOG_NAMES)})",
        "name a run directory under out/, or start a run: nanogpt train --preset cpu-tiny",
    )


def newest_log(root: Path) -> Path | None:
    """The log written last in the run directories under `root`, and nanoGPT-style `./out-*`; else None."""
    found = [path for name in LOG_NAMES for path in root.glob(f"*/{name}") if path.is_file()]
    for config in root.parent.glob(f"*/{_CONFIG}"):
        found += [path for name in LOG_NAMES if (path := config.parent / name).is_file()]
    if not found:
        return None
    newest = max(found, key=lambda path: path.stat().st_mtime_ns)
    return find_log(newest.parent)


def log_lines(log: Log, lines: Iterable[str]) -> None:
    """Fill `log` from clean lines."""
    assembler = Assembler(log)
    text, metrics, tracebacks = TextReader(assembler), MetricsReader(assembler), TracebackReader()
    n_text = n_metrics = 0
    relatives: dict[str, int] = {}
    for line in lines:
        log.n_lines += 1
        if not line:
            continue
        log.n_text_lines += 1
        if metrics.feed(line):
            n_metrics += 1
        elif text.feed(line):
            n_text += 1
        else:
            if failure := tracebacks.feed(line):
                assembler.add_failure(failure)
            if not assembler.distributed and ("[rank" in line or "torch/distributed/" in line):
                assembler.distributed = True
            for name, pattern in _RELATIVES:
                if pattern.search(line):
                    relatives[name] = relatives.get(name, 0) + 1
                    break
    assembler.finish()
    if n_text or n_metrics:
        log.format = "metrics" if n_metrics >= n_text else "nanogpt"
    most = max(relatives, key=relatives.__getitem__, default="")
    if most and relatives[most] >= _RELATIVE_LINES_NEEDED:
        log.relative = most


def _add_config(log: Log, path: Path) -> None:
    """Settings from config.toml; what the log itself says goes first."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # there is none, or it is damaged: the log alone is explained
    for run in log.runs[-1:]:
        run.config = settings(table) | run.config
