"""What the flags of `explain-log` ask for: iterations, a log, a form of output; and what to type next."""

import math
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from nanogpt_cli.accelerators import Accelerator, accelerator, accelerator_names
from nanogpt_cli.cli import console
from nanogpt_cli.errors import NanoGPTError, UsageError

if TYPE_CHECKING:
    from nanogpt_cli.explain.report import Explanation

_OUT_ROOT = Path("out")


def iteration_range(text: str, option: str) -> tuple[int, int]:
    """`4980-5000`, or `5000` alone."""
    found = re.fullmatch(r"\s*(\d{1,12})(?:\s*[-:]\s*(\d{1,12}))?\s*", text, re.ASCII)
    if found is None or (option == "--at" and found[2]):
        form, example = (
            ("iterations as A-B", "4980-5000") if option == "--lines" else ("an iteration", "5000")
        )
        raise UsageError(
            f"{option} takes {form}, not {text!r}", f"nanogpt explain-log LOG {option} {example}"
        )
    first = int(found[1])
    last = int(found[2]) if found[2] else first
    if last < first:
        raise UsageError(
            f"{option} {text}: {last} comes before {first}",
            f"nanogpt explain-log LOG {option} {last}-{first}",
        )
    return first, last


def one_form(*, json: bool, markdown: bool, plot: bool, html: str) -> None:
    """stdout takes one form; which one is not guessed."""
    forms = {"--json": json, "--markdown": markdown, "--html -": html == "-"}
    asked = [name for name, wanted in forms.items() if wanted]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} cannot share standard output", f"give {asked[0]} alone")
    if json and plot:
        raise UsageError("--plot draws for people, --json prints for programs", "give one of them")


def refuse_flags(what: str, **given: object) -> None:
    """Refuse flags that mean nothing for what is asked."""
    for name, value in given.items():
        if value:
            raise UsageError(f"--{name} does not go with {what}", f"nanogpt explain-log LOG --{name}")


def newest_source(*, language: str, quiet: bool) -> str:
    from nanogpt_cli.explain.catalogue import load_catalogue
    from nanogpt_cli.explain.parse import newest_log

    newest = newest_log(_OUT_ROOT)
    if newest is None:
        raise NanoGPTError(
            f"there is no run with a log under {_OUT_ROOT}/",
            "name a log: nanogpt explain-log train.log, or train first: nanogpt train --preset cpu-tiny",
        )
    words = load_catalogue(language)
    console.note(words.text("page", "newest", path=str(newest)), quiet=quiet)
    return str(newest)


def next_command(explanation: "Explanation") -> str:
    """Go on with a stopped run, try a run's model; of a bare log, look at its last line closely."""
    if {"diverged", "nonfinite", "crashed", "out_of_memory", "bad_initial_loss"} & {*explanation.codes}:
        return "nanogpt train --help"  # what to change is the findings' advice: this lists the settings
    if explanation.source == "-":
        return "nanogpt train --preset cpu-tiny"
    folder = Path(explanation.source).parent
    if (folder / "checkpoints").is_dir() and "interrupted" in explanation.codes:
        return f"nanogpt train --resume --out-dir {shlex.quote(str(folder))}"
    if (folder / "checkpoints").is_dir():
        return f'nanogpt sample {shlex.quote(str(folder))} --prompt "..."'
    last = explanation.run.last_iter
    if last is None:
        return "nanogpt train --preset cpu-tiny"
    return f"nanogpt explain-log {shlex.quote(explanation.source)} --lines {last}"


def named_device(name: str) -> Accelerator | None:
    """The device that --gpu names; None where none is named."""
    if not name:
        return None
    if (known := accelerator(name) or accelerator(f"RTX {name}")) is None:
        raise UsageError(
            f"the peak of a {name} is not known here",
            f"give it yourself: --device-peak 312e12; known are {accelerator_names()}",
        )
    return known


def positive_peak(flops: float | None) -> float | None:
    """--device-peak, in FLOP/s."""
    if flops is not None and not 0 < flops < math.inf:
        raise UsageError(f"--device-peak must be a number above 0, not {flops:g}", "--device-peak 312e12")
    return flops
