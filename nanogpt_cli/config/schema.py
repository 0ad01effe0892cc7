"""The one schema of a training run: every setting's name, type, default, range, group and meaning.

Flags, TOML keys, environment variables, `--help` panels and README tables are all derived from the
fields of `TrainConfig`; nothing else in the house lists settings. Names, meanings and defaults are
nanoGPT's where it has one (https://github.com/karpathy/nanoGPT, train.py); "auto" stands where nanoGPT
assumed an A100.
"""

import dataclasses
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

Value = bool | int | float | str
AUTO: Final = 0  # batch_size while the program has yet to choose it; written "auto"

GROUPS: Final = (
    "Run",
    "Data",
    "Model",
    "Optimizer",
    "Learning rate",
    "Evaluation and logging",
    "Checkpoints",
    "System",
)


def _setting(
    default: Value,
    group: str,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    short: str | None = None,
    auto: Value | None = None,
) -> Any:  # a dataclass field, which typing knows as the field's own type
    """Declare one setting: `low` and `high` bound its values, `short` is a second flag for it.

    `auto` is the number that stands for the word "auto", where the program can choose.
    """
    metadata = {"group": group, "help": help, "low": low, "high": high, "short": short, "auto": auto}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Every setting of a training run; `contradictions` checks them together."""

    # --- Run
    out_dir: str = _setting("", "Run", "folder of this run; empty: out/<dataset>-<preset>")
    init_from: str = _setting(
        "scratch",
        "Run",
        "scratch, resume, gpt2[-medium|-large|-xl], or a Hugging Face GPT-2 folder",
    )
    max_iters: int = _setting(600000, "Run", "training iterations in all", low=0)
    eval_only: bool = _setting(False, "Run", "evaluate once, then exit")
    seed: int = _setting(1337, "Run", "fixes initialisation, batches and dropout", low=0, high=2**31 - 1)
    # --- Data
    dataset: str = _setting("", "Data", "name under data/ or a folder; empty: the newest prepared")
    batch_size: int = _setting(
        12, "Data", "sequences per micro-batch of one process", low=1, high=2**20, auto=AUTO
    )
    block_size: int = _setting(1024, "Data", "context length in tokens", low=1, high=2**20)
    gradient_accumulation_steps: int = _setting(
        40, "Data", "micro-batches per iteration over all processes", low=1
    )
    data_order: Literal["random", "shuffle"] = _setting(
        "random", "Data", "random windows, as nanoGPT; shuffle: every window once per epoch"
    )
    # --- Model
    arch: Literal["gpt2", "nanochat"] = _setting(
        "gpt2", "Model", "gpt2, as nanoGPT; nanochat: rotary, RMSNorm, ReLU², no biases"
    )
    n_layer: int = _setting(12, "Model", "transformer blocks", low=1, high=1000)
    n_head: int = _setting(12, "Model", "attention heads; must divide n_embd", low=1, high=1024)
    n_embd: int = _setting(768, "Model", "width of the residual stream", low=1, high=65536)
    dropout: float = _setting(0.0, "Model", "0 to pretrain; 0.1 or more to finetune", low=0, high=0.99)
    bias: bool = _setting(False, "Model", "biases in LayerNorm and Linear, as GPT-2 has")
    ngram_order: int = _setting(
        0, "Model", "nanochat: embeddings of the last 2 to N tokens together; 0: none", low=0, high=16
    )
    ngram_rows: int = _setting(131072, "Model", "rows of the table of n-grams", low=1, high=2**28)
    ngram_dropout: float = _setting(
        0.0, "Model", "share of tokens that train without their n-grams", low=0, high=0.99
    )
    # --- Optimizer
    optimizer: Literal["adamw", "muon"] = _setting(
        "adamw", "Optimizer", "muon: Muon for the blocks' matrices, AdamW for the rest"
    )
    weight_decay: float = _setting(0.1, "Optimizer", "decay of matrices", low=0)
    beta1: float = _setting(0.9, "Optimizer", "AdamW's momentum", low=0, high=0.99999)
    beta2: float = _setting(0.95, "Optimizer", "AdamW's second moment", low=0, high=0.99999)
    grad_clip: float = _setting(1.0, "Optimizer", "clip the gradient norm here; 0: never", low=0)
    muon_momentum: float = _setting(
        0.95, "Optimizer", "Muon's momentum, from 0.85 over 300 iterations", low=0, high=0.999
    )
    muon_steps: int = _setting(5, "Optimizer", "Newton-Schulz rounds; 3 suit small models", low=1, high=10)
    ngram_lr: float = _setting(0.02, "Optimizer", "rate of the n-gram table, whatever the optimizer", low=0)
    embedding_lr: float = _setting(0.02, "Optimizer", "AdamW's rate for embeddings beside Muon", low=0)
    head_lr: float = _setting(0.005, "Optimizer", "AdamW's rate for an untied head beside Muon", low=0)
    on_nonfinite: Literal["stop", "skip"] = _setting(
        "stop", "Optimizer", "at a NaN or infinity: stop, or skip the batch (10 in a row stop)"
    )
    # --- Learning rate
    learning_rate: float = _setting(6e-4, "Learning rate", "the highest rate", low=0)
    decay_lr: bool = _setting(True, "Learning rate", "warm up and decay; False: learning_rate throughout")
    lr_schedule: Literal["cosine", "linear", "wsd", "constant"] = _setting(
        "cosine", "Learning rate", "the decay's shape; wsd holds the rate and decays at the end"
    )
    cooldown_fraction: float = _setting(
        0.2, "Learning rate", "wsd: the share of lr_decay_iters that decays", low=0, high=1
    )
    warmup_iters: int = _setting(2000, "Learning rate", "iterations of linear warm-up", low=0)
    lr_decay_iters: int = _setting(600000, "Learning rate", "where the decay ends", low=0)
    min_lr: float = _setting(6e-5, "Learning rate", "the rate after the decay", low=0)
    # --- Evaluation and logging
    eval_interval: int = _setting(2000, "Evaluation and logging", "iterations between evaluations", low=1)
    eval_iters: int = _setting(200, "Evaluation and logging", "batches per split and evaluation", low=1)
    log_interval: int = _setting(1, "Evaluation and logging", "iterations between log lines", low=1)
    sample_interval: int = _setting(
        0, "Evaluation and logging", "iterations between samples of the model's text; 0: none", low=0
    )
    sample_tokens: int = _setting(80, "Evaluation and logging", "tokens of a sample", low=1, high=10000)
    sample_prompt: str = _setting("", "Evaluation and logging", "what samples go on from; empty: a new line")
    tensorboard_log: bool = _setting(
        False, "Evaluation and logging", "curves for TensorBoard in the run's folder", short="--tensorboard"
    )
    wandb_log: bool = _setting(
        False, "Evaluation and logging", "Weights & Biases; offline where no key is known", short="--wandb"
    )
    wandb_project: str = _setting("owt", "Evaluation and logging", "Weights & Biases project")
    wandb_run_name: str = _setting("gpt2", "Evaluation and logging", "Weights & Biases run name")
    trackio_log: bool = _setting(
        False, "Evaluation and logging", "curves for Trackio, on this machine", short="--trackio"
    )
    # --- Checkpoints
    always_save_checkpoint: bool = _setting(
        True, "Checkpoints", "save at every evaluation, not only when val loss improves"
    )
    save_interval: int = _setting(0, "Checkpoints", "also save every so many iterations; 0: no", low=0)
    save_minutes: float = _setting(0.0, "Checkpoints", "also save every so many minutes; 0: no", low=0)
    keep_checkpoints: int = _setting(2, "Checkpoints", "newest checkpoints kept beside the best", low=1)
    # --- System
    device: str = _setting("auto", "System", "auto, cpu, cuda, cuda:1, mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = _setting(
        "auto", "System", "auto takes the fastest that is safe on the device"
    )
    compile: bool | Literal["auto"] = _setting("auto", "System", "torch.compile; auto: where it pays")
    strategy: Literal["auto", "ddp", "fsdp"] = _setting(
        "auto", "System", "several processes: ddp, all weights in each; fsdp, divided among them"
    )
    backend: str = _setting("auto", "System", "torch.distributed backend: nccl, gloo; auto by device")
    deterministic: bool = _setting(
        False, "System", "on a GPU too, the same command gives the same weights bit by bit; slower"
    )
    threads: int = _setting(0, "System", "CPU threads; 0: as many as there are cores", low=0, high=1024)

    @property
    def ngram_params(self) -> int:
        """Parameters in the table of n-grams, which are looked up and not computed with; 0 without one."""
        return self.ngram_rows * self.n_embd if self.arch == "nanochat" and self.ngram_order >= 2 else 0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One field of `TrainConfig` as the command line, the loaders and the tables see it."""

    name: str
    kind: type  # bool, int, float or str: what a value is parsed as
    default: Value
    group: str
    help: str
    low: float | None
    high: float | None
    short: str | None  # a second flag, for people who type
    auto: Value | None  # what the word "auto" is read as; None: it is no value of this setting
    choices: tuple[str, ...]  # the only strings allowed, beside `kind`'s own values; empty: any

    @property
    def flag(self) -> str:
        """`--block-size`."""
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        """`NANOGPT_BLOCK_SIZE`."""
        return "NANOGPT_" + self.name.upper()

    @property
    def message_key(self) -> str:
        """Key of the long explanation in the message catalogues."""
        return f"config.{self.name}"

    @property
    def metavar(self) -> str:
        """What `--help` shows for the value: short, or the longest flag is cut off at 80 columns."""
        return {bool: "BOOL", int: "INT", float: "FLOAT", str: "TEXT"}[self.kind]

    def expects(self) -> str:
        """In words, for an error: `a whole number of at least 1`."""
        words = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
        if self.kind is str and self.choices:
            return "one of " + ", ".join(self.choices)
        word = () if self.auto is None else ("auto",)
        text = " or ".join([words[self.kind], *self.choices, *word])
        if self.low is not None and self.high is not None:
            return f"{text} from {self.low:.12g} to {self.high:.12g}"
        if self.low is not None:
            return f"{text} of at least {self.low:.12g}"
        return text

    def parse(self, raw: object) -> Value:
        """Turn a flag's or variable's text, or a TOML or Python literal, into this setting's type.

        Whole floats are accepted for integers and integers for floats (nanoGPT's `--learning_rate=1` died
        there). Raises ValueError whose text completes "<name> must be …".
        """
        if self.auto is not None and isinstance(raw, str) and raw.strip() == "auto":
            return self.auto
        value = self._convert(raw)
        if isinstance(value, float | int) and not isinstance(value, bool):
            # `not (>=)` also refuses NaN, for which every comparison is false.
            if self.low is not None and not value >= self.low:
                raise ValueError(f"{self.expects()}, not {raw}")
            if self.high is not None and not value <= self.high:
                raise ValueError(f"{self.expects()}, not {raw}")
            if value in (float("inf"), float("-inf")) or value != value:
                raise ValueError(f"finite, not {raw}")
        return value

    def _convert(self, raw: object) -> Value:
        text = raw.strip() if isinstance(raw, str) else None
        if text in self.choices:
            assert text is not None
            return text
        refusal = ValueError(f"{self.expects()}, not {raw!r}")
        if self.kind is str:
            if not isinstance(raw, str) or self.choices:
                raise refusal
            return raw
        if self.kind is bool:
            if isinstance(raw, bool):
                return raw
            lowered = (text or "").lower()
            if lowered in {"true", "1", "yes", "on"}:
                return True
            if lowered in {"false", "0", "no", "off"}:
                return False
            raise refusal
        if isinstance(raw, bool) or not isinstance(raw, str | int | float):
            raise refusal
        convert: Callable[[str | int | float], Value] = self._int if self.kind is int else float
        try:
            return convert(text if text is not None else raw)
        except (ValueError, OverflowError):
            raise refusal from None

    @staticmethod
    def _int(raw: str | int | float) -> int:
        try:
            return int(raw) if not isinstance(raw, float) else _whole(raw)
        except ValueError:
            return _whole(float(raw))  # "2e3"


