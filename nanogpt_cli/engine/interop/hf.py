"""GPT-2 weights to and from Hugging Face's format (`GPT2LMHeadModel`): a hub id or a local folder.

OpenAI's code held linear weights as (in, out), and Hugging Face kept that ("Conv1D"); ours are (out, in), so
four matrices per block are transposed. Reference: transformers, models/gpt2/modeling_gpt2.py.
"""

import json
import logging
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nanogpt_cli.engine.interop.shapes import differing_tensors, not_a_weight
from nanogpt_cli.engine.models.gpt2 import GPT2, GPT2Config
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.files import new_directory, write_json

# nanoGPT's names → repositories on the hub.
HUB_IDS: Final = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
}
_TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


def gpt2_shape(name: str, *, dropout: float = 0.0) -> GPT2Config:
    """The configuration of a Hugging Face GPT-2, by hub id, nanoGPT's name or local folder."""
    config_path = _file(name, "config.json")
    try:
        return _config(json.loads(config_path.read_text(encoding="utf-8")), dropout)
    except (ValueError, KeyError, TypeError) as error:
        raise NanoGPTError(
            f"{config_path} is not the config.json of a GPT-2 ({error})",
            "name a GPT-2: --init-from gpt2, or a folder written by GPT2LMHeadModel.save_pretrained",
        ) from None


def load_gpt2(name: str, *, dropout: float = 0.0) -> tuple[GPT2Config, dict[str, Tensor]]:
    """Configuration and weights of a Hugging Face GPT-2, by hub id, nanoGPT's name or local folder."""
    config = gpt2_shape(name, dropout=dropout)
    weights_path = _file(name, "model.safetensors")
    try:
        tensors = load_file(weights_path)
    except (SafetensorError, OSError) as error:
        raise NanoGPTError(
            f"{weights_path} cannot be read ({error})",
            "download it again, or save it anew with GPT2LMHeadModel.save_pretrained",
        ) from None
    weights = from_hf(tensors)
    _check_shapes(config, weights, weights_path)
    return config, weights


def _check_shapes(config: GPT2Config, weights: dict[str, Tensor], path: Path) -> None:
    """Raise NanoGPTError unless the weights are those of the model that config.json describes."""
    if names := differing_tensors(config, weights):
        raise NanoGPTError(
            f"{path} does not hold the model that config.json describes: {len(names)} tensors are missing or "
            f"have another shape ({names[0]})",
            "save both anew with GPT2LMHeadModel.save_pretrained",
        )


def from_hf(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename and transpose a GPT2LMHeadModel state dict into ours."""
    weights = {}
    for name, tensor in tensors.items():
        if not_a_weight(name):
            continue
        full = name if name.startswith("transformer.") else f"transformer.{name}"
        weights[full] = tensor.t().contiguous() if full.endswith(_TRANSPOSED) else tensor
    return weights


def to_hf(model: GPT2) -> dict[str, Tensor]:
    """Our weights as a GPT2LMHeadModel state dict; biases that a model without them lacks become zeros."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        value = tensor.detach().float().cpu()
        tensors[name] = value.t().contiguous() if name.endswith(_TRANSPOSED) else value.contiguous()
        if name.endswith(".weight") and ".wte." not in name and ".wpe." not in name:
            bias = name.removesuffix("weight") + "bias"
            if bias not in model.state_dict():
                tensors[bias] = value.new_zeros(tensor.shape[0])
    return tensors


def export_hf(model: GPT2, folder: Path) -> Path:
    """Write a folder that `GPT2LMHeadModel.from_pretrained` loads; `folder` must not exist."""
    shape = model.config
    document = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": shape.activation,
        "vocab_size": shape.vocab_size,
        "n_positions": shape.block_size,
        "n_ctx": shape.block_size,
        "n_embd": shape.n_embd,
        "n_layer": shape.n_layer,
        "n_head": shape.n_head,
        "resid_pdrop": shape.dropout,
        "embd_pdrop": shape.dropout,
        "attn_pdrop": shape.dropout,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
    }
    with new_directory(folder) as temporary:
        save_file(to_hf(model), temporary / "model.safetensors", metadata={"format": "pt"})
        write_json(temporary / "config.json", document)
    return folder


def _config(document: dict[str, Any], dropout: float) -> GPT2Config:
    if document.get("model_type") != "gpt2":
        raise ValueError(f"model_type is {document.get('model_type')!r}")
    activation = document.get("activation_function", "gelu_new")
    if activation not in ("gelu", "gelu_new"):
        raise ValueError(f"activation {activation!r} is not GPT-2's")
    if document.get("layer_norm_epsilon", 1e-5) != 1e-5:
        raise ValueError("layer_norm_epsilon is not 1e-5")
    return GPT2Config(
        vocab_size=document["vocab_size"],
        block_size=document["n_positions"],
        n_layer=document["n_layer"],
        n_head=document["n_head"],
        n_embd=document["n_embd"],
        dropout=dropout,
        bias=True,
        activation=activation,
    )


def _file(name: str, filename: str) -> Path:
    """The file in a local folder, or downloaded from the hub (cached by huggingface_hub)."""
    if (folder := Path(name)).is_dir():
        if (folder / filename).is_file():
            return folder / filename
        raise NanoGPTError(
            f"{folder} has no {filename}",
            "name a folder written by GPT2LMHeadModel.save_pretrained, or a hub id such as gpt2",
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    # What goes wrong is said once, by the error below.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    repository = HUB_IDS.get(name, name)
    try:
        return Path(hf_hub_download(repository, filename))
    except HFValidationError:
        raise NanoGPTError(
            f"{name!r} is neither a folder nor a name on the Hugging Face hub",
            "use --init-from scratch, gpt2, gpt2-medium, gpt2-large, gpt2-xl, owner/name or a folder",
        ) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NanoGPTError(
            f"{filename} of {repository} could not be had from the Hugging Face hub ({reason})",
            "check the name and the network, or download it elsewhere and use --init-from FOLDER",
        ) from None
