"""A sample of what the model writes by now, drawn while it trains.

It disturbs nothing: the draws come from a generator of their own, the weights are only read, and the model is
left in the mode it was in. All ranks draw the same text at the same time: where the model is sharded every
rank has to take part, and where it is not the others would only wait.
"""

import time
from dataclasses import dataclass

import numpy as np

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.data.dataset import Dataset
from nanogpt_cli.data.tokenizers.base import Tokenizer
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.distributed import is_lost_connection
from nanogpt_cli.engine.generate import generate
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.sharded import SharedPasses, drop_gathered
from nanogpt_cli.engine.text_stream import stream_text
from nanogpt_cli.errors import NanoGPTError, first_line
from nanogpt_cli.events import Reporter, SampleDrawn, Warned

_NEWLINE = "\n"  # nanoGPT's prompt: what comes after it begins like a text


class CutPassError(NanoGPTError):
    """The other ranks wait for a part of a sharded model's pass that will not come: all have to end."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What samples are drawn with: the tokenizer, and the prompt all of them go on from."""

    tokenizer: Tokenizer
    prompt: str
    prompt_ids: np.ndarray  # (T,), at least one
    tokens: int
    seed: int

    def draw(self, iter_num: int, model: LanguageModel, hardware: Hardware) -> SampleDrawn:
        """The same draws at every iteration, so that two samples differ by the weights alone.

        An error of one rank leaves the ranks together, but for one that is raised as CutPassError.
        """
        was_training = model.training
        start = time.perf_counter()
        try:
            with SharedPasses(model) as passes:
                ids = self._ids(model, hardware, passes)
        finally:
            drop_gathered(model)
            model.train(was_training)
        end = self.tokenizer.end_of_text
        if end is not None and end in ids:
            ids = ids[: ids.index(end)]
        return SampleDrawn(
            iter_num=iter_num,
            prompt=self.prompt,
            text="".join(stream_text(ids, self.tokenizer)),
            tokens=len(ids),
            sample_ms=1000 * (time.perf_counter() - start),
        )

    def _ids(self, model: LanguageModel, hardware: Hardware, passes: SharedPasses) -> list[int]:
        """As many as were asked for: every rank makes every step, whatever is drawn, so no stop token."""
        try:
            return list(
                generate(
                    model,
                    self.prompt_ids,
                    max_new_tokens=self.tokens,
                    hardware=hardware,
                    vocab_size=min(self.tokenizer.vocab_size, model.config.vocab_size),
                    seed=self.seed,
                )
            )
        except Exception as error:
            if passes.cut and not is_lost_connection(error):
                raise CutPassError(
                    f"a sample failed while other processes took part in it ({first_line(error)})",
                    "go on from the last checkpoint without samples: --resume --sample-interval 0",
                ) from error
            if not passes.cut:
                passes.make_up(self.tokens, hardware.device)
            raise


def preview_of(config: TrainConfig, dataset: Dataset, reporter: Reporter) -> Preview | None:
    """What the settings ask for; None, said once, where the dataset cannot turn ids into text."""
    if not config.sample_interval or config.eval_only:
        return None
    tokenizer = dataset.tokenizer
    if tokenizer is None:
        told = f"no samples are drawn: {dataset.path} has no tokenizer that could turn ids into text"
        reporter.emit(Warned(message=told))
        return None
    prompt = config.sample_prompt or _NEWLINE
    try:
        prompt_ids = tokenizer.encode(prompt)
    except NanoGPTError:
        if config.sample_prompt:
            raise
        prompt = tokenizer.decode([0])  # characters without a newline: a text in one line
        prompt_ids = tokenizer.encode(prompt)
    return Preview(
        tokenizer=tokenizer,
        prompt=prompt,
        prompt_ids=prompt_ids,
        tokens=config.sample_tokens,
        seed=config.seed,
    )
