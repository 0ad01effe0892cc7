"""A dataset of the `datasets` library as a source: its text column, read in Arrow batches."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from nanogpt_cli.data.sources.base import SourceOptions, pieces
from nanogpt_cli.data.sources.columns import LISTS, OBJECTS, TEXT
from nanogpt_cli.data.sources.table_rows import RowCounter
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Reporter

_BATCH_ROWS: Final = 1000  # what `datasets` writes as one Arrow batch, too
_BUFFER_BYTES: Final = 1 << 20
_TEXT_TYPES: Final = ("string", "large_string", "string_view")

Batches = Callable[[], Iterator[Any]]  # each call: the text column from its start, as pyarrow arrays


class DatasetRows:
    """One document a row; rows without text are skipped, and said."""

    collection = True

    def __init__(
        self,
        batches: Batches,
        *,
        column: str,
        called: str,
        label: str,
        dataset_name: str,
        kind: str,
        repeatable: bool,
        size_bytes: int | None,
        options: SourceOptions,
        reporter: Reporter,
    ) -> None:
        self.label = label
        self.dataset_name = dataset_name
        self.kind = kind
        self.repeatable = repeatable
        self.size_bytes = size_bytes
        self.done_bytes = 0
        self._batches = batches
        self._column = column
        self._called = called  # in messages: what the user typed
        self._options = options
        self._reporter = reporter

    def documents(self) -> Iterator[Iterator[str]]:
        """Each row's text; raises NanoGPTError for text that is not UTF-8, and where the data give out."""
        self.done_bytes = 0
        counter = RowCounter(self._column, self._called)
        for batch in self._batches():
            for text in self._texts(batch):
                if counter.keeps(text):
                    yield pieces(text or "")
            self.done_bytes += batch.nbytes
        counter.report(self._reporter)

    def _texts(self, batch: Any) -> list[str | None]:
        try:
            texts: list[str | None] = batch.to_pylist()
        except UnicodeDecodeError:
            texts = self._decoded(batch)
        return texts

    def _decoded(self, batch: Any) -> list[str | None]:
        """Arrow does not check that its strings are UTF-8, and some Parquet files hold others."""
        raws: list[bytes | None] = batch.cast("large_binary").to_pylist()
        try:
            return [None if raw is None else raw.decode(errors=self._options.errors) for raw in raws]
        except UnicodeDecodeError as error:
            excerpt = error.object[max(0, error.start - 20) : error.start].decode(errors="replace")
            raise NanoGPTError(
                f"column {self._column!r} of {self._called} is not UTF-8: "
                f"byte 0x{error.object[error.start]:02X} after {excerpt!r}",
                "put U+FFFD in its place: add --errors replace",
            ) from None


def kinds_of(features: Mapping[str, Any]) -> dict[str, str]:
    """What each column holds, in the words of `columns`: `TEXT`, `LISTS`, `OBJECTS` or the type's name."""
    return {name: _kind(feature) for name, feature in features.items()}


def _kind(feature: Any) -> str:
    if isinstance(feature, dict):
        return OBJECTS
    if isinstance(feature, list) or type(feature).__name__ in ("List", "LargeList", "Sequence"):
        return LISTS
    kind = getattr(feature, "dtype", None)
    if type(feature).__name__ == "Value":
        return TEXT if kind in _TEXT_TYPES else str(kind)
    return type(feature).__name__


def arrow_file_batches(paths: list[str], column: str) -> Iterator[Any]:
    """The column of Arrow files that `datasets` wrote, read without mapping them: memory stays constant.

    A memory map would do as well, but every page that has been read counts as memory of this process.
    """
    import pyarrow as pa

    for path in paths:
        with pa.OSFile(path) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                yield from _slices(batch.column(column))


def streamed_batches(builder: Any, split: str, column: str) -> Batches:
    """How to read a split where it lies, in files here or on the hub, without a copy."""
    read_thriftily(builder)
    if type(builder.config).__name__ == "ParquetConfig":
        builder.config.columns = [column]  # Parquet: only this column is read, and travels
    dataset = builder.as_streaming_dataset(split=split)
    return lambda: dataset_batches(dataset, column)


def read_thriftily(builder: Any) -> None:
    """Small batches, and nothing read ahead: left alone, memory grows with a Parquet file's size."""
    config = builder.config
    if type(config).__name__ == "CsvConfig":
        config.chunksize = _BATCH_ROWS  # rows, and a document can be long
    if type(config).__name__ == "ParquetConfig":
        config.batch_size = _BATCH_ROWS
        if hasattr(config, "fragment_scan_options"):  # since version 4.2
            import pyarrow.dataset

            # Reading ahead keeps what was read until the end of the file.
            config.fragment_scan_options = pyarrow.dataset.ParquetFragmentScanOptions(
                use_buffered_stream=True, buffer_size=_BUFFER_BYTES, pre_buffer=False
            )


def stored_batches(dataset: Any, column: str, *, whole: bool, max_docs: int | None) -> tuple[Batches, int]:
    """How to read a Dataset that lies in Arrow files, and how many bytes of its column there are to read.

    `whole`: it is all the rows of its files, in their order.
    """
    rows = min(len(dataset), max_docs or len(dataset))
    size_bytes = dataset.data.column(column).nbytes * rows // max(1, len(dataset))
    paths = [file["filename"] for file in dataset.cache_files]
    if whole and paths:
        return (lambda: arrow_file_batches(paths, column)), size_bytes
    return (lambda: dataset_batches(dataset, column)), size_bytes


def dataset_batches(dataset: Any, column: str) -> Iterator[Any]:
    """The column of a Dataset or IterableDataset."""
    for table in dataset.select_columns([column]).with_format("arrow").iter(batch_size=_BATCH_ROWS):
        yield from table.column(column).chunks


def _slices(array: Any) -> Iterator[Any]:
    """Arrays of at most `_BATCH_ROWS`: a writer is free to make one batch of a whole file."""
    for start in range(0, len(array), _BATCH_ROWS):
        yield array.slice(start, _BATCH_ROWS)
