"""What a log line says: the interval's numbers, a spike in the loss, and how long it will still take."""

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.eta import Pauses
from nanogpt_cli.engine.health import SpikeDetector
from nanogpt_cli.engine.meter import Meter
from nanogpt_cli.events import Reporter, StepLogged, Warned


class StepLog:
    """Turns what the meter collected into one `StepLogged` event per log interval."""

    def __init__(
        self,
        *,
        config: TrainConfig,
        meter: Meter,
        dist: Distributed,
        reporter: Reporter,
        train_tokens: int,
        flops_per_token: float,
        peak_flops: float | None,
    ) -> None:
        self.config = config
        self.meter = meter
        self.dist = dist
        self.reporter = reporter
        self.train_tokens = train_tokens
        self.flops_per_token = flops_per_token
        self.peak_flops = peak_flops
        self.last_loss: float | None = None
        self.pauses = Pauses(config)
        self._spikes = SpikeDetector()

    def emit(self, iter_num: int, lr: float, tokens_seen: int) -> None:
        """Report the interval that ends with `iter_num`. Note: this waits for the device."""
        if not self.meter.loss_iters:
            return  # every iteration since the last line was skipped
        interval = self.meter.close_interval()
        loss = float(self.dist.sum(interval.loss_sum)) / (interval.iters * self.dist.world_size)
        self.last_loss = loss
        if (score := self._spikes.add(loss)) is not None:
            self.reporter.emit(
                Warned(
                    message=f"the loss jumped to {loss:.4f} at iteration {iter_num}, {score:.0f} times the "
                    "usual scatter above the recent ones; if it does not come back, lower the learning rate"
                )
            )
        tokens_per_second = 1000 * self.meter.tokens_per_iter / interval.step_ms
        self.reporter.emit(
            StepLogged(
                iter_num=iter_num,
                loss=loss,
                lr=lr,
                grad_norm=interval.norms.mean,
                clipped=interval.norms.clipped_share if self.config.grad_clip else None,
                step_ms=interval.step_ms,
                tokens_per_second=tokens_per_second,
                mfu=self.mfu(tokens_per_second),
                eta_seconds=self._eta_seconds(iter_num + 1),
                tokens_seen=tokens_seen,
                epochs=self.epochs(tokens_seen),
            )
        )

    def epochs(self, tokens: int) -> float:
        """How many passes over the training split that is."""
        return tokens / self.train_tokens

    def mfu(self, tokens_per_second: float) -> float | None:
        """Model FLOPs utilisation, 0..1, of all devices together."""
        if not self.peak_flops:
            return None
        return self.flops_per_token * tokens_per_second / self.peak_flops

    def _eta_seconds(self, done: int) -> float | None:
        step_ms = self.meter.recent_ms()
        if step_ms is None or len(self.meter.interval_ms) < 2:
            return None  # the first interval holds warm-up and compilation: a guess from it misleads
        train_seconds = (self.config.max_iters - done) * step_ms / 1000
        return train_seconds + self.pauses.seconds_left(done, train_seconds)
