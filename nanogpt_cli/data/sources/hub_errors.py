"""What goes wrong between here and the Hugging Face hub, in one line, and what to type then.

`datasets` and `huggingface_hub` raise different classes from version to version (of requests, httpx and
their own), so an error is told by its status code, its words, and the errors it was raised from.
"""

import contextlib
import difflib
import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from nanogpt_cli.errors import NanoGPTError

PARQUET_REVISION: Final = "refs/convert/parquet"  # where the hub keeps its own Parquet copy of a dataset

_NETWORK_PACKAGES: Final = (
    "requests",
    "urllib3",
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "aiohttp",
    "ssl",
)
_DISK_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user wanted, for the commands in hints."""

    repository: str  # owner/name, or the path of a folder
    command: str  # nanogpt prepare owner/name …
    revision: str | None = None
    local: bool = False  # a folder on this computer


@contextlib.contextmanager
def explained(asked: Asked) -> Iterator[None]:
    """Turn whatever the libraries raise in the block into a NanoGPTError."""
    try:
        yield
    except NanoGPTError:
        raise
    # Nothing else here is ours: the block holds calls of the libraries only, which raise what they please.
    except Exception as error:
        raise explain(error, asked) from error


def explain(error: BaseException, asked: Asked) -> NanoGPTError:
    """The user's version of a library's error."""
    chain = list(_chain(error))
    words = "\n".join(str(link) for link in chain)
    status = next((code for link in chain if (code := _status(link)) is not None), None)
    judges = (_content,) if asked.local else (_script, _access, _absent, _disk, _unreachable, _content)
    for judge in judges:
        if (found := judge(asked, chain, words, status)) is not None:
            return found
    cause = next((link for link in chain if link.__cause__ is None and link.__context__ is None), error)
    return NanoGPTError(
        f"{asked.repository} could not be loaded ({type(cause).__name__}: {_first_line(cause)})",
        f"look at its files, {_page(asked)}; datasets.load_dataset({asked.repository!r}) in Python says more",
    )


def _script(
    asked: Asked, _chain: list[BaseException], words: str, _status: int | None
) -> NanoGPTError | None:
    if "trust_remote_code" not in words and not re.search(r"[Dd]ataset scripts? (are|is) no longer", words):
        return None
    return script_error(asked)


def script_error(asked: Asked) -> NanoGPTError:
    """The error for a dataset that only its own code can make."""
    return NanoGPTError(
        f"{asked.repository} is a program that makes its data (a dataset script), which is never run here",
        f"take the hub's Parquet copy of it: {asked.command} --revision {PARQUET_REVISION}",
    )


def _access(asked: Asked, chain: list[BaseException], words: str, status: int | None) -> NanoGPTError | None:
    from huggingface_hub import get_token

    gated = any(type(link).__name__ == "GatedRepoError" for link in chain) or "gated dataset" in words
    token = get_token()
    if "Invalid credentials" in words or "Invalid user token" in words or (status == 401 and token):
        return NanoGPTError(
            f"the Hugging Face hub does not accept your token ({_masked(token)})",
            f"take a valid one from {_endpoint()}/settings/tokens: export HF_TOKEN=hf_… (or unset HF_TOKEN)",
        )
    if gated and token:
        return NanoGPTError(
            f"{asked.repository} is gated, and your token's owner has no access to it",
            f"ask for access on {_page(asked)}, then run the same command again",
        )
    if gated:
        return NanoGPTError(
            f"{asked.repository} is gated: only users who were given access can read it",
            f"ask for access on {_page(asked)}, then: export HF_TOKEN=hf_… "
            f"(from {_endpoint()}/settings/tokens)",
        )
    if status == 403:
        return NanoGPTError(
            f"the Hugging Face hub refuses to give {asked.repository} (403)",
            f"see who may read it: {_page(asked)}, and your token's rights: {_endpoint()}/settings/tokens",
        )
    return None


def _absent(asked: Asked, chain: list[BaseException], words: str, _status: int | None) -> NanoGPTError | None:
    names = {type(link).__name__ for link in chain}
    if "RevisionNotFoundError" in names or "Invalid rev id" in words:
        wanted = asked.revision or "main"
        others = "leave out --revision"
        if wanted == PARQUET_REVISION:
            others = (
                f"the hub has made no Parquet copy of it; look for another dataset on {_endpoint()}/datasets"
            )
        return NanoGPTError(f"{asked.repository} has no revision {wanted!r}", others)
    if names & {"RepositoryNotFoundError"} or "doesn't exist on the Hub" in words:
        return _not_found(asked)
    return None


def _not_found(asked: Asked) -> NanoGPTError:
    from huggingface_hub import get_token

    private = "" if get_token() else "; a private one needs a token: export HF_TOKEN=hf_…"
    near = _near_names(asked.repository)
    if near:
        hint = f"did you mean {', '.join(near)}? nanogpt prepare {near[0]}{private}"
    else:
        hint = f"check the name on {_endpoint()}/datasets{private}"
    return NanoGPTError(
        f"there is no dataset {asked.repository} on the Hugging Face hub, or it is private", hint
    )


def _near_names(repository: str) -> list[str]:
    """Names like this one: of the same owner, or with the same last part."""
    from huggingface_hub import HfApi

    owner, _, name = repository.rpartition("/")
    try:
        found = {info.id for info in HfApi().list_datasets(search=name, limit=20)}
        if owner:
            found |= {info.id for info in HfApi().list_datasets(author=owner, limit=200)}
    # A search that fails only costs the suggestion; the error that is being explained is another.
    except Exception:
        return []

    def likeness(other: str) -> float:
        return difflib.SequenceMatcher(None, repository.lower(), other.lower()).ratio()

    def names_alike(other: str) -> bool:
        last = other.rpartition("/")[2].lower()
        return difflib.SequenceMatcher(None, name.lower(), last).ratio() > 0.7

    return sorted(filter(names_alike, found), key=lambda other: (-likeness(other), other))[:3]


def _disk(asked: Asked, chain: list[BaseException], words: str, _status: int | None) -> NanoGPTError | None:
    reasons = [link for link in chain if isinstance(link, OSError) and link.errno in _DISK_ERRORS]
    if not reasons and "Not enough disk space" not in words:
        return None
    why = (reasons[0].strerror or "").lower() if reasons else _first_line(chain[0])
    return NanoGPTError(
        f"{asked.repository} cannot be stored in {_cache()}: {why}",
        f"set HF_HOME to a folder with room, or read without storing: {asked.command} --streaming",
    )


def _unreachable(
    asked: Asked, chain: list[BaseException], words: str, status: int | None
) -> NanoGPTError | None:
    if (
        "OfflineModeIsEnabled" in words + " ".join(type(link).__name__ for link in chain)
        or "offline" in words
    ):
        return NanoGPTError(
            f"{asked.repository} is not in {_cache()}, and HF_HUB_OFFLINE forbids to download it",
            f"once, with a network: HF_HUB_OFFLINE=0 {asked.command}",
        )
    if status is not None and (status == 429 or status >= 500):
        what = "asks for patience (429, too many requests)" if status == 429 else f"has a fault ({status})"
        return NanoGPTError(
            f"the Hugging Face hub {what}",
            "run the same command again in some minutes; what is downloaded already is kept",
        )
    network = [link for link in chain if _is_network(link)]
    if not network:
        return None
    reason = _first_line(network[-1])
    return NanoGPTError(
        f"{asked.repository} could not be read from {_endpoint()}: "
        f"{'no connection' if reason.startswith('Couldn') else reason}",
        "check the network (HTTPS_PROXY; HF_ENDPOINT for a mirror) and run it again: whole files are kept",
    )


def _content(
    asked: Asked, chain: list[BaseException], words: str, _status: int | None
) -> NanoGPTError | None:
    names = {type(link).__name__ for link in chain}
    if names & {"DataFilesNotFoundError", "EmptyDatasetError"}:
        return NanoGPTError(
            f"{asked.repository} holds no data files that can be read (parquet, jsonl, csv, arrow, txt …)",
            f"look at its files: {_page(asked)}",
        )
    if "DatasetGenerationCastError" in names or "CastError" in names:
        return NanoGPTError(
            f"the files of {asked.repository} do not all have the same columns",
            "name the files that belong together one by one: nanogpt prepare FILE..."
            if asked.local
            else f"choose a configuration (--config), or read its files in turn: {asked.command} --streaming",
        )
    missing = next((link for link in chain if isinstance(link, ImportError)), None)
    if missing is not None:
        package = missing.name or _first_line(missing)
        return NanoGPTError(
            f"{asked.repository} needs the Python package {package} to be read", f"pip install {package}"
        )
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all it was raised from, also where the library hides that (`from None`)."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [other for other in (link.__cause__, link.__context__) if other is not None]


def _status(error: BaseException) -> int | None:
    code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) and code >= 400 else None


def _is_network(error: BaseException) -> bool:
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, ConnectionError | TimeoutError) or package in _NETWORK_PACKAGES


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _masked(token: str | None) -> str:
    return f"{token[:5]}…" if token else "HF_TOKEN"


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _cache() -> str:
    from datasets import config

    return str(config.HF_DATASETS_CACHE)


def _page(asked: Asked) -> str:
    return asked.repository if asked.local else f"{_endpoint()}/datasets/{asked.repository}"
