"""Which token comes next: a draw from the model's probabilities, filtered as the reader of the text asked.

In this order, which is transformers': the repetition penalty makes what was said already less likely
(Keskar et al. 2019, https://arxiv.org/abs/1909.05858, section 4.1); the temperature divides the logits;
top-k keeps the k likeliest (Fan et al. 2018, https://arxiv.org/abs/1805.04833); top-p the fewest that
together reach p (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751); min-p those at least min_p times
as likely as the likeliest (Nguyen et al. 2024, https://arxiv.org/abs/2407.01082). Shapes: B texts, V words,
K candidates.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_TINY = 1e-6  # no logit divided by it overflows


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen. Temperature 0 takes the likeliest, whatever the rest says."""

    temperature: float = 0.8
    top_k: int | None = 200
    top_p: float = 1.0  # 1 keeps all
    min_p: float = 0.0  # 0 keeps all
    repetition_penalty: float = 1.0  # 1 changes nothing

    def candidates(self, logits: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """logits (B, V) float32 → weights (B, K), not normalised, and the ids they are of; None: 0..V-1.

        `seen` (B, V) bool marks what stands in each text; it is only asked for with a repetition penalty.
        """
        if self.repetition_penalty != 1.0 and seen is not None:
            penalised = torch.where(
                logits > 0, logits / self.repetition_penalty, logits * self.repetition_penalty
            )
            logits = torch.where(seen, penalised, logits)
        if self.temperature == 0:
            return torch.ones_like(logits[:, :1]), logits.argmax(dim=1, keepdim=True)
        if self.temperature < _TINY:  # must not give NaN
            logits = logits - logits.amax(dim=1, keepdim=True)
        logits = logits / self.temperature
        ids = None
        words = logits.shape[1]
        kept = min(self.top_k or words, words)
        if kept < words or self.top_p < 1:
            logits, ids = logits.topk(kept, dim=1)  # the likeliest first
        weights = logits.softmax(dim=1)
        if self.top_p < 1:
            likelier = weights.cumsum(dim=1) - weights  # what those before a candidate reach together
            weights = weights.masked_fill((likelier >= self.top_p) & (likelier > 0), 0)
        if self.min_p > 0:
            weights = weights.masked_fill(weights < self.min_p * weights.amax(dim=1, keepdim=True), 0)
        return weights, ids

    def draw(self, logits: Tensor, generators: list[torch.Generator], seen: Tensor | None = None) -> Tensor:
        """One id for each text, (B, 1) int64; each has its own generator, so its draws know of no other."""
        weights, ids = self.candidates(logits, seen)
        if self.temperature == 0:
            assert ids is not None, "the likeliest"
            return ids
        # Each weight over an exponential number of its own: the largest ratio is a candidate's with the
        # probability of its weight. torch.multinomial does this too, and first looks for what cannot be here.
        exponential = torch.empty_like(weights)
        for row, generator in enumerate(generators):
            exponential[row].exponential_(generator=generator)
        choice = weights.div_(exponential).argmax(dim=1, keepdim=True)
        return choice if ids is None else ids.gather(1, choice)
