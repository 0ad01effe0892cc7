"""The training loop. It takes built objects, so a two-layer model trains on a CPU in a test's second.

`Trainer.run` is an index of what happens once in a while and a call of `train_iteration`, which is one step
and nothing else. Batches and dropout of iteration i depend on (seed, i) alone, so a resumed run is exact.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.data.batches import Batches
from nanogpt_cli.engine.adamw import Optimizer
from nanogpt_cli.engine.checkpoint import TrainState, list_checkpoints
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.distributed import Distributed, clip_gradients
from nanogpt_cli.engine.evaluate import estimate_loss
from nanogpt_cli.engine.feed import MicroBatches, Portion, feed_for
from nanogpt_cli.engine.guard import LATE_ITERS, Guard, Verdict
from nanogpt_cli.engine.health import SkipBudget, nonfinite_words
from nanogpt_cli.engine.interrupts import StopRequest
from nanogpt_cli.engine.meter import Meter, Norms
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.optim import set_rates
from nanogpt_cli.engine.preview import CutPassError, Preview
from nanogpt_cli.engine.saving import Saver
from nanogpt_cli.engine.schedule import learning_rate
from nanogpt_cli.engine.step_log import StepLog
from nanogpt_cli.errors import DivergedError, first_line
from nanogpt_cli.events import (
    EvalDone,
    EvalStarted,
    NonFinite,
    Notice,
    Reporter,
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
        saved: bool = False,
        hardware: Hardware,
        dist: Distributed,
        reporter: Reporter,
        run_dir: Path,
        dataset: dict[str, str],
        flops_per_token: float,
        peak_flops: float | None,
        preview: Preview | None = None,
        stop: StopRequest | None = None,
        late: int | None = None,
    ) -> None:
        """`late`: by how many iterations a number that is not finite is noticed late; None: what suits."""
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
        self.preview = preview
        self.stop = stop or StopRequest()
        self.micro_batches = config.gradient_accumulation_steps // dist.world_size
        self.global_batch_size = config.batch_size * config.gradient_accumulation_steps
        self.meter = Meter(
            device=hardware.device,
            synchronize=hardware.synchronize,
            tokens_per_iter=self.global_batch_size * config.block_size,
            grad_clip=config.grad_clip,
        )
        self.meter.go_on(
            loss_sum=state.pending_loss_sum,
            iters=state.pending_iters,
            norms=Norms(
                total=state.pending_norm_sum, count=state.pending_norms, clipped=state.pending_clipped
            ),
        )
        self.feed = feed_for(
            Portion(
                batches=batches.train,
                batch_size=config.batch_size,
                micro_batches=self.micro_batches,
                rank=dist.rank,
                world_size=dist.world_size,
            ),
            hardware.device,
        )
        self.scaler = torch.amp.GradScaler(
            hardware.device.type, enabled=hardware.dtype == torch.float16 and hardware.device.type == "cuda"
        )
        if state.scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(state.scaler)
        self.skips = SkipBudget()
        scaled = self.scaler.is_enabled()
        can_wait = hardware.device.type == "cuda" and not scaled and isinstance(optimizer, Optimizer)
        self.guard = Guard(
            device=hardware.device,
            dist=dist,
            late=late if late is not None else LATE_ITERS if can_wait else 0,
            once=config.on_nonfinite == "stop",
            scaled=scaled,
        )
        self._peer_stops = False
        self.saver = Saver(
            config=config,
            run_dir=run_dir,
            model=raw_model,
            optimizer=optimizer,
            scaler=self.scaler,
            dataset=dataset,
            dist=dist,
            reporter=reporter,
            saved=state if saved else None,
        )
        self.log = StepLog(
            config=config,
            meter=self.meter,
            dist=dist,
            reporter=reporter,
            train_tokens=len(batches.train.tokens),
            flops_per_token=flops_per_token,
            peak_flops=peak_flops,
        )

    # --- The loop

    def run(self) -> str:
        """Train to the end; returns why it ended: finished, eval_only, SIGINT or SIGTERM."""
        try:
            return self._run()
        finally:
            self.feed.close()

    def _run(self) -> str:
        stopping = False
        for iter_num in range(
            self.state.iter_num, self.config.max_iters + 1
        ):  # +1: the last pass only evaluates
            last = iter_num == self.config.max_iters or self.config.eval_only
            stopping = self._peer_stops if self._stops_late else self._stop_requested()
            if last or stopping or self._eval_due(iter_num, last) or self._sample_due(iter_num, last):
                self._hear(all_of_them=True)
            if self._eval_due(iter_num, last) and not stopping:
                stopping = not self._evaluate(iter_num)
            if stopping and self.stop.signal_name:
                then = "stopping" if self.config.eval_only else "saving, then stopping"
                self.reporter.emit(Notice(message=f"{self.stop.signal_name}: {then}"))
            if self._sample_due(iter_num, last) and not stopping:
                self._sample(iter_num)
            if self.saver.due(self.state, last=last, stopping=stopping):
                self._hear(all_of_them=True)
                self.meter.pause()
                start = time.perf_counter()
                self.saver.save(self.state, self.meter, must=last or stopping)
                self.log.pauses.save_ms = 1000 * (time.perf_counter() - start)
            if last or stopping:
                break
            self.train_iteration(iter_num)
        if stopping:
            return self.stop.signal_name or "SIGTERM"  # another rank's
        return "eval_only" if self.config.eval_only else "finished"

    def train_iteration(self, iter_num: int) -> None:
        """One optimizer step on the global batch of `iter_num`."""
        self.meter.start()
        lr = set_rates(self.optimizer, iter_num, self.config)
        self._seed_dropout(iter_num)

        loss_sum: Tensor | None = None
        for micro, (inputs, targets) in enumerate(self._micro_batches(iter_num)):  # each (B, T)
            with self.dist.gradient_sync(self.model, enabled=micro == self.micro_batches - 1):
                with self.hardware.autocast():
                    loss = self.model(inputs, targets)[1]  # the logits are freed before the backward pass
                share = loss / self.micro_batches if self.micro_batches > 1 else loss
                self.scaler.scale(share).backward()
            loss_sum = loss.detach().clone() if loss_sum is None else loss_sum + loss.detach()
        assert loss_sum is not None, "there is at least one micro-batch"
        loss_mean = loss_sum / self.micro_batches if self.micro_batches > 1 else loss_sum

        self.scaler.unscale_(self.optimizer)
        clip = self.config.grad_clip or math.inf  # an infinite limit only measures
        grad_norm = clip_gradients(self.raw_model.parameters(), clip)
        self._step(iter_num, loss_mean, grad_norm)
        self.optimizer.zero_grad(set_to_none=True)

        self.state.iter_num = iter_num + 1
        self.state.tokens_seen += self.meter.tokens_per_iter
        logging = iter_num % self.config.log_interval == 0
        self._hear(all_of_them=logging)
        if logging:
            self.log.emit(iter_num, lr, self.state.tokens_seen)

    # --- What is not finite

    def _step(self, iter_num: int, loss: Tensor, grad_norm: Tensor) -> None:
        """The optimizer's step, which does nothing where loss or gradient are not finite on some rank."""
        if self.guard.late:
            stop = self.stop.signal_name is not None
            found = self.guard.ask(iter_num, self.state.tokens_seen, loss, grad_norm, stop=stop)
            cast("Optimizer", self.optimizer).step(found_inf=found)
            return
        verdict = self.guard.judge(iter_num, self.state.tokens_seen, loss, grad_norm)
        self._take(verdict)
        if verdict.finite:
            self.scaler.step(self.optimizer)
        self.scaler.update()

    def _hear(self, *, all_of_them: bool) -> None:
        """Act on verdicts that come late."""
        for verdict in self.guard.verdicts(all_of_them=all_of_them):
            self._peer_stops |= verdict.stop
            self._take(verdict)

    def _take(self, verdict: Verdict) -> None:
        if verdict.finite:
            self.skips.ok()
        else:
            self._nonfinite(verdict)
        self.meter.add(verdict.loss if verdict.finite else None, verdict.grad_norm)

    def _nonfinite(self, verdict: Verdict) -> None:
        """Record the batch; then stop, or let the run go on with the next one if the settings say so."""
        iter_num, (loss, grad_norm) = verdict.iter_num, verdict.values
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
        if skip and within_budget:
            self.reporter.emit(Warned(message=f"iteration {iter_num} is skipped: {words}"))
            return
        # Iterations that were done before the verdict came are none of the run's.
        self.state.iter_num, self.state.tokens_seen = iter_num, verdict.tokens_seen
        if not skip:
            raise self._diverged(iter_num, f"{words}; the weights were not touched")
        raise self._diverged(
            iter_num, f"{words}; {self.skips.total - 1} batches were skipped before it, which is enough"
        )

    @property
    def _stops_late(self) -> bool:
        """Whether the ranks tell each other of a signal by their verdicts, without waiting for the device."""
        return self.guard.late > 0 and self.dist.world_size > 1

    # --- Once in a while

    def _eval_due(self, iter_num: int, last: bool) -> bool:
        if self.state.last_eval_iter == iter_num and not self.config.eval_only:
            return False  # resumed from a checkpoint that was evaluated
        return last or iter_num % self.config.eval_interval == 0

    def _evaluate(self, iter_num: int) -> bool:
        """Estimate both losses; False if a signal came, and who resumes will evaluate here again.

        An evaluation can take minutes, and a preempted run has seconds to save.
        """
        self.meter.pause()
        self.reporter.emit(EvalStarted(iter_num=iter_num))
        start = time.perf_counter()
        losses = []
        for batches in (self.batches.train, self.batches.val):
            loss = estimate_loss(
                self.raw_model,
                batches,
                batch_size=self.config.batch_size,
                n_batches=self.config.eval_iters,
                hardware=self.hardware,
                dist=self.dist,
                given_up=self._stop_requested,
            )
            if loss is None:
                return False
            losses.append(loss)
        state = self.state
        state.last_eval_iter, (state.train_loss, state.val_loss) = iter_num, losses
        best = math.isfinite(losses[1]) and (state.best_val_loss is None or losses[1] < state.best_val_loss)
        if best:
            state.best_val_loss, state.best_val_iter = losses[1], iter_num
        eval_ms = 1000 * (time.perf_counter() - start)
        if not all(math.isfinite(loss) for loss in losses):
            told = f"the evaluation gives train loss {losses[0]} and val loss {losses[1]}"
            raise self._diverged(iter_num, told)
        self.log.pauses.eval_ms = eval_ms
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
        return True

    def _sample_due(self, iter_num: int, last: bool) -> bool:
        if self.preview is None or self.state.last_sample_iter == iter_num:
            return False  # the second: resumed from a checkpoint that was saved after its sample was drawn
        return last or iter_num % self.config.sample_interval == 0

    def _sample(self, iter_num: int) -> None:
        """Show what the model writes by now; whatever goes wrong in it ends the samples, not the run."""
        assert self.preview is not None, "only called when due"
        self.meter.pause()
        failed = ""
        try:
            drawn = self.preview.draw(iter_num, self.raw_model, self.hardware)
        except CutPassError:
            raise
        except Exception as error:  # memory, a tokenizer, a kernel: none of it concerns the training
            failed = first_line(error)
        if reasons := [told for told in self.dist.gather(failed) if told]:  # whichever rank it was
            self.preview = None
            told = f"no sample at iteration {iter_num} ({reasons[0]}); training goes on without samples"
            self.reporter.emit(Warned(message=told))
            return
        self.state.last_sample_iter = iter_num
        self.log.pauses.sample_ms = drawn.sample_ms
        self.reporter.emit(drawn)

    # --- Details

    def _micro_batches(self, iter_num: int) -> MicroBatches:
        """This rank's rows of the global batch: the same text whatever the number of processes."""
        return self.feed.micro_batches(iter_num)

    def _seed_dropout(self, iter_num: int) -> None:
        """Dropout of iteration i depends on (seed, rank, i): a resumed run drops the same units."""
        if self.config.dropout or self.config.ngram_dropout:
            seed = (self.config.seed * 1_000_003 + iter_num) * 65_537 + self.dist.rank
            torch.manual_seed(seed % 2**63)

    def _stop_requested(self) -> bool:
        return self.dist.any(self.stop.signal_name is not None, self.hardware.device)

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
