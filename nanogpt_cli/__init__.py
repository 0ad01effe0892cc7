"""nanogpt: train, evaluate, sample and explain GPT models, from the command line or from Python.

The public names are loaded on first use, so that `import nanogpt_cli` costs neither torch nor numpy.
"""

from importlib import import_module

__version__ = "0.1.0"

_PUBLIC = {
    "NanoGPTError": "nanogpt_cli.errors",
    "TrainConfig": "nanogpt_cli.config.schema",
    "evaluate": "nanogpt_cli.engine.evaluate",
    "explain_log": "nanogpt_cli.explain.report",
    "generate": "nanogpt_cli.engine.generate",
    "load_config": "nanogpt_cli.config.load",
    "load_run": "nanogpt_cli.engine.runs",
    "prepare": "nanogpt_cli.data.prepare",
    "train": "nanogpt_cli.engine.train",
}
__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