def _whole(number: float) -> int:
    if not number.is_integer():
        raise ValueError(number)
    return int(number)


def _read_settings() -> dict[str, Setting]:
    hints = typing.get_type_hints(TrainConfig)
    settings = {}
    for item in dataclasses.fields(TrainConfig):
        kind, choices = _kind_and_choices(hints[item.name])
        assert item.metadata["group"] in GROUPS, item.name
        settings[item.name] = Setting(
            name=item.name, kind=kind, default=cast("Value", item.default), choices=choices, **item.metadata
        )
    return settings


def _kind_and_choices(hint: Any) -> tuple[type, tuple[str, ...]]:
    """bool | Literal["auto"] → (bool, ("auto",)); Literal["a", "b"] → (str, ("a", "b"))."""
    if isinstance(hint, type):
        return hint, ()
    if typing.get_origin(hint) is Literal:
        return str, typing.get_args(hint)
    assert typing.get_origin(hint) in (types.UnionType, typing.Union), hint
    plain = [part for part in typing.get_args(hint) if isinstance(part, type)]
    literal = [part for part in typing.get_args(hint) if typing.get_origin(part) is Literal]
    return plain[0], typing.get_args(literal[0])


SETTINGS: Final[dict[str, Setting]] = _read_settings()


_LOW_MUON_RATE: Final = 2e-3


