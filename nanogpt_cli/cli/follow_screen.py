"""`explain-log --follow`: the verdict of a growing log, redrawn on a terminal, a line a change in a pipe."""

import json
import sys
import time
from collections.abc import Callable
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from nanogpt_cli.cli import console, explain_screen
from nanogpt_cli.explain.catalogue import load_catalogue
from nanogpt_cli.explain.follow import Change, Follower, changes, ended, open_source
from nanogpt_cli.explain.parse import STDIN
from nanogpt_cli.explain.report import Explanation, visible
from nanogpt_cli.explain.show.text import certainty

POLL_SECONDS: Final = 1.0
# Explaining a long log takes a while; it never takes more than this share of the time.
MAX_LOAD: Final = 0.1
_PAGE_SECONDS: Final = 20.0  # between two versions of the page
_ROWS_BESIDE_PLOT: Final = 24  # of a terminal: what stands above and below the curves


def follow(
    name: str,
    *,
    language: str,
    plot: bool,
    as_json: bool,
    quiet: bool,
    write_page: Callable[[Explanation], None] | None,
) -> Explanation:
    """Follow until the run ends, and return its explanation; Ctrl-C comes through as KeyboardInterrupt."""
    follower = Follower(open_source(name, sys.stdin.buffer), name, language)
    words = load_catalogue(language)
    shown_name = words.text("page", "stdin") if name == STDIN else visible(name)
    stdout = explain_screen.stdout_console()
    if as_json:
        view: _View = _JsonLines()
    elif explain_screen.is_rich(stdout):
        view = _LiveScreen(stdout, language, shown_name)
    else:
        view = _Lines(language)
    console.note(words.text("follow", "following", name=shown_name), quiet=quiet or as_json)
    last: Explanation | None = None
    try:
        with view:
            last = _watch(follower, view, write_page)
    finally:
        if last is None and isinstance(view, _LiveScreen) and view.shown is not None:
            explain_screen.show(view.shown, plot=plot, lines=False)  # what stood there stays to be read
    return last


class _View:
    """Shows an explanation each time the log has grown."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, now: Explanation, changed: list[Change]) -> None:
        """The log has grown; `changed` is what is new in the verdict."""

    def tick(self, quiet_seconds: float) -> None:
        """Nothing new."""


def _watch(follower: Follower, view: _View, write_page: Callable[[Explanation], None] | None) -> Explanation:
    before: Explanation | None = None
    grown, due, page_due = False, 0.0, 0.0
    last_growth = time.monotonic()
    while True:
        if follower.look():
            grown, last_growth = True, time.monotonic()
        over = follower.input_ended
        if grown and (over or time.monotonic() >= due):
            started = time.monotonic()
            now = follower.explain()
            due = started + (time.monotonic() - started) / MAX_LOAD
            grown = False
            if now is not None:
                view.show(now, changes(before, now))
                before, over = now, over or ended(now)
                if write_page and (over or started >= page_due):
                    write_page(now)
                    page_due = started + _PAGE_SECONDS
        if over:
            while follower.look() and follower.behind:
                pass  # nanoGPT prints one more line after its last evaluation
            final = follower.explain(final=True)
            assert final is not None, "a final explanation is always made"
            return final
        if not follower.behind:
            view.tick(time.monotonic() - last_growth)
            time.sleep(POLL_SECONDS)


class _Lines(_View):
    """One line a change, for pipes and files."""

    def __init__(self, language: str) -> None:
        self._words = load_catalogue(language)

    def show(self, now: Explanation, changed: list[Change]) -> None:
        """Write the changes."""
        for change in changed:
            finding = change.finding
            line = self._words.text(
                "follow",
                change.kind,
                iter=now.run.last_iter or 0,
                severity=self._words.text("words", finding.severity),
                title=finding.title + certainty(finding, self._words),
                message=finding.message,
            )
            sys.stdout.write(line.replace("\n", " ") + "\n")
        sys.stdout.flush()


class _JsonLines(_View):
    """The document of `--json`, one a line, each time the verdict changes."""

    def show(self, now: Explanation, changed: list[Change]) -> None:
        """Write the document."""
        if changed:
            write_json_line(now)


def write_json_line(explanation: Explanation) -> None:
    """The document of `--json` on one line, without the explained lines."""
    document = console.finite({**explanation.to_json(), "lines": []})
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")
    sys.stdout.flush()


class _LiveScreen(_View):
    """Panels that are redrawn in place."""

    def __init__(self, stdout: Console, language: str, name: str) -> None:
        self._stdout, self._words, self._name = stdout, load_catalogue(language), name
        self._live = Live(console=stdout, auto_refresh=False, transient=True, vertical_overflow="ellipsis")
        self.shown: Explanation | None = None

    def __enter__(self) -> None:
        self._live.start()
        self.tick(0)

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, now: Explanation, changed: list[Change]) -> None:
        """Redraw everything."""
        self.shown = now
        self._draw(0)

    def tick(self, quiet_seconds: float) -> None:
        """Say how long nothing came."""
        self._draw(quiet_seconds)

    def _draw(self, quiet_seconds: float) -> None:
        if self.shown is None:
            self._live.update(Text(self._words.text("follow", "waiting", name=self._name)), refresh=True)
            return
        iter_num = self.shown.run.last_iter or 0
        status = self._words.text(
            "follow", "status", name=self._name, iter=iter_num, seconds=int(quiet_seconds)
        )
        rows = min(explain_screen.PLOT_ROWS, self._stdout.height - _ROWS_BESIDE_PLOT)
        body = explain_screen.panels(self.shown, self._stdout, plot=rows >= 6, plot_rows=rows, lines=False)
        self._live.update(Group(Text(status, style="dim"), body), refresh=True)
