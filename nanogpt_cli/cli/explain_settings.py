"""`train --explain`: runs dry, then shows what every setting does. It leaves nothing behind."""

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from nanogpt_cli.cli import console
from nanogpt_cli.config.load import LoadedConfig
from nanogpt_cli.config.schema import cautions
from nanogpt_cli.events import Event, Notice, Warned

if TYPE_CHECKING:
    from nanogpt_cli.data.dataset import Dataset

_OWN_FLAGS = ("--explain", "--json", "--quiet", "-q")


def explain(
    loaded: LoadedConfig,
    dataset: "Dataset",
    run_dir: Path,
    *,
    said: Sequence[Notice | Warned],
    resume: bool,
    nproc: int,
    language: str,
    json: bool,
    quiet: bool,
    command: str,
) -> None:
    """Show what `command` would do; `said` are the notices on how it was understood."""
    from nanogpt_cli.cli import settings_screen
    from nanogpt_cli.engine.forecast import forecast
    from nanogpt_cli.explain.settings import explain_settings, settings_catalogue

    words = settings_catalogue(language)
    reporter = _Notes(quiet=quiet)
    told_below = set(cautions(loaded.config))  # in English; the settings say them in the reader's language
    for event in said:
        if event.message not in told_below:
            reporter.emit(event)
    with _waiting(words.text("words", "measuring"), quiet=quiet):
        found, loaded = forecast(
            loaded, dataset, run_dir, resume=resume, n_processes=nproc, reporter=reporter
        )
    explanation = explain_settings(loaded.config, loaded.origins, found, language)
    if json:
        console.print_json(explanation.to_json())
        return
    settings_screen.show(explanation)
    console.note(words.text("words", "nothing_done"), quiet=quiet)
    console.next_step(command, quiet=quiet)


def language_of(wanted: str) -> str:
    """The language to explain in; a UsageError for one that is not known."""
    from nanogpt_cli.explain.languages import choose_language
    from nanogpt_cli.explain.settings import PREFIX

    return choose_language(wanted, prefix=PREFIX)


def without_explain(arguments: Sequence[str]) -> str:
    """The command line that does what was explained."""
    from nanogpt_cli.cli.launch import without_option

    kept = without_option(arguments, "--lang")
    kept = [argument for argument in kept if argument.partition("=")[0] not in _OWN_FLAGS]
    return shlex.join(["nanogpt", "train", *kept])


@contextlib.contextmanager
def _waiting(message: str, *, quiet: bool) -> Iterator[None]:
    """A line while the probe runs, where it can be taken away again."""
    stderr = console.stderr_console()
    if quiet or not stderr.is_terminal or stderr.is_dumb_terminal:
        yield
        return
    with stderr.status(Text(message, style="dim")):
        yield


class _Notes:
    """What is worth a line on stderr."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def emit(self, event: Event) -> None:
        if isinstance(event, Warned):
            console.warn(event.message, quiet=self._quiet)
        elif isinstance(event, Notice):
            console.note(event.message, quiet=self._quiet)

    def close(self) -> None:
        """Nothing to close."""