def contradictions(config: TrainConfig) -> list[tuple[str, str]]:
    """Every combination of settings that cannot be trained, with what to type; empty when all is well."""
    if config.n_embd % config.n_head == 0:
        return _gpt2_contradictions(config) if config.arch == "gpt2" else _nanochat_contradictions(config)
    nearby = (n for away in range(config.n_head) for n in (config.n_head - away, config.n_head + away))
    nearest = next(n for n in nearby if config.n_embd % n == 0)  # 1 at the latest
    message = (
        f"n_embd = {config.n_embd} is not divisible by n_head = {config.n_head}: "
        "every head needs the same width"
    )
    return [(message, f"--n-head {nearest} divides it, or choose an --n-embd that is a multiple of n_head")]


def _gpt2_contradictions(config: TrainConfig) -> list[tuple[str, str]]:
    if config.ngram_order < 2:
        return []
    return [("n-gram embeddings are not part of GPT-2", "--arch nanochat has them, or --ngram-order 0")]


def _nanochat_contradictions(config: TrainConfig) -> list[tuple[str, str]]:
    if config.n_embd // config.n_head % 2 == 0:
        return []
    return [
        (
            f"heads of width {config.n_embd // config.n_head} are odd, and rotary positions turn pairs",
            f"--n-embd {config.n_embd + config.n_head}",
        )
    ]


