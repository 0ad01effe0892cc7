"""Many texts as one source: a folder, a glob, or several names on one command line."""

import itertools
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from nanogpt_cli.data.sources.base import Source, SourceOptions
from nanogpt_cli.data.sources.names import readable, safe_name
from nanogpt_cli.data.sources.text_file import name_after
from nanogpt_cli.data.sources.walk import Walk
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Notice, Reporter


class OpensFiles(Protocol):
    """Makes sources of files that were found."""

    def open_found(self, path: Path) -> Source: ...


class Folder:
    """The texts of a folder, or those that a glob finds; found once, opened one after the other."""

    collection = True
    repeatable = True

    def __init__(
        self,
        root: Path,
        options: SourceOptions,
        reporter: Reporter,
        opener: OpensFiles,
        *,
        glob: str | None = None,
    ) -> None:
        """Walks the folder and reports what was skipped; raises NanoGPTError where there is no text."""
        self.kind = "folder" if glob is None else "files"
        self.label = readable(str(root if glob is None else root / glob))
        self.dataset_name = name_after(root)
        self._root = root
        self._opener = opener
        walk = Walk(root, options, only=glob)
        self._paths = list(walk.texts())
        self.size_bytes: int | None = walk.size_bytes
        self._finished_bytes = 0
        self._current: Source | None = None
        self._report(walk, options, reporter)

    def _report(self, walk: Walk, options: SourceOptions, reporter: Reporter) -> None:
        told = walk.told()
        if not self._paths:
            skipped = f" (skipped: {told})" if told else ""
            wanted = " that --include and --exclude leave" if options.include or options.exclude else ""
            raise NanoGPTError(
                f"there is no text{wanted} in {self.label}{skipped}",
                "check the path and the globs, or try: nanogpt prepare python-docs",
            )
        count = f"{len(self._paths):,} file{'s' * (len(self._paths) > 1)} of text"
        reporter.emit(Notice(message=f"{self.label}: {count}" + (f"; skipped: {told}" if told else "")))

    @property
    def done_bytes(self) -> int:
        """Bytes read so far, of all files together."""
        return self._finished_bytes + (self._current.done_bytes if self._current else 0)

    def documents(self) -> Iterator[Iterator[str]]:
        """Each file's documents; an error in one tells how to go on without it."""
        self._finished_bytes, self._current = 0, None
        for path in self._paths:
            full = self._root / path
            try:
                self._current = self._opener.open_found(full)
                for document in self._current.documents():
                    yield self._guarded(document, path)
            except NanoGPTError as error:
                raise self._with_way_out(error, path) from None
            self._finished_bytes += self._current.size_bytes or 0
            self._current = None

    def _guarded(self, document: Iterator[str], path: str) -> Iterator[str]:
        try:
            yield from document
        except NanoGPTError as error:
            raise self._with_way_out(error, path) from None

    def _with_way_out(self, error: NanoGPTError, path: str) -> NanoGPTError:
        way_out = f"--exclude {shlex.quote(readable(path))}"
        if way_out in error.hint:
            return error
        return type(error)(error.message, f"{error.hint}; or leave it out: {way_out}", details=error.details)


class Several:
    """Sources named together, in the order they were named."""

    kind = "files"
    collection = True

    def __init__(self, names: Sequence[str], sources: Sequence[Source]) -> None:
        self.label = _label(names)
        self.dataset_name = _common_name(names, sources)
        self.repeatable = all(source.repeatable for source in sources)
        self._sources = sources
        self._under_way = 0  # which of them is being read

    @property
    def size_bytes(self) -> int | None:
        """The bytes of all; None where one does not know."""
        sizes = [source.size_bytes for source in self._sources]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def done_bytes(self) -> int:
        """Bytes read so far, of all together."""
        return sum(source.done_bytes for source in self._sources[: self._under_way + 1])

    def documents(self) -> Iterator[Iterator[str]]:
        """All documents of the first, then all of the second, and so on."""
        for place, source in enumerate(self._sources):
            self._under_way = place
            yield from source.documents()


class FirstDocuments:
    """The first so many documents of a source, for `--max-docs`."""

    size_bytes: int | None = None  # nobody knows where the last of them ends

    def __init__(self, source: Source, most: int) -> None:
        self.label = source.label
        self.dataset_name = source.dataset_name
        self.kind = source.kind
        self.collection = source.collection
        self.repeatable = source.repeatable
        self._source = source
        self._most = most

    @property
    def done_bytes(self) -> int:
        """Bytes read so far."""
        return self._source.done_bytes

    def documents(self) -> Iterator[Iterator[str]]:
        """As many as there are, up to the limit."""
        return itertools.islice(self._source.documents(), self._most)


def _label(names: Sequence[str]) -> str:
    shown = " ".join(names[:3])
    return readable(shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more")


def _common_name(names: Sequence[str], sources: Sequence[Source]) -> str:
    """The folder that all lie in, where it has a name; else their own names together."""
    folders = {Path(name).parent for name in names if Path(name).exists()}
    if len(folders) == 1 and all(Path(name).exists() for name in names):
        (folder,) = folders
        if folder != Path():
            return name_after(folder)
    own = [source.dataset_name for source in sources]
    return safe_name("-".join(own) if len(own) <= 3 else f"{own[0]}-and-{len(own) - 1}-more")[:100]
