"""From what a command line names to one source that can be read."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from nanogpt_cli.data.sources.base import Source, SourceOptions
from nanogpt_cli.data.sources.encodings import check_encoding
from nanogpt_cli.data.sources.hub import open_hub
from nanogpt_cli.data.sources.kinds import Kind, kind_of, refuse_unused
from nanogpt_cli.data.sources.patterns import split_glob
from nanogpt_cli.data.sources.python_docs import PYTHON_DOCS, PythonDocs
from nanogpt_cli.data.sources.saved_dataset import open_saved_dataset
from nanogpt_cli.data.sources.several import FirstDocuments, Folder, Several
from nanogpt_cli.data.sources.shakespeare import open_shakespeare
from nanogpt_cli.data.sources.table_file import JSON, TableFile, table_suffix_of
from nanogpt_cli.data.sources.text_file import STDIN, StandardInput, TextFile
from nanogpt_cli.errors import NanoGPTError, UsageError
from nanogpt_cli.events import Event, Notice, NullReporter, Reporter, Warned

_MOST_NOTES = 20


def open_sources(
    names: Sequence[str],
    options: SourceOptions | None = None,
    reporter: Reporter | None = None,
    *,
    flag: str | None = None,
    beside: Sequence[str] = (),
) -> Source:
    """The source that `names` are together, given with `flag`; what cannot be read at all is an error here.

    An option that none of them has a use for is an error too, unless it is for those named `beside` them.
    """
    options = options or SourceOptions()
    if options.encoding is not None:
        options = dataclasses.replace(options, encoding=check_encoding(options.encoding))
    if options.max_docs is not None and options.max_docs < 1:
        raise UsageError(f"--max-docs must be at least 1, not {options.max_docs}", "--max-docs 1000")
    if not all(name.strip() for name in names):  # an unset "$FILE", which would mean the current folder
        raise UsageError("a source has an empty name", "nanogpt prepare input.txt")
    if [*names, *beside].count(STDIN) > 1:
        raise UsageError("standard input, -, can be read only once", "name - once")
    kinds = [kind_of(name, options, flag=flag) for name in names]
    refuse_unused(options, [*kinds, *(kind_of(name, options) for name in beside)], names)
    notes = _Notes(reporter or NullReporter())
    for name, kind in zip(names, kinds, strict=True):
        if kind is Kind.BUILTIN and Path(name).exists():
            notes.emit(Notice(message=f"{name} is the built-in corpus; the file or folder here is ./{name}"))
    sources = [_open(name, kind, options, notes) for name, kind in zip(names, kinds, strict=True)]
    source = sources[0] if len(sources) == 1 else Several(names, sources)
    return source if options.max_docs is None else FirstDocuments(source, options.max_docs)


def _open(name: str, kind: Kind, options: SourceOptions, reporter: Reporter) -> Source:
    match kind:
        case Kind.STDIN:
            return StandardInput(options, reporter)
        case Kind.BUILTIN:
            return PythonDocs() if name == PYTHON_DOCS else open_shakespeare(reporter)
        case Kind.SAVED_DATASET:
            return open_saved_dataset(Path(name), options, reporter)
        case Kind.HUB:
            return open_hub(name, options, reporter)
        case Kind.FOLDER | Kind.GLOB:
            folder, glob = split_glob(name) if kind is Kind.GLOB else (name, None)
            return Folder(Path(folder), options, reporter, _Opener(options, reporter), glob=glob)
        case Kind.TABLE | Kind.TEXT:
            return _Opener(options, reporter).open(Path(name))


class _Opener:
    """Opens files as texts or tables, and says which column is the text, once for tables alike."""

    def __init__(self, options: SourceOptions, reporter: Reporter) -> None:
        self._options = options
        self._reporter = reporter
        self._told: set[str] = set()

    def open(self, path: Path, *, found: bool = False) -> Source:
        """A file that was named, or one that was found in a folder."""
        suffix = table_suffix_of(path)
        if suffix is None:
            return TextFile(path, self._options, self._reporter)
        table = TableFile(path, suffix, self._options, self._reporter, one_of_many=found)
        self._tell(table)
        return table

    def open_found(self, path: Path) -> Source:
        """A file found in a folder, where .json is often no table but a text like any other."""
        try:
            return self.open(path, found=True)
        except NanoGPTError:
            if table_suffix_of(path) != JSON:
                raise
            if JSON not in self._told:
                self._told.add(JSON)
                message = f"{path} is no table of texts: it and others like it are taken as plain text"
                self._reporter.emit(Notice(message=message))
            return TextFile(path, self._options, self._reporter)

    def _tell(self, table: TableFile) -> None:
        if table.guessed_column and table.guessed_column not in self._told:
            self._told.add(table.guessed_column)
            column = f"column {table.guessed_column!r} of {table.label}"
            self._reporter.emit(Notice(message=f"the text is {column} (--text-column chooses another)"))


class _Notes:
    """Passes on what sources say, each note once though a source is read twice, and no flood of them."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._said: set[str] = set()

    def emit(self, event: Event) -> None:
        """Pass on an event, unless it repeats a note."""
        if isinstance(event, Notice | Warned):
            if event.message in self._said or len(self._said) > _MOST_NOTES:
                return
            self._said.add(event.message)
            if len(self._said) > _MOST_NOTES:
                event = Notice(message="more notes like these are left out")
        self._reporter.emit(event)

    def close(self) -> None:
        """The reporter stays open for others."""
