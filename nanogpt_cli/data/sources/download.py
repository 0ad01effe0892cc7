"""A file from the web, checked and whole: what a broken connection left is taken up again by the next try.

`urllib` reads the proxy settings of the environment (http_proxy, https_proxy, no_proxy) by itself.
"""

import contextlib
import http.client
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nanogpt_cli import files
from nanogpt_cli.errors import NanoGPTError, os_reason
from nanogpt_cli.events import Progress, Reporter

_CHUNK_BYTES: Final = 1 << 18
_TIMEOUT_SECONDS: Final = 20
_TRIES: Final = 3  # in a row without one new byte
_WAIT_SECONDS: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Download:
    """One file that never changes: where it is, and what it must be."""

    url: str
    bytes: int
    sha256: str


def fetch(download: Download, target: Path, reporter: Reporter, *, by_hand: str) -> Path:
    """`target`, downloaded unless it is there already; `by_hand` is what to do where that cannot be done.

    The file grows under the name `target` + `.part`, where an interrupted download is resumed, and is moved
    to `target` only when its checksum is right. Raises NanoGPTError.
    """
    if _is_whole(target, download):
        return target
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        resumed = part.exists()
        _complete(download, part, reporter, by_hand)
        if resumed and not _is_whole(part, download):
            part.unlink()  # what lay there was the beginning of something else
            _complete(download, part, reporter, by_hand)
        if not _is_whole(part, download):
            part.unlink()
            raise NanoGPTError(
                f"what {download.url} gave is not the file that it should be (its SHA-256 differs)", by_hand
            )
        files.fsync_file(part)
        part.replace(target)
        files.fsync_directory(target.parent)
    except OSError as error:  # of the disk: those of the network end in _complete
        raise NanoGPTError(
            f"{target} cannot be written: {os_reason(error)}",
            f"set NANOGPT_CACHE_DIR to a folder that can be written; or {by_hand}",
        ) from None
    return target


def _complete(download: Download, part: Path, reporter: Reporter, by_hand: str) -> None:
    """Fetch what `part` lacks, again after a lost connection; each try goes on where the last one ended."""
    failures = 0
    while (have := _size(part)) < download.bytes:
        reason = "the connection was lost"
        try:
            _fetch_rest(download, part, reporter)
        except _NoAnswer as answer:
            reason = str(answer)
        failures = 0 if _size(part) > have else failures + 1
        if failures == _TRIES:
            raise NanoGPTError(f"{download.url} could not be downloaded: {reason}", by_hand)
        if failures:
            time.sleep(_WAIT_SECONDS * failures)


class _NoAnswer(Exception):
    """The network or the server gave nothing more; the text says why, as a sentence goes on."""


def _fetch_rest(download: Download, part: Path, reporter: Reporter) -> None:
    """One request for the bytes that `part` lacks; a server without ranges starts from the first."""
    have = _size(part)
    with contextlib.closing(_request(download.url, have)) as response:
        goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT
        with part.open("ab" if goes_on else "wb") as file:
            done = have if goes_on else 0
            # One byte more than there should be: enough to see that it is another file.
            while chunk := _read(response, min(_CHUNK_BYTES, download.bytes + 1 - done)):
                file.write(chunk)
                done += len(chunk)
                reporter.emit(Progress(task="downloading", done=done, total=download.bytes, unit="bytes"))


def _request(url: str, start: int) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "nanogpt-cli"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        raise _NoAnswer(f"the server answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        cause = error.reason
        raise _NoAnswer(os_reason(cause) if isinstance(cause, OSError) else str(cause)) from None
    except (http.client.HTTPException, OSError) as error:  # the line went dead before the headers were here
        raise _NoAnswer(str(error) or type(error).__name__) from None
    return response


def _read(response: http.client.HTTPResponse, size: int) -> bytes:
    try:
        return response.read(size)
    except (http.client.HTTPException, OSError) as error:
        raise _NoAnswer(str(error) or type(error).__name__) from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_whole(path: Path, download: Download) -> bool:
    return _size(path) == download.bytes and files.sha256_file(path) == download.sha256
