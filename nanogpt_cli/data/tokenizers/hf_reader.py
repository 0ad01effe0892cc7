"""Read a Hugging Face `tokenizer.json`: as ranks for tiktoken where that is provably the same, else as it is.

The format is that of the library `tokenizers` (https://huggingface.co/docs/tokenizers). A dataset must hold
the text it was made of, so a tokenizer that changes or loses text is refused with the reason. What only adds
to a text, or rewrites it without need, is left out, and said.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nanogpt_cli.data.tokenizers.bpe import BpeTokenizer
from nanogpt_cli.data.tokenizers.hf import HfTokenizer
from nanogpt_cli.data.tokenizers.hf_convert import PROBES, pattern_name, to_ranks
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Notice, Reporter

_SPLITTERS: Final = frozenset(
    {"ByteLevel", "Digits", "Punctuation", "Split", "Whitespace", "WhitespaceSplit"}
)
_CHANGES: Final = {
    "BertNormalizer": "it lowercases or strips accents",
    "Lowercase": "it lowercases",
    "NFKC": "it rewrites characters (NFKC)",
    "NFKD": "it rewrites characters (NFKD)",
    "NFD": "it takes characters apart (NFD)",
    "Nmt": "it drops control characters",
    "Precompiled": "it rewrites characters (a SentencePiece rule)",
    "Prepend": "it adds to the text",
    "Replace": "it replaces a part of the text",
    "Strip": "it strips white space",
    "StripAccents": "it strips accents",
}
# What ends a document, in the order of preference where a vocabulary has several.
_ENDS: Final = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "<｜end▁of▁sentence｜>")


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What is left of a tokenizer.json: the part that turns text into ids, and what was left out."""

    document: dict[str, Any]
    special_tokens: dict[str, int]
    end_of_text: int | None
    vocab_size: int
    blank: str
    left_out: tuple[str, ...]


