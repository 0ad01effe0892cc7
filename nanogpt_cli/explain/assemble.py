"""Puts points together to runs: where a training begins, where it was resumed, what a resume rolled back.

One process prints a header and then points whose iterations only grow. So a header after points, or an
iteration that goes back, is a new process; it continues the same training if it says so ("Resuming training
from", `resumed_from_iter`) or starts after iteration 0 without a header of its own. A line that was printed
twice, by another rank or because output was collected twice, counts once.
"""

import math
import operator
from bisect import bisect_left
from collections import Counter, deque
from copy import copy
from dataclasses import dataclass, field, replace

from nanogpt_cli.explain.formats.columns import Columns
from nanogpt_cli.explain.records import Ending, EvalPoint, Failure, IterPoint, Log, Run, Trainer
from nanogpt_cli.explain.thinning import Thinned

# A log in which the counter goes back on every line would otherwise cost memory for a run per line.
_MAX_RUNS = 500
_MAX_EVENTS = 10_000  # checkpoints, process starts, failures of one run
_RECENT = 8
_MAX_SECONDS = 1e12
_MAX_MS = 1e15


@dataclass
class _Open:
    """A run and what is needed to go on reading it."""

    run: Run = field(default_factory=Run)
    trainers: Counter[Trainer] = field(default_factory=Counter)
    last: int = -1  # highest iteration of any point
    last_iter: int = -1
    last_eval: int = -1
    spacing: int = 0  # between the last two iteration lines
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def __post_init__(self) -> None:
        self.iters = Thinned[IterPoint](self.run.iters, lambda p: p.loss, lambda p: p.time_ms)
        self.evals = Thinned[EvalPoint](self.run.evals, lambda e: e.val_loss, lambda e: e.eval_ms)

    @property
    def has_points(self) -> bool:
        return self.last >= 0

    def amend(self, point: IterPoint) -> None:
        """Put `point` in the place of the last one, whose line was cut."""
        points = self.run.iters
        if points and points[-1].iter_num == point.iter_num:
            points[-1] = point
            self.iters.renew(point)


