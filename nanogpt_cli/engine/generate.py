"""Text from a model, token by token, as it is made.

Temperature divides the logits, top-k keeps only the k likeliest (Fan et al. 2018,
https://arxiv.org/abs/1805.04833). Beyond block_size the oldest tokens leave the context.
"""

import codecs
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from nanogpt_cli.data.tokenizers.base import Tokenizer
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.models.base import LanguageModel


def generate(
    model: LanguageModel,
    prompt: np.ndarray,
    *,
    max_new_tokens: int,
    hardware: Hardware,
    vocab_size: int,
    temperature: float = 0.8,
    top_k: int | None = 200,
    seed: int = 1337,
    stop_token: int | None = None,
) -> Iterator[int]:
    """Yield up to `max_new_tokens` token ids that continue `prompt` (1-D ids, at least one).

    `vocab_size` is the tokenizer's: ids beyond it are only padding of the embedding and are never drawn.
    Temperature 0 takes the likeliest token. The same seed gives the same text on the same device.
    """
    assert len(prompt) > 0, "the caller gives at least one token to start from"
    generator = torch.Generator(device=hardware.device).manual_seed(seed)
    model.eval()
    context = torch.from_numpy(np.asarray(prompt, dtype=np.int64)).to(hardware.device)[None, :]  # (1, T)
    for _ in range(max_new_tokens):
        context = context[:, -model.config.block_size :]
        with torch.no_grad(), hardware.autocast():
            logits, _ = model(context)  # (1, 1, V)
        token = sample_token(logits[0, -1, :vocab_size].float(), temperature, top_k, generator)
        if stop_token is not None and int(token) == stop_token:
            return
        yield int(token)
        context = torch.cat((context, token.view(1, 1)), dim=1)


def sample_token(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> Tensor:
    """Draw one id, a scalar int64, from logits (V,)."""
    if temperature == 0:
        return logits.argmax()
    logits = (logits - logits.max()) / temperature  # a tiny temperature must not give NaN
    if top_k is not None and top_k < len(logits):
        kept = torch.topk(logits, top_k)
        choice = torch.multinomial(kept.values.softmax(dim=0), 1, generator=generator)
        return kept.indices[choice].squeeze()
    return torch.multinomial(logits.softmax(dim=0), 1, generator=generator).squeeze()


def stream_text(tokens: Iterable[int], tokenizer: Tokenizer) -> Iterator[str]:
    """Decode ids as they come; a character split over several tokens appears once it is whole."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for token in tokens:
        if text := decoder.decode(tokenizer.decode_bytes([token])):
            yield text
    if rest := decoder.decode(b"", final=True):
        yield rest
