"""Who listens to a run: the live table on a terminal, nanoGPT's plain lines in a pipe, two files always."""

import sys

from nanogpt_cli.cli import console
from nanogpt_cli.cli.reporters.plain import PlainReporter
from nanogpt_cli.cli.reporters.run_files import RunFilesReporter
from nanogpt_cli.cli.reporters.trackers.reporter import Trackers
from nanogpt_cli.events import NullReporter, Reporter, Tee


def train_reporter(*, quiet: bool) -> Reporter:
    """The screen that suits stderr, the run directory's own records, and the trackers a run asks for."""
    heard = Tee(
        RunFilesReporter(console.warn, lambda told: console.note(told, quiet=quiet)), _screen(quiet=quiet)
    )
    return Tee(Trackers(heard.emit), heard)  # the trackers first: see there


def _screen(*, quiet: bool) -> Reporter:
    if quiet or sys.stderr is None:
        return NullReporter()
    terminal = console.stderr_console()
    if terminal.is_terminal and not terminal.is_dumb_terminal:
        from nanogpt_cli.cli.reporters.live import LiveReporter

        return LiveReporter(terminal)
    return PlainReporter(sys.stderr)
