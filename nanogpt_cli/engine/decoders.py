"""The decoder of a model, whatever its architecture."""

from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.models.decoder import Decoder, ForwardDecoder
from nanogpt_cli.engine.models.gpt2 import GPT2
from nanogpt_cli.engine.models.gpt2_decoder import GPT2Decoder
from nanogpt_cli.engine.models.nanochat import NanoChat
from nanogpt_cli.engine.models.nanochat_decoder import NanoChatDecoder
from nanogpt_cli.engine.sharded import is_sharded


def build_decoder(model: LanguageModel, hardware: Hardware, vocab_size: int) -> Decoder:
    """The model ready to write, with logits for the first `vocab_size` ids; the rest only pads the embedding.

    It may share the model's weights: make a new one when they have changed.
    """
    if is_sharded(model):
        return ForwardDecoder(model, hardware, vocab_size)  # only forward can gather the weights
    if isinstance(model, GPT2):
        return GPT2Decoder(model, hardware, vocab_size)
    assert isinstance(model, NanoChat), type(model)
    return NanoChatDecoder(model, hardware, vocab_size)
