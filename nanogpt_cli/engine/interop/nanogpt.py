"""nanoGPT's `ckpt.pt`: model, AdamW and progress of a nanoGPT run, read without running anything in it.

The file is a pickle of {model, optimizer, model_args, iter_num, best_val_loss, config} (nanoGPT, train.py);
torch's `weights_only` unpickler builds nothing but tensors and plain values. Parameter names are ours, but a
compiled model puts `_orig_mod.` in front of them, DDP `module.`, and old versions saved the causal mask.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from nanogpt_cli.config.schema import SETTINGS, Value
from nanogpt_cli.data.nanogpt_folder import META_PKL, read_meta_pkl
from nanogpt_cli.data.tokenizers.base import TOKENIZER_FILE, Tokenizer, build_tokenizer, load_tokenizer
from nanogpt_cli.engine.checkpoint import Checkpoint, TrainState
from nanogpt_cli.engine.interop.shapes import differing_tensors, not_a_weight
from nanogpt_cli.engine.models.gpt2 import GPT2Config
from nanogpt_cli.engine.optim import decay_groups
from nanogpt_cli.errors import NanoGPTError, os_reason

CKPT: Final = "ckpt.pt"
_PREFIXES: Final = re.compile(r"^(?:_orig_mod\.|module\.)+")
# Of the run that was, not of its continuation here: nanoGPT, too, takes these from the command line.
_NOT_KEPT: Final = frozenset(
    {"out_dir", "init_from", "eval_only", "wandb_log", "device", "dtype", "compile", "backend"}
)
# OpenAI's ids, and their number rounded up to a multiple of 64 as nanoGPT does without a meta.pkl.
GPT2_VOCAB_SIZES: Final = frozenset({50257, 50304})


@dataclass(frozen=True, kw_only=True)
class NanoGPTCheckpoint(Checkpoint):
    """A checkpoint of nanoGPT's; `settings` are the keys of its train.py that mean something here."""

    settings: Mapping[str, Value]
    tensors: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]

    def weights(self) -> dict[str, Tensor]:
        """The model's tensors, on the CPU."""
        return dict(self.tensors)

    def restore_optimizer(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put AdamW's moments in place.

        nanoGPT's state numbers the parameters: first those that decay, then the others, each in the order of
        the model, which is the order here. A state of another shape (an edited train.py) is an error.
        """
        decay, no_decay = decay_groups(model)
        moments = self.optimizer.get("state", {})
        groups = [len(group.get("params", ())) for group in self.optimizer.get("param_groups", ())]
        if moments and groups != [len(decay), len(no_decay)]:
            raise self._foreign_optimizer()
        for index, parameter in enumerate((*decay, *no_decay)):
            entry = moments.get(index)
            if entry is None:  # saved before the first step
                continue
            if entry["exp_avg"].shape != parameter.shape:
                raise self._foreign_optimizer()
            optimizer.state[parameter] = {
                "step": torch.as_tensor(entry["step"], dtype=torch.float32),
                "exp_avg": entry["exp_avg"].to(parameter.device, torch.float32, copy=True),
                "exp_avg_sq": entry["exp_avg_sq"].to(parameter.device, torch.float32, copy=True),
            }

    def _foreign_optimizer(self) -> NanoGPTError:
        return NanoGPTError(
            f"the optimizer in {self.path} is not that of nanoGPT's train.py",
            f"start a new run from its weights: nanogpt train --init-from {self.path}",
        )


def find_ckpt(path: Path) -> Path | None:
    """The ckpt.pt meant by `path`, a file or nanoGPT's out_dir; None where there is none."""
    if path.is_file():
        return path if path.suffix in {".pt", ".pth"} else None
    return path / CKPT if (path / CKPT).is_file() else None


def read_ckpt(path: Path) -> NanoGPTCheckpoint:
    """Read a ckpt.pt; raises NanoGPTError for whatever is not a checkpoint of nanoGPT's train.py."""
    document = _load(path)
    try:
        weights = _weights(document["model"])
        arguments = dict(document["model_args"])
        model = GPT2Config(
            vocab_size=int(arguments["vocab_size"]),
            block_size=int(arguments["block_size"]),
            n_layer=int(arguments["n_layer"]),
            n_head=int(arguments["n_head"]),
            n_embd=int(arguments["n_embd"]),
            dropout=float(arguments.get("dropout", 0.0)),
            # The first versions had no such setting, and always biases.
            bias="transformer.h.0.ln_1.bias" in weights,
        )
        iter_num = int(document.get("iter_num", 0))
        best = document.get("best_val_loss")
        config = dict(document.get("config") or {})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _refusal(path, f"{type(error).__name__} {error}") from None
    if differing := differing_tensors(model, weights):
        raise _refusal(path, f"{len(differing)} tensors do not fit its model_args ({differing[0]})")
    settings = _settings({**arguments, **config})
    return NanoGPTCheckpoint(
        path=path,
        model=model,
        state=_state(iter_num, best, settings),
        dataset={"name": str(config.get("dataset", "")), "path": "", "tokenizer": "", "fingerprint": ""},
        settings=settings,
        tensors=weights,
        optimizer=document.get("optimizer") or {},
    )


def read_ckpt_settings(path: Path) -> dict[str, Value]:
    """The settings in a ckpt.pt, without reading its tensors; raises NanoGPTError as `read_ckpt`."""
    document = _load(path, mapped=True)
    try:
        return _settings({**document["model_args"], **(document.get("config") or {})})
    except TypeError as error:
        raise _refusal(path, f"{type(error).__name__} {error}") from None


def find_tokenizer(checkpoint: NanoGPTCheckpoint, data_root: Path = Path("data")) -> Tokenizer | None:
    """What its ids mean: by the data folder it was trained on, else GPT-2's where there are as many ids."""
    folder = data_root / str(checkpoint.settings.get("dataset", ""))
    if (folder / TOKENIZER_FILE).is_file():
        tokenizer: Tokenizer | None = load_tokenizer(folder)
    elif (folder / META_PKL).is_file():
        tokenizer = read_meta_pkl(folder / META_PKL).tokenizer
    elif checkpoint.model.vocab_size in GPT2_VOCAB_SIZES:
        return build_tokenizer("gpt2")
    else:
        return None
    fits = tokenizer is not None and tokenizer.vocab_size <= checkpoint.model.vocab_size
    return tokenizer if fits else None


def _load(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """The unpickled file; `mapped` leaves its tensors on the disk, which files before torch 1.6 cannot."""
    mapped = mapped and zipfile.is_zipfile(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles it will refuse anyway: one error says enough
            document = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError as error:
        raise NanoGPTError(f"{path} cannot be read: {os_reason(error)}", f"check it: ls -l {path}") from None
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError) as error:
        # Damaged, or it wants to build something else than tensors and plain values.
        raise _refusal(path, str(error).strip().splitlines()[0][:160] if str(error) else "damaged") from None
    if not isinstance(document, dict) or "model" not in document or "model_args" not in document:
        raise _refusal(path, "it has no model and model_args")
    return document


def _weights(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names, float32; the tied head is stored once, as wte."""
    renamed = {_PREFIXES.sub("", name): tensor for name, tensor in state_dict.items()}
    return {name: tensor.float() for name, tensor in renamed.items() if not not_a_weight(name)}


def _settings(config: Mapping[str, object]) -> dict[str, Value]:
    """What of nanoGPT's config means the same here; a value of another type than ours is left out."""
    settings: dict[str, Value] = {}
    for name, raw in config.items():
        if (setting := SETTINGS.get(name)) is None or name in _NOT_KEPT:
            continue
        try:
            settings[name] = setting.parse(raw)
        except ValueError:
            continue  # an edited train.py: the default holds
    return settings


def _state(iter_num: int, best: object, settings: Mapping[str, Value]) -> TrainState:
    best_val_loss = float(best) if isinstance(best, int | float | Tensor) and float(best) < 1e9 else None
    steps, block, batch = (
        int(settings.get(name, 0)) for name in ("gradient_accumulation_steps", "block_size", "batch_size")
    )
    return TrainState(
        iter_num=iter_num,
        tokens_seen=iter_num * steps * block * batch,
        best_val_loss=best_val_loss,
        # train.py saves only what it has just evaluated, and keeps that loss as the best.
        best_val_iter=iter_num if best_val_loss is not None else None,
    )


def _refusal(path: Path, reason: str) -> NanoGPTError:
    return NanoGPTError(
        f"{path} is not a checkpoint of nanoGPT's train.py: {reason}",
        "name its ckpt.pt or out_dir: nanogpt train --init-from out-shakespeare-char/ckpt.pt",
    )
