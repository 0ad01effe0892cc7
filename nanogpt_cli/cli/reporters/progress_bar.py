"""`Progress` events as a bar on a terminal's stderr: what is being done, bytes, MB/s, time left."""

from types import TracebackType
from typing import Self

from nanogpt_cli import events
from nanogpt_cli.cli import console

_TEXT_WIDTH = 60  # "verifying train.bin  1023.9/1023.9 MB 1023.9 MB/s 0:00:00" and the gaps


class ProgressBar:
    """Shows `Progress`, says decisions at once, and keeps warnings for afterwards."""

    def __init__(self, *, quiet: bool) -> None:
        # Imported here: `nanogpt --help` loads this module, and needs no bar.
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            ProgressColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self.warnings: list[str] = []
        self._quiet = quiet
        stderr = console.stderr_console()
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}"),
            BarColumn(bar_width=max(5, min(40, stderr.width - _TEXT_WIDTH))),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        ]
        # In a narrow terminal a line that wraps would be drawn over and over: the last columns go first.
        missing = _TEXT_WIDTH + 5 - stderr.width
        self._bar = Progress(
            *columns[: len(columns) - (missing > 0) - (missing > 8) - (missing > 20)],
            console=stderr,
            transient=True,
            disable=quiet or not stderr.is_terminal or stderr.is_dumb_terminal,
        )
        self._task_name: str | None = None
        self._task = self._bar.add_task("", visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def emit(self, event: events.Event) -> None:
        """Move the bar, say a decision, or keep a warning."""
        if isinstance(event, events.Progress):
            self._show(event)
        elif isinstance(event, events.Notice):
            console.note(event.message, quiet=self._quiet)
        elif isinstance(event, events.Warned):
            self.warnings.append(event.message)

    def _show(self, event: events.Progress) -> None:
        if event.task != self._task_name:  # a new clock, or its speed would be mixed with the last task's
            self._task_name = event.task
            self._bar.reset(self._task, description=_short(event.task), total=event.total, visible=True)
        self._bar.update(self._task, completed=event.done, total=event.total)

    def close(self) -> None:
        """Take the bar off the screen."""
        self._bar.stop()


def _short(task: str) -> str:
    """At most 20 characters: the names of shards differ at their end."""
    return task if len(task) <= 20 else f"{task[:10]}…{task[-9:]}"