def cautions(config: TrainConfig) -> list[str]:
    """Combinations nanoGPT accepts in silence although they are seldom meant, one line each."""
    found = []
    if config.optimizer == "muon" and config.learning_rate < _LOW_MUON_RATE:
        found.append(
            f"learning_rate {config.learning_rate:g} suits AdamW; Muon's usual one is 0.02, as its steps do "
            "not grow with the gradient"
        )
    if config.arch == "nanochat" and config.bias:
        found.append("bias is ignored: the nanochat architecture has none")
    if config.decay_lr and config.min_lr > config.learning_rate:
        found.append(
            f"min_lr {config.min_lr:g} is above learning_rate {config.learning_rate:g}: "
            "the rate will rise during the decay"
        )
    decays = config.decay_lr and config.lr_schedule != "constant"
    if decays and config.lr_decay_iters <= config.warmup_iters < config.max_iters:
        found.append(
            f"lr_decay_iters {config.lr_decay_iters} is not beyond warmup_iters {config.warmup_iters}: "
            "after the warm-up the rate drops to min_lr at once"
        )
    if config.decay_lr and config.max_iters <= config.warmup_iters and config.max_iters > 0:
        found.append(
            f"max_iters {config.max_iters} ends inside the warm-up of {config.warmup_iters} iterations: "
            "the full learning rate is never reached"
        )
    return found