class Assembler:
    """Receives what the line readers understand, in the order of the log."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.distributed = False  # several ranks write into this log
        self.amending = False  # the line read is the one before together with its second half
        self._open = _Open()
        self._previous: _Open | None = None  # the run closed last, which a resume may continue

    @property
    def current(self) -> Run:
        """The run being read."""
        return self._open.run

    @property
    def last_iter(self) -> int | None:
        """The highest iteration of the current run so far."""
        return self._open.last if self._open.has_points else None

    def header(self, trainer: Trainer) -> Run:
        """The run whose header is being read; a header after points opens a new one."""
        if self._open.has_points:
            self._close()
        self._open.run.header_seen = True
        self._open.trainers[trainer] += 1
        return self._open.run

    def new_process(self, trainer: Trainer) -> Run:
        """A record that certainly starts a process, even when the one before logged nothing."""
        if self._open.run.header_seen or self._open.has_points:
            self._close()
        return self.header(trainer)

    def fact(self, trainer: Trainer) -> Run:
        """The current run, of which a line somewhere in it tells something."""
        self._open.trainers[trainer] += 1
        return self._open.run

    def end(self, trainer: Trainer, wall_seconds: float | None = None) -> None:
        """The trainer says that the training is done."""
        run = self.fact(trainer)
        if wall_seconds is not None and 0 < wall_seconds < _MAX_SECONDS:
            run.wall_seconds = wall_seconds
        run.ending = Ending(reason="finished", iters=self.last_iter, wall_seconds=run.wall_seconds)

    def add_iter(self, trainer: Trainer, point: IterPoint) -> None:
        """Append a training iteration."""
        iter_num, time_ms = point.iter_num, point.time_ms
        now = self._open
        if time_ms is not None and not 0 < time_ms < _MAX_MS:
            point = point._replace(time_ms=None)  # "0.00ms" of a mock, "infms": no time anybody measured
        if self.amending:
            now.amend(point)
            return
        if iter_num <= now.last:
            if iter_num == now.last_iter or self._repeats(point):
                self.log.n_duplicated_lines += 1
                return
            evaluated_first = now.last_iter < 0 and iter_num == now.last
            if not evaluated_first and (iter_num < now.last_iter or now.last_iter < 0):
                self._goes_back(iter_num)
                now = self._open
        if not now.has_points:
            self._begin(iter_num, settling=point.mfu_pending)
            now = self._open
        elif now.run.failures:
            now.run.failures.clear()  # training went on
        now.spacing = iter_num - now.last_iter
        now.last_iter = iter_num
        now.last = max(now.last, iter_num)
        now.recent.append(iter_num)
        now.trainers[trainer] += 1
        now.run.n_iter_lines += 1
        now.iters.append(point)

    def add_iters(self, trainer: Trainer, lines: Columns) -> None:
        """Append many training iterations, each as `add_iter` would."""
        now, iters = self._open, lines.iters
        values = lines.losses or lines.times_ms or []
        usual = now.has_points and not now.run.failures and now.last_iter < iters[0] >= now.last
        times = lines.times_ms or [1.0]
        usual = usual and math.isfinite(sum(values)) and min(times) > 0 and max(times) < _MAX_MS
        if not (usual and all(map(operator.lt, iters, iters[1:]))):
            for i in range(len(iters)):
                self.add_iter(trainer, lines.point(i))
            return
        now.spacing = iters[-1] - (iters[-2] if len(iters) > 1 else now.last_iter)
        now.last = now.last_iter = iters[-1]
        now.recent.extend(iters[-_RECENT:])
        now.trainers[trainer] += len(iters)
        now.run.n_iter_lines += len(iters)
        now.iters.extend(values, lines.times_ms, lines.point)

    def add_eval(self, trainer: Trainer, point: EvalPoint) -> None:
        """Append an evaluation."""
        iter_num = point.iter_num
        now = self._open
        if self.amending:
            return
        if iter_num <= now.last:
            if iter_num == now.last_eval:
                self.log.n_duplicated_lines += 1
                return
            # Some trainers count an evaluation one step behind the line printed before it.
            if iter_num < now.last_eval or iter_num < now.last_iter - max(1, now.spacing):
                self._goes_back(iter_num)
                now = self._open
        if not now.has_points:
            self._begin(iter_num)
            now = self._open
        elif now.run.failures:
            now.run.failures.clear()
        if now.last_eval == iter_num and now.run.evals:
            now.evals.drop(lambda e: e.iter_num == iter_num)  # measured again after the resume
        now.last_eval = iter_num
        now.last = max(now.last, iter_num)
        now.trainers[trainer] += 1
        now.run.n_eval_lines += 1
        now.evals.append(point)

    def add_checkpoint(self, iter_num: int | None = None) -> None:
        """A checkpoint was saved, at `iter_num` or after the last iteration shown."""
        step = self.last_iter if iter_num is None else iter_num
        saved = self.current.checkpoints
        if step is not None and (not saved or saved[-1] != step):  # each rank may say it
            _append(saved, step)

    def add_failure(self, failure: Failure) -> None:
        """Remember an exception or a signal; training that goes on afterwards shows that it was survived."""
        failures = self.current.failures
        if len(failures) < _MAX_EVENTS:
            failures.append(failure)

    def preview(self) -> list[Run]:
        """The runs as they would be if the log ended here; nothing is closed."""
        twin = copy(self)
        runs = [*self.log.runs]
        if runs:
            runs[-1] = replace(runs[-1], failures=[*runs[-1].failures])
        twin.log = replace(self.log, runs=runs)
        self._open.iters.flush()
        self._open.evals.flush()
        run = self._open.run
        twin._open = replace(
            self._open, run=replace(run, iters=[*run.iters], evals=[*run.evals], failures=[*run.failures])
        )
        twin.finish()
        return twin.log.runs

    def finish(self) -> None:
        """Close the last run and hand all of them to the log."""
        self._close()
        if not self.log.runs:
            self.log.runs.append(self._open.run)

    def _repeats(self, point: IterPoint) -> bool:
        """Whether this very line was read before, or another rank prints what the first one printed."""
        now = self._open
        if self.distributed and point.iter_num in now.recent:
            return True
        points = now.run.iters
        at = bisect_left(points, point.iter_num, key=lambda p: p.iter_num)
        if at == len(points) or point.time_ms is None:
            return False
        # Equal to a hundredth of a millisecond: no second training is.
        return points[at][:3] == point[:3]

    def _goes_back(self, iter_num: int) -> None:
        """Another process, whose header was not seen."""
        self._close()
        self._open.run.resuming = iter_num > 0

    def _begin(self, iter_num: int, *, settling: bool = False) -> None:
        run = self._open.run
        if not run.resuming:
            # A log that begins somewhere else, without a header, is an excerpt: nothing starts there.
            if iter_num == 0 or run.header_seen or settling:
                run.process_starts.append(iter_num)
        elif not self._continue_previous(iter_num):
            run.process_starts.append(iter_num)
            run.resumed_at.append(iter_num)
        self._open.run.failures.clear()

    def _continue_previous(self, iter_num: int) -> bool:
        """Make the resumed process part of the run before, dropping what the resume rolled back."""
        previous = self._previous
        if previous is None or not previous.has_points or iter_num < (previous.run.first_iter or 0):
            return False
        self.log.runs.pop()
        resumed, run = self._open, previous.run
        previous.iters.drop(lambda p: p.iter_num >= iter_num)
        previous.evals.drop(lambda e: e.iter_num > iter_num)  # that at iter_num belongs to the checkpoint
        run.config.update(resumed.run.config)
        run.vocab_size = resumed.run.vocab_size or run.vocab_size
        run.n_params = resumed.run.n_params or run.n_params
        run.ending = None
        _append(run.process_starts, iter_num)
        _append(run.resumed_at, iter_num)
        previous.trainers += resumed.trainers
        previous.last_iter = run.iters[-1].iter_num if run.iters else -1
        previous.last_eval = run.evals[-1].iter_num if run.evals else -1
        previous.last = max(previous.last_iter, previous.last_eval)
        previous.recent.clear()
        self._open, self._previous = previous, None
        return True

    def _close(self) -> None:
        closed, self._open = self._open, _Open()
        closed.iters.flush()
        closed.evals.flush()
        run, runs = closed.run, self.log.runs
        _name_trainer(closed)
        if closed.has_points or not runs:
            if closed.has_points or run.header_seen or run.failures:
                runs.append(run)
                self._previous = closed
        elif self.distributed or not run.header_seen:
            # Another rank's header, printed when its buffer was flushed at the end; its failure is the run's.
            runs[-1].failures += run.failures
        else:
            runs.append(run)  # a later attempt that never reached an iteration
            self._previous = closed
        if len(runs) > _MAX_RUNS:
            self.log.n_dropped_runs += 1
            del runs[1]


def _name_trainer(closed: _Open) -> None:
    """Whose lines these are, by their number; lines that fit many trainers only where no others speak."""
    run = closed.run
    named = [(lines, name) for name, lines in closed.trainers.items() if name != "unknown"]
    if named:
        run.trainer = max(named)[1]
    if not run.nanogpt_habits:
        run.trainer = "ours" if run.trainer in {"nanogpt", "ours", "unknown"} else run.trainer
    elif closed.has_points:
        run.nanogpt_habits = run.trainer == "nanogpt"


def _append(numbers: list[int], number: int) -> None:
    numbers.append(number)
    if len(numbers) > _MAX_EVENTS:
        del numbers[1:-1:2]  # every second one; the first and the last stay
