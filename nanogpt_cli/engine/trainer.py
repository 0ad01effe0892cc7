"""The training loop. It takes built objects, so a two-layer model trains on a CPU in a test's second.

`Trainer.run` is an index of what happens once in a while and a call of `train_iteration`, which is one step
and nothing else. Batches and dropout of iteration i depend on (seed, i) alone, so a resumed run is exact.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.data.batches import Batches
from nanogpt_cli.engine.checkpoint import (
    TrainState,
    list_checkpoints,
    remove_old_checkpoints,
    save_checkpoint,
)
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.evaluate import estimate_loss, to_device
from nanogpt_cli.engine.health import SkipBudget, SpikeDetector, nonfinite_words
from nanogpt_cli.engine.interrupts import StopRequest
from nanogpt_cli.engine.meter import Meter
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.optim import set_rates
from nanogpt_cli.engine.schedule import learning_rate
from nanogpt_cli.errors import DivergedError
from nanogpt_cli.events import (
    CheckpointSaved,
    EvalDone,
    EvalStarted,
    NonFinite,
    Notice,
    Reporter,
    StepLogged,
    Warned,
)

_SAFE_LEARNING_RATE = 1e-3  # what small GPTs bear; a rate that diverged from far above is no guide


@dataclass(frozen=True, kw_only=True)
class TrainBatches:
    """The two splits a run draws from."""

    train: Batches
    val: Batches


class Trainer:
    """Trains `model` from `state.iter_num` to `config.max_iters`.

    `model` may be compiled or wrapped for several processes; `raw_model` is the same one bare, for saving.
    """

    def __init__(
        self,
        *,
        config: TrainConfig,
        model: nn.Module,
        raw_model: LanguageModel,
        optimizer: torch.optim.Optimizer,
        batches: TrainBatches,
        state: TrainState,
        hardware: Hardware,
        dist: Distributed,
        reporter: Reporter,
        run_dir: Path,
        dataset: dict[str, str],
        flops_per_token: float,
        peak_flops: float | None,
        stop: StopRequest | None = None,
    ) -> None:
        self.config = config
        self.model = model
        self.raw_model = raw_model
        self.optimizer = optimizer
        self.batches = batches
        self.state = state
        self.hardware = hardware
        self.dist = dist
        self.reporter = reporter
        self.run_dir = run_dir
        self.dataset = dataset
        self.flops_per_token = flops_per_token
        self.peak_flops = peak_flops
        self.stop = stop or StopRequest()
        self.micro_batches = config.gradient_accumulation_steps // dist.world_size
        self.global_batch_size = config.batch_size * config.gradient_accumulation_steps
        self.meter = Meter(
            device=hardware.device,
            synchronize=hardware.synchronize,
            tokens_per_iter=self.global_batch_size * config.block_size,
        )
        self.meter.loss_sum += state.pending_loss_sum
        self.meter.loss_iters = state.pending_iters
        self.scaler = torch.amp.GradScaler(
            hardware.device.type, enabled=hardware.dtype == torch.float16 and hardware.device.type == "cuda"
        )
        if state.scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(state.scaler)
        self.last_loss: float | None = None
        self.skips = SkipBudget()
        self._spikes = SpikeDetector()
        self._saved_at = time.monotonic()
        self._overhead_ms: list[float] = []  # of each evaluation, saving included, for the ETA

    # --- The loop

    def run(self) -> str:
        """Train to the end; returns why it ended: finished, eval_only, SIGINT or SIGTERM."""
        stopping = False
        for iter_num in range(
            self.state.iter_num, self.config.max_iters + 1
        ):  # +1: the last pass only evaluates
            last = iter_num == self.config.max_iters or self.config.eval_only
            stopping = self._stop_requested()
            if stopping and self.stop.signal_name:
                self.reporter.emit(Notice(message=f"{self.stop.signal_name}: saving, then stopping"))
            if self._eval_due(iter_num, last):
                self._evaluate(iter_num)
            if self._save_due(iter_num, last, stopping):
                self._save(iter_num, must=last or stopping)
            if last or stopping:
                break
            self.train_iteration(iter_num)
        if self.config.eval_only:
            return "eval_only"
        return (self.stop.signal_name or "SIGTERM") if stopping else "finished"

    def train_iteration(self, iter_num: int) -> None:
        """One optimizer step on the global batch of `iter_num`."""
        self.meter.start()
        lr = set_rates(self.optimizer, iter_num, self.config)
        self._seed_dropout(iter_num)

        loss_sum = torch.zeros((), device=self.hardware.device)
        for micro in range(self.micro_batches):
            inputs, targets = self._micro_batch(iter_num, micro)  # each (B, T)
            with self.dist.gradient_sync(self.model, enabled=micro == self.micro_batches - 1):
                with self.hardware.autocast():
                    loss = self.model(inputs, targets)[1]  # the logits are freed before the backward pass
                self.scaler.scale(loss / self.micro_batches).backward()
            loss_sum += loss.detach()
        loss_mean = loss_sum / self.micro_batches

        self.scaler.unscale_(self.optimizer)
        clip = self.config.grad_clip or math.inf  # an infinite limit only measures
        grad_norm = nn.utils.clip_grad_norm_(self.raw_model.parameters(), clip)
        finite = self._is_finite(loss_mean, grad_norm)
        if finite:
            self.skips.ok()
            self.scaler.step(self.optimizer)
        else:
            self._nonfinite(iter_num, float(loss_mean), float(grad_norm))
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

        self.state.iter_num = iter_num + 1
        self.state.tokens_seen += self.meter.tokens_per_iter
        self.meter.add(loss_mean if finite else None)
        if iter_num % self.config.log_interval == 0:
            self._log(iter_num, lr, grad_norm)

    # --- Once in a while

    def _eval_due(self, iter_num: int, last: bool) -> bool:
        if self.state.last_eval_iter == iter_num and not self.config.eval_only:
            return False  # resumed from a checkpoint that was evaluated
        # Also when asked to stop: this iteration's checkpoint must carry its val loss, or be nobody's best.
        return last or iter_num % self.config.eval_interval == 0

    def _evaluate(self, iter_num: int) -> None:
        self.meter.pause()
        self.reporter.emit(EvalStarted(iter_num=iter_num))
        start = time.perf_counter()
        losses = [
            estimate_loss(
                self.raw_model,
                batches,
                batch_size=self.config.batch_size,
                n_batches=self.config.eval_iters,
                hardware=self.hardware,
                dist=self.dist,
            )
            for batches in (self.batches.train, self.batches.val)
        ]
        state = self.state
        state.last_eval_iter, (state.train_loss, state.val_loss) = iter_num, losses
        best = math.isfinite(losses[1]) and (state.best_val_loss is None or losses[1] < state.best_val_loss)
        if best:
            state.best_val_loss, state.best_val_iter = losses[1], iter_num
        eval_ms = 1000 * (time.perf_counter() - start)
        if not all(math.isfinite(loss) for loss in losses):
            told = f"the evaluation gives train loss {losses[0]} and val loss {losses[1]}"
            raise self._diverged(iter_num, told)
        self._overhead_ms.append(eval_ms)
        self.reporter.emit(
            EvalDone(
                iter_num=iter_num,
                train_loss=losses[0],
                val_loss=losses[1],
                lr=learning_rate(iter_num, self.config),
                best=best,
                eval_ms=eval_ms,
            )
        )

    def _save_due(self, iter_num: int, last: bool, stopping: bool) -> bool:
        if self.config.eval_only:
            return False
        if iter_num == 0:  # fresh weights are worth a checkpoint only if nothing better will follow
            return last or stopping
        evaluated_now = self.state.last_eval_iter == iter_num
        improved = evaluated_now and self.state.best_val_iter == iter_num
        interval = self.config.save_interval
        return (
            last
            or stopping
            or improved
            or (evaluated_now and self.config.always_save_checkpoint)
            or (interval > 0 and iter_num % interval == 0)
            or self._minutes_over()
        )

    def _minutes_over(self) -> bool:
        """Whether save_minutes have passed since the last save; clocks differ, so one rank's yes is all's."""
        minutes = self.config.save_minutes
        if minutes <= 0:
            return False
        return self.dist.any(time.monotonic() - self._saved_at >= 60 * minutes, self.hardware.device)

    def _save(self, iter_num: int, *, must: bool) -> None:
        """Save; a full disk stops nothing but the save itself, unless it is the last chance (`must`)."""
        self.meter.pause()
        self._saved_at = time.monotonic()
        start = time.perf_counter()
        state = self.state
        pending = self.dist.sum(self.meter.loss_sum.clone()) / self.dist.world_size
        state.pending_loss_sum, state.pending_iters = float(pending), self.meter.loss_iters
        state.scaler = self.scaler.state_dict() if self.scaler.is_enabled() else None
        if not self.dist.is_main:
            return
        try:
            path = save_checkpoint(self.run_dir, self.raw_model, self.optimizer, state, self.dataset)
        except OSError as error:
            if must:
                raise
            self.reporter.emit(
                Warned(message=f"iteration {iter_num} was not saved ({error}); training goes on")
            )
            return
        self.reporter.emit(
            CheckpointSaved(
                iter_num=iter_num,
                path=str(path),
                out_dir=str(self.run_dir),
                best=state.best_val_iter == iter_num,
                save_ms=1000 * (time.perf_counter() - start),
            )
        )
        try:
            remove_old_checkpoints(self.run_dir, self.config.keep_checkpoints)
        except OSError as error:  # it was saved: what is too much on the disk can wait
            self.reporter.emit(Warned(message=f"an old checkpoint could not be removed: {error}"))

    def _log(self, iter_num: int, lr: float, grad_norm: Tensor) -> None:
        if not self.meter.loss_iters:
            return  # every iteration since the last line was skipped
        loss_sum, iters, step_ms = self.meter.close_interval()  # waits for the device
        loss = float(self.dist.sum(loss_sum)) / (iters * self.dist.world_size)
        self.last_loss = loss
        if (score := self._spikes.add(loss)) is not None:
            self.reporter.emit(
                Warned(
                    message=f"the loss jumped to {loss:.4f} at iteration {iter_num}, {score:.0f} times the "
                    "usual scatter above the recent ones; if it does not come back, lower the learning rate"
                )
            )
        tokens_per_second = 1000 * self.meter.tokens_per_iter / step_ms
        self.reporter.emit(
            StepLogged(
                iter_num=iter_num,
                loss=loss,
                lr=lr,
                grad_norm=float(grad_norm) if self.config.grad_clip else None,
                step_ms=step_ms,
                tokens_per_second=tokens_per_second,
                mfu=self.mfu(tokens_per_second),
                eta_seconds=self._eta_seconds(iter_num + 1),
                tokens_seen=self.state.tokens_seen,
            )
        )

    def mfu(self, tokens_per_second: float) -> float | None:
        """Model FLOPs utilisation, 0..1, of all devices together."""
        if not self.peak_flops:
            return None
        return self.flops_per_token * tokens_per_second / self.peak_flops

    # --- Details

    def _micro_batch(self, iter_num: int, micro: int) -> tuple[Tensor, Tensor]:
        """This rank's rows of the global batch: the same text whatever the number of processes."""
        first = (self.dist.rank * self.micro_batches + micro) * self.config.batch_size
        rows = slice(first, first + self.config.batch_size)
        batch = self.batches.train.batch(iter_num, self.global_batch_size, rows)
        return to_device(batch, self.hardware.device)

    def _seed_dropout(self, iter_num: int) -> None:
        """Dropout of iteration i depends on (seed, rank, i): a resumed run drops the same units."""
        if self.config.dropout:
            seed = (self.config.seed * 1_000_003 + iter_num) * 65_537 + self.dist.rank
            torch.manual_seed(seed % 2**63)

    def _stop_requested(self) -> bool:
        return self.dist.any(self.stop.signal_name is not None, self.hardware.device)

    def _is_finite(self, loss: Tensor, grad_norm: Tensor) -> bool:
        """Whether every rank's loss and gradient may reach the weights. Note: this reads the device."""
        # With a GradScaler an infinite gradient is routine: it skips the step and lowers the scale.
        healthy = loss.isfinite() if self.scaler.is_enabled() else loss.isfinite() & grad_norm.isfinite()
        return not self.dist.any(not bool(healthy), self.hardware.device)

    def _nonfinite(self, iter_num: int, loss: float, grad_norm: float) -> None:
        """Record the batch; then stop, or let the run go on with the next one if the settings say so."""
        skip = self.config.on_nonfinite == "skip"
        within_budget = self.skips.spend()
        offsets = self.batches.train.starts(iter_num, self.global_batch_size)
        self.reporter.emit(
            NonFinite(
                iter_num=iter_num,
                loss=loss,
                grad_norm=grad_norm,
                data_offsets=tuple(int(offset) for offset in offsets),
                skipped=skip and within_budget,
            )
        )
        words = nonfinite_words(loss, grad_norm)
        if not skip:
            raise self._diverged(iter_num, f"{words}; the weights were not touched")
        if not within_budget:
            raise self._diverged(
                iter_num, f"{words}; {self.skips.total} batches were skipped, which is enough"
            )
        self.reporter.emit(Warned(message=f"iteration {iter_num} is skipped: {words}"))

    def _diverged(self, iter_num: int, reason: str) -> DivergedError:
        """The error that names the last good checkpoint and a rate to go on with."""
        lower = min(learning_rate(iter_num, self.config) / 3, _SAFE_LEARNING_RATE)
        saved = list_checkpoints(self.run_dir)
        good = f"the last good checkpoint is {saved[-1]}" if saved else "no checkpoint was saved yet"
        again = f"go on from it: nanogpt train --resume --out-dir {self.run_dir}" if saved else "start again"
        return DivergedError(
            f"training diverged at iteration {iter_num}: {reason}; {good}",
            f"{again} with a lower rate: --learning-rate {lower:.1g} --min-lr {lower / 10:.1g}",
        )

    def _eta_seconds(self, done: int) -> float | None:
        step_ms = self.meter.recent_ms()
        if step_ms is None or len(self.meter.interval_ms) < 2:
            return None  # the first interval holds warm-up and compilation: a guess from it misleads
        evals = self.config.max_iters // self.config.eval_interval - (done - 1) // self.config.eval_interval
        overhead_ms = self._overhead_ms[-1] if self._overhead_ms else 0.0
        return ((self.config.max_iters - done) * step_ms + evals * overhead_ms) / 1000