def read_hf_tokenizer(path: Path, reporter: Reporter) -> BpeTokenizer | HfTokenizer:
    """The tokenizer of a tokenizer.json; raises NanoGPTError when it would lose text, or is damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        definition = _define(document, _named_end(path.parent))
        kept = _keep(definition)
        converted, reason = to_ranks(definition.document, kept)
    except _Unfit as error:
        raise NanoGPTError(
            f"{path} cannot be used: {error}",
            "train one on the text instead: nanogpt prepare input.txt --tokenizer bpe",
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NanoGPTError(
            f"{path} is not a tokenizer.json of Hugging Face's tokenizers ({type(error).__name__}: {error})",
            "save it again with transformers: AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)",
        ) from None
    for message in definition.left_out:
        reporter.emit(Notice(message=f"{path}: {message}"))
    if converted is None:
        reporter.emit(Notice(message=f"{path} is run by the library tokenizers, not tiktoken: {reason}"))
    return converted or kept


class _Unfit(Exception):
    """Why a tokenizer cannot hold every text."""


def _define(document: Any, named_end: str | None) -> Definition:
    if not isinstance(document, dict) or not isinstance(document.get("model"), dict):
        raise ValueError("it has no model")
    model = dict(document["model"])
    if (kind := model.get("type", "BPE")) != "BPE":
        raise _Unfit(f"it is a {kind} tokenizer, and only byte-pair ones (BPE) keep every byte of a text")
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise _Unfit("it marks the parts of words, and loses the spaces between words")
    left_out: list[str] = []
    blank = _blank(document, model)
    if blank:
        normalizer: object = {"type": "Replace", "pattern": {"String": " "}, "content": blank}
        splitter = None
        if any(n["type"] == "Prepend" for n in _flat(document.get("normalizer"))) or _prepends(document):
            left_out.append(
                "the space it puts before every text is left out, so that the text stays as it is"
            )
    else:
        normalizer, splitter = None, _splitter(document, left_out)
        _check_normalizers(document, left_out)
    added = {str(a["content"]): int(a["id"]) for a in document.get("added_tokens") or []}
    vocab = {str(token): int(i) for token, i in model["vocab"].items()}
    control = {a["content"] for a in document.get("added_tokens") or [] if a.get("special", True)}
    # An added token that is also a word of the vocabulary, and no control token, stays that word.
    special = {name: i for name, i in added.items() if name in control or vocab.get(name) != i}
    model["vocab"] = {token: i for token, i in vocab.items() if token not in special}
    model["merges"] = [m for m in map(_pair, model["merges"]) if not {*m, "".join(m)} & set(special)]
    model |= {"type": "BPE", "unk_token": None, "dropout": None}
    ends = [named for named in (*_ENDS, named_end) if named in special]
    return Definition(
        document={
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": normalizer,
            "pre_tokenizer": splitter,
            "post_processor": None,
            "decoder": None,
            "model": model,
        },
        special_tokens=special,
        end_of_text=special[ends[0]] if ends else None,
        vocab_size=max([*vocab.values(), *added.values()]) + 1,
        blank=blank,
        left_out=tuple(left_out),
    )


def _blank(document: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """The character for a space in a vocabulary of characters with byte fallback; "" for a byte-level one."""
    splitters = list(_flat(document.get("pre_tokenizer")))
    if any(part["type"] == "ByteLevel" for part in splitters):
        return ""
    signs = {part["replacement"] for part in splitters if part["type"] == "Metaspace"}
    for part in _flat(document.get("normalizer")):
        if part["type"] == "Replace" and part["pattern"] == {"String": " "}:
            signs.add(part["content"])
        elif part["type"] != "Prepend":
            raise _Unfit(_CHANGES.get(part["type"], f"it changes the text ({part['type']})"))
    if not model.get("byte_fallback"):
        raise _Unfit("its tokens are characters, and a character it does not know is lost")
    known = {"Metaspace"} | ({"Split"} if signs else set())  # Gemma splits at spaces that are signs by then
    if len(signs) != 1 or any(part["type"] not in known for part in splitters):
        raise _Unfit("it has byte fallback, but treats spaces in a way that loses some")
    return str(signs.pop())


def _prepends(document: Mapping[str, Any]) -> bool:
    spaces = [part for part in _flat(document.get("pre_tokenizer")) if part["type"] == "Metaspace"]
    return any(part.get("prepend_scheme", "always") != "never" for part in spaces)


def _splitter(document: Mapping[str, Any], left_out: list[str]) -> dict[str, Any]:
    """The pre-tokenizer without the space it may add before a text; what drops text is refused."""
    parts = []
    for part in _flat(document.get("pre_tokenizer")):
        if part["type"] not in _SPLITTERS:
            raise _Unfit(f"its splitting of words ({part['type']}) may drop what lies between them")
        if part.get("behavior") == "Removed":
            if not part.get("invert") or pattern_name(part["pattern"].get("Regex")) is None:
                raise _Unfit("its splitting of words drops what lies between them")
            # What such a pattern matches is kept, and the known ones match everything.
            part = part | {"behavior": "Isolated", "invert": False}
        if part.get("add_prefix_space"):
            left_out.append(
                "the space it puts before every text is left out, so that the text stays as it is"
            )
            part = part | {"add_prefix_space": False}
        parts.append(part)
    return parts[0] if len(parts) == 1 else {"type": "Sequence", "pretokenizers": parts}


def _check_normalizers(document: Mapping[str, Any], left_out: list[str]) -> None:
    for part in _flat(document.get("normalizer")):
        if part["type"] != "NFC":
            raise _Unfit(_CHANGES.get(part["type"], f"it changes the text ({part['type']})"))
        left_out.append("its NFC normalization is left out, so that the text stays as it is")


def _flat(part: Any) -> Iterator[dict[str, Any]]:
    """A normalizer or pre-tokenizer as the list of its steps."""
    if part is None:
        return
    if part["type"] == "Sequence":
        for inner in part.get("normalizers") or part.get("pretokenizers") or []:
            yield from _flat(inner)
    else:
        yield dict(part)


def _pair(merge: Any) -> tuple[str, str]:
    # Both spellings exist: "a b" and ["a", "b"].
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return str(first), str(second)


def _keep(definition: Definition) -> HfTokenizer:
    """The tokenizer as the library runs it, seen to give texts back."""
    if definition.blank:
        missing = [b for b in range(256) if f"<0x{b:02X}>" not in definition.document["model"]["vocab"]]
        if missing:
            raise _Unfit(f"{len(missing)} of the 256 bytes have no id, and texts would lose characters")
    try:
        kept = HfTokenizer(
            json.dumps(definition.document, separators=(",", ":")),
            vocab_size=definition.vocab_size,
            special_tokens=definition.special_tokens,
            end_of_text=definition.end_of_text,
            blank=definition.blank,
        )
        for text in PROBES:
            if kept.decode(kept.encode(text)) != text:
                raise _Unfit(f"it does not give back the text {text[:20]!r}")
    except ValueError as error:
        raise _Unfit(str(error)) from None
    except (KeyError, TypeError, AttributeError, _Unfit):
        raise
    except Exception as error:  # the library raises plain Exceptions for definitions it cannot build
        raise ValueError(str(error)) from None
    return kept


def _named_end(folder: Path) -> str | None:
    """The end-of-text token that a tokenizer_config.json beside the file names."""
    try:
        named = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))["eos_token"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the file is not needed
    return named.get("content") if isinstance(named, dict) else named
