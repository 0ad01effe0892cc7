"""`nanogpt explain-log`: parse, explain, and show it: panels on a terminal, plain text in a pipe, or JSON."""

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nanogpt_cli.cli import console
from nanogpt_cli.cli.options import JsonOption, QuietOption
from nanogpt_cli.errors import NanoGPTError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from nanogpt_cli.explain.report import Explanation

_OUT_ROOT = Path("out")
_MAX_WIDTH = 100  # longer lines of prose are hard to read
_STYLES = {"error": "red", "warning": "yellow", "info": "green"}


def explain_log_command(
    log: Annotated[
        str,
        typer.Argument(
            metavar="[LOG|RUN_DIR|-]",
            help="A log file, a run directory, or - for standard input; the newest run if left out.",
            show_default=False,
        ),
    ] = "",
    lines: Annotated[
        str,
        typer.Option("--lines", metavar="A-B", help="Explain the lines of these iterations: 4980-5000."),
    ] = "",
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Explain a training log: what happened, what each number means, what to do next."""
    from nanogpt_cli.explain.report import NOT_EXPLAINABLE, explain_log

    wanted = _iteration_range(lines) if lines else None
    source = log or _newest(quiet=quiet or json)
    explanation = explain_log(source, lines=wanted)
    if json:
        console.print_json(explanation.to_json())
    first = explanation.findings[0] if explanation.findings else None
    if first is not None and first.code in NOT_EXPLAINABLE:
        name = "standard input" if source == "-" else explanation.source
        raise NanoGPTError(f"{name}: {first.message[:1].lower()}{first.message[1:]}", first.advice)
    if json:
        return
    _show(explanation)
    console.next_step(_next_command(explanation), quiet=quiet)


def _iteration_range(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"\s*(\d{1,12})(?:\s*[-:]\s*(\d{1,12}))?\s*", text, re.ASCII)
    if found is None:
        raise UsageError(
            f"--lines takes iterations as A-B, not {text!r}", "nanogpt explain-log LOG --lines 4980-5000"
        )
    first = int(found[1])
    last = int(found[2]) if found[2] else first
    if last < first:
        raise UsageError(
            f"--lines {text}: {last} comes before {first}", f"nanogpt explain-log LOG --lines {last}-{first}"
        )
    return first, last


def _newest(*, quiet: bool) -> str:
    from nanogpt_cli.explain.parse import newest_log

    newest = newest_log(_OUT_ROOT)
    if newest is None:
        raise NanoGPTError(
            f"there is no run with a log under {_OUT_ROOT}/",
            "name a log: nanogpt explain-log train.log, or train first: nanogpt train --preset cpu-tiny",
        )
    console.note(f"explaining the newest run's log, {newest}", quiet=quiet)
    return str(newest)


def _next_command(explanation: "Explanation") -> str:
    """Go on with a stopped run, try a run's model; of a bare log, look at its last line closely."""
    if explanation.source == "-":
        return "nanogpt train --preset cpu-tiny"
    folder = Path(explanation.source).parent
    if (folder / "checkpoints").is_dir() and "interrupted" in explanation.codes:
        return f"nanogpt train --resume --out-dir {folder}"
    if (folder / "checkpoints").is_dir():
        return f'nanogpt sample {folder} --prompt "..."'
    last = explanation.run.last_iter
    if last is None:
        return "nanogpt train --preset cpu-tiny"
    return f"nanogpt explain-log {explanation.source} --lines {last}"


def _show(explanation: "Explanation") -> None:
    """The explanation is the data: it goes to stdout, as panels only where that is a terminal."""
    from rich.console import Console

    from nanogpt_cli.explain.show.text import plain_text

    stdout = Console(highlight=False, markup=False, emoji=False)
    if stdout.is_terminal and not stdout.is_dumb_terminal:
        stdout.width = min(stdout.width, _MAX_WIDTH)
        _show_panels(explanation, stdout)
        return
    width = shutil.get_terminal_size(fallback=(80, 25)).columns
    sys.stdout.write(plain_text(explanation, min(width, _MAX_WIDTH)))
    sys.stdout.flush()


def _show_panels(explanation: "Explanation", stdout: "Console") -> None:
    from rich.panel import Panel
    from rich.text import Text

    from nanogpt_cli.explain.catalogue import load_catalogue
    from nanogpt_cli.explain.show.text import heading

    def word(key: str) -> str:
        return load_catalogue(explanation.language).text("words", key)

    stdout.print(Panel(Text(explanation.summary), title=word("summary"), title_align="left"))
    for finding in explanation.findings:
        style = _STYLES[finding.severity]
        body = Text.assemble(finding.message, "\n", (f"{word('advice')}: ", "bold"), finding.advice)
        title = Text(heading(finding, explanation.language), style=f"bold {style}")
        stdout.print(Panel(body, title=title, title_align="left", border_style=style))
    for line in explanation.lines:
        parts = [piece for label, text in line.parts for piece in ((f"{label}  ", "bold cyan"), f"{text}\n")]
        body = Text.assemble(*parts)
        body.rstrip()
        stdout.print(Panel(body, title=Text(line.text, style="bold"), title_align="left", border_style="dim"))
