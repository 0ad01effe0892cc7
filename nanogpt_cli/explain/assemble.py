"""Puts points together to runs: where a training begins, where it was resumed, what a resume rolled back.

One process of nanoGPT prints a header and then points whose iterations only grow. So a header after points,
or an iteration that goes back, is a new process; it continues the same training if it says so ("Resuming
training from", `resumed_from_iter`) or starts after iteration 0 without a header of its own.
"""

from nanogpt_cli.explain.records import EvalPoint, Failure, IterPoint, Log, Run


class Assembler:
    """Receives what the line readers understand, in the order of the log."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.distributed = False  # several ranks write into this log
        self._run = Run()

    def header(self) -> Run:
        """The run whose header is being read; a header after points opens a new one."""
        if self._run.has_points:
            self._close()
        self._run.header_seen = True
        return self._run

    def new_process(self) -> Run:
        """A record that certainly starts a process, even when the one before logged nothing."""
        if self._run.header_seen or self._run.has_points:
            self._close()
        self._run.header_seen = True
        return self._run

    @property
    def current(self) -> Run:
        """The run being read."""
        return self._run

    def add_iter(self, point: IterPoint) -> None:
        """Append a training iteration; a line printed twice counts once."""
        last = self._run.iters[-1] if self._run.iters else None
        if last is not None and last.iter_num == point.iter_num:
            return
        self._begin_at(point.iter_num, settling=point.mfu_pending)
        self._run.iters.append(point)
        self._run.n_iter_lines += 1

    def add_eval(self, point: EvalPoint) -> None:
        """Append an evaluation; a line printed twice counts once."""
        last = self._run.evals[-1] if self._run.evals else None
        if last is not None and last.iter_num == point.iter_num:
            return
        self._begin_at(point.iter_num)
        if self._run.evals and self._run.evals[-1].iter_num == point.iter_num:
            self._run.evals.pop()  # measured again after the resume
        self._run.evals.append(point)
        self._run.n_eval_lines += 1

    def add_failure(self, failure: Failure) -> None:
        """Remember an exception or a signal; training that goes on afterwards shows that it was survived."""
        self._run.failures.append(failure)

    def finish(self) -> None:
        """Close the last run and hand all of them to the log."""
        self._close()
        if not self.log.runs:
            self.log.runs.append(self._run)

    def _begin_at(self, iter_num: int, *, settling: bool = False) -> None:
        last = self._run.last_iter
        if last is not None and iter_num < last:  # the iteration goes back: another process, no header seen
            self._close()
            self._run.resuming = iter_num > 0
        if self._run.has_points:
            pass
        elif not self._run.resuming:
            # A log that begins somewhere else, without a header, is an excerpt: nothing starts there.
            if iter_num == 0 or self._run.header_seen or settling:
                self._run.process_starts.append(iter_num)
        elif not self._continue_previous(iter_num):
            self._run.process_starts.append(iter_num)
            self._run.resumed_at.append(iter_num)
        self._run.failures.clear()

    def _continue_previous(self, iter_num: int) -> bool:
        """Make the resumed process part of the run before, dropping what the resume rolled back."""
        previous = self.log.runs[-1] if self.log.runs else None
        if previous is None or not previous.has_points or iter_num < (previous.first_iter or 0):
            return False
        self.log.runs.pop()
        previous.iters = [p for p in previous.iters if p.iter_num < iter_num]
        previous.evals = [e for e in previous.evals if e.iter_num <= iter_num]  # it belongs to the checkpoint
        previous.config.update(self._run.config)
        previous.vocab_size = self._run.vocab_size or previous.vocab_size
        previous.n_params = self._run.n_params or previous.n_params
        previous.ending = None
        previous.process_starts.append(iter_num)
        previous.resumed_at.append(iter_num)
        self._run = previous
        return True

    def _close(self) -> None:
        run, self._run = self._run, Run()
        if run.has_points or not self.log.runs:
            if run.has_points or run.header_seen or run.failures:
                self.log.runs.append(run)
        elif self.distributed:
            # Another rank's header, printed when its buffer was flushed at the end; its failure is the run's.
            self.log.runs[-1].failures += run.failures
        elif run.header_seen:
            self.log.runs.append(run)  # a later attempt that never reached an iteration
        else:
            self.log.runs[-1].failures += run.failures
