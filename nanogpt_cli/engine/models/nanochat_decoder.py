"""nanochat's transformer ready to write; see nanochat.py for the model.

Shapes: B texts, T tokens, C = n_embd, H heads, D = head_size, V words.
"""

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.linear import Linear, make_linear
from nanogpt_cli.engine.models.activations import relu_squared, rms_norm
from nanogpt_cli.engine.models.decoder import CachedDecoder
from nanogpt_cli.engine.models.nanochat import Layer, NanoChat, rotate
from nanogpt_cli.engine.models.ngrams import NGramEmbedding


class _Layer:
    def __init__(self, layer: Layer, hardware: Hardware) -> None:
        make, attn = make_linear(hardware), layer.self_attn
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
        self.cos, self.sin = model.model.rotary.cos, model.model.rotary.sin
        self.layers = [_Layer(cast(Layer, layer), hardware) for layer in model.model.layers]
        self.head: Linear = make_linear(hardware)(model.lm_head.weight[:vocab_size], None)

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
        B, T = idx.shape
        C, H, start, cache = self.config.n_embd, self.config.n_head, self.length, self.cache
        cos, sin = (table[start : start + T].to(self.hardware.dtype) for table in (self.cos, self.sin))
        x = F.embedding(idx, self.words)
        if self.ngrams is not None:
            x = x + self._ngrams(idx, self.ngrams)
        x = rms_norm(x)
        cache.begin(T)
        for number, layer in enumerate(self.layers):
            qkv = layer.qkv(rms_norm(x)).view(B, T, 3, H, -1).permute(2, 0, 3, 1, 4)  # (3, B, H, T, D)
            q, k = rms_norm(rotate(qkv[:2], cos, sin)).unbind()  # one call for both
            y = cache.attend(number, q, torch.stack((k, qkv[2])))
            x = x + layer.out(y.transpose(1, 2).reshape(B, T, C))
            x = x + layer.down(relu_squared(layer.up(rms_norm(x))))
        logits = self.head(rms_norm(x[:, -1])).float()
        return self.softcap * torch.tanh(logits / self.softcap)
