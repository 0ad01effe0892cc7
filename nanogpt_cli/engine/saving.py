"""When a run is saved, and what happens when it cannot be."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.engine.checkpoint import (
    TrainState,
    list_checkpoints,
    remove_old_checkpoints,
    save_checkpoint,
)
from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.meter import Meter
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.sharded import is_sharded
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import CheckpointSaved, Reporter, Warned

# Between two attempts: a disk that is full for a moment costs little, one that stays full not every minute.
_RETRY_SECONDS: Final = 30.0
_MOST_RETRY_SECONDS: Final = 480.0


class Saver:
    """Saves a run's checkpoints and keeps the newest few and the best."""

    def __init__(
        self,
        *,
        config: TrainConfig,
        run_dir: Path,
        model: LanguageModel,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        dataset: dict[str, str],
        dist: Distributed,
        reporter: Reporter,
        saved: TrainState | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`saved` is the state that the run goes on from, where the run's folder holds it."""
        self.clock = clock or time.monotonic
        self.config = config
        self.run_dir = run_dir
        self.model = model
        self.optimizer = optimizer
        self.scaler = scaler
        self.dataset = dataset
        self.dist = dist
        self.reporter = reporter
        self._tried_at = self.clock()
        self._failed_in_a_row = 0  # on every rank, whichever has met the fault
        self._on_disk = _content(saved) if saved is not None else None

    def due(self, state: TrainState, *, last: bool, stopping: bool) -> bool:
        """Whether to save before iteration `state.iter_num`; all ranks get the same answer."""
        iter_num = state.iter_num
        if self.config.eval_only or self._on_disk == _content(state):
            return False
        if iter_num == 0:  # fresh weights are worth a checkpoint only if nothing better will follow
            return last or stopping
        evaluated_now = state.last_eval_iter == iter_num
        improved = evaluated_now and state.best_val_iter == iter_num
        interval = self.config.save_interval
        return (
            last
            or stopping
            or improved
            or (evaluated_now and self.config.always_save_checkpoint)
            or (interval > 0 and iter_num % interval == 0)
            or self._time_is_up(iter_num)
        )

    def _time_is_up(self, iter_num: int) -> bool:
        """Whether save_minutes have passed since the last save, or a failed one is to be tried again."""
        waits = [60 * self.config.save_minutes] if self.config.save_minutes > 0 else []
        waits += [self._retry_seconds()] if self._failed_in_a_row else []
        if not waits:
            return False
        if self.dist.world_size > 1 and iter_num % self.config.log_interval:
            return False  # asking each other waits for the devices, which a log line does anyway
        overdue = self.clock() - self._tried_at >= min(waits)
        return self._any(overdue)  # clocks differ: one rank's yes is all's

    def _retry_seconds(self) -> float:
        return min(_RETRY_SECONDS * 2.0 ** (self._failed_in_a_row - 1), _MOST_RETRY_SECONDS)

    def _any(self, flag: bool) -> bool:
        return self.dist.any(flag, next(self.model.parameters()).device)

    def save(self, state: TrainState, meter: Meter, *, must: bool) -> None:
        """Save; a full disk stops nothing but the save itself, unless it is the last chance (`must`).

        Else it is tried again half a minute later, then after twice as long each time.
        """
        pending = self.dist.sum(meter.loss_sum.clone()) / self.dist.world_size
        state.pending_loss_sum, state.pending_iters = float(pending), meter.loss_iters
        norms = meter.norms()
        state.pending_norm_sum, state.pending_norms = norms.total, norms.count
        state.pending_clipped = norms.clipped
        state.scaler = self.scaler.state_dict() if self.scaler.is_enabled() else None
        error = self._save(state) if self.dist.is_main or is_sharded(self.model) else None
        if error is not None and must:
            raise self._not_saved(state.iter_num, error) from error
        failed = self._any(error is not None)
        self._tried_at, self._failed_in_a_row = self.clock(), self._failed_in_a_row + 1 if failed else 0
        if error is not None:
            told = f"iteration {state.iter_num} was not saved ({error}); training goes on"
            again = f"saving is tried again in {self._retry_seconds():.0f} s"
            self.reporter.emit(Warned(message=f"{told}, and {again}"))

    def _save(self, state: TrainState) -> OSError | None:
        """Write the checkpoint and remove the old ones; the error of a disk that does not take it."""
        start = time.perf_counter()
        try:
            path = save_checkpoint(self.run_dir, self.model, self.optimizer, state, self.dataset, self.dist)
        except OSError as error:
            return error
        if not self.dist.is_main:
            return None
        self.reporter.emit(
            CheckpointSaved(
                iter_num=state.iter_num,
                path=str(path),
                out_dir=str(self.run_dir),
                best=state.best_val_iter == state.iter_num,
                save_ms=1000 * (time.perf_counter() - start),
            )
        )
        try:
            remove_old_checkpoints(self.run_dir, self.config.keep_checkpoints)
        except OSError as error:  # it was saved: what is too much on the disk can wait
            self.reporter.emit(Warned(message=f"an old checkpoint could not be removed: {error}"))
        return None

    def _not_saved(self, iter_num: int, error: OSError) -> NanoGPTError:
        """The error of a run whose last state has no place on the disk."""
        saved = list_checkpoints(self.run_dir)
        again = f"nanogpt train --resume --out-dir {self.run_dir}" if saved else "the same command again"
        before = f" goes on from {saved[-1].name}" if saved else ""
        return NanoGPTError(
            f"iteration {iter_num}, the last, was not saved: {error}",
            f"make room or choose another --out-dir; then {again}{before}",
        )


def _content(state: TrainState) -> tuple[int, int | None]:
    """What tells a checkpoint from another of the same run: its iteration, and whether it was evaluated."""
    return state.iter_num, state.last_eval_iter
