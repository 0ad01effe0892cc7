"""nanochat's transformer ready to write; see nanochat.py for the model.

Shapes: B texts, T tokens, C = n_embd, H heads, D = head_size, V words.
"""

from functools import partial
from typing import cast

import torch
from torch import Tensor

from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.linear import make_linear
from nanogpt_cli.engine.models.activations import relu_squared, rms_norm
from nanogpt_cli.engine.models.decoder import CachedDecoder
from nanogpt_cli.engine.models.nanochat import Layer, NanoChat
from nanogpt_cli.engine.models.ngrams import NGramEmbedding


class _Layer:
    def __init__(self, layer: Layer, hardware: Hardware) -> None:
        make, attn = partial(make_linear, hardware), layer.self_attn
        self.qkv = make(torch.cat((attn.q_proj.weight, attn.k_proj.weight, attn.v_proj.weight)), None)
        self.out = make(attn.o_proj.weight, None)
        self.up, self.down = make(layer.mlp.fc1.weight, None), make(layer.mlp.fc2.weight, None)


class NanoChatDecoder(CachedDecoder):
    """See `Decoder`."""

    def __init__(self, model: NanoChat, hardware: Hardware, vocab_size: int) -> None:
        super().__init__(model.config, hardware)
        self.softcap = model.config.softcap
        self.words = model.model.embed_tokens.weight.detach()
        self.ngrams = model.model.ngrams
        self.before: Tensor | None = None  # the tokens read last, as many as an n-gram looks back
        cos, sin = model.model.rotary.cos, model.model.rotary.sin  # (block_size, D / 2)
        self.cos = torch.cat((cos, cos), dim=1).to(hardware.dtype)
        self.sin = torch.cat((sin, -sin), dim=1).to(hardware.dtype)
        self.layers = [_Layer(cast(Layer, layer), hardware) for layer in model.model.layers]
        self.head = make_linear(hardware, model.lm_head.weight[:vocab_size], None)

    def start(self, batch: int, size: int) -> None:
        super().start(batch, size)
        self.before = None

    def forget(self) -> None:
        super().forget()
        self.before = None

    def keep(self, rows: list[int]) -> None:
        super().keep(rows)
        if self.before is not None:
            self.before = self.before[rows]

    def _ngrams(self, idx: Tensor, ngrams: NGramEmbedding) -> Tensor:  # (B, T) → (B, T, C)
        before = ngrams.nothing_before(idx) if self.before is None else self.before
        self.before = torch.cat((before, idx), dim=1)[:, -before.shape[1] :]
        with torch.no_grad():
            found: Tensor = ngrams(idx, before)
        return found

    def read(self, idx: Tensor) -> Tensor:
        (B, T), start, cache = idx.shape, self.length, self.cache
        cos, sin = self.cos[start : start + T], self.sin[start : start + T]
        x = torch.embedding(self.words, idx)  # (B, T, C)
        if self.ngrams is not None:
            x = x + self._ngrams(idx, self.ngrams)
        x = rms_norm(x).view(B * T, -1)
        cache.begin(T)
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            qkv = layer.qkv(rms_norm(x)).view(B, T, 3, self.config.n_head, -1).permute(2, 0, 3, 1, 4)
            qk, v = qkv[:2], qkv[2]  # (2, B, H, T, D), and values (B, H, T, D)
            q, k = rms_norm(_rotate(qk, cos, sin)).unbind()  # one call for both
            if T > 1 and number == last:  # of which the last token alone is asked for
                q, x = q[:, :, -1:], x.view(B, T, -1)[:, -1]
            layer.out.onto(x, cache.attend(number, q, torch.stack((k, v))))
            layer.down.onto(x, relu_squared(layer.up(rms_norm(x))))
        logits = self.head(rms_norm(x)).float()
        return self.softcap * torch.tanh(logits / self.softcap)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`rotate` in three calls: of cos and sin (T, D), the first half twice and with both signs."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)
