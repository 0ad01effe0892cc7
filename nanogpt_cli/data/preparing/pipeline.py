"""Work on a stream with several threads, in constant memory and in the order of the stream.

Threads, not processes: tiktoken, numpy, hashlib and file writes release the interpreter's lock, so a core
each is busy, and texts need not be copied to another process and back.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_MOST_THREADS: Final = 32  # beyond that the one reader is the limit, and only memory grows
_LANE_DEPTH: Final = 4  # jobs that may wait: enough to smooth, little to hold in memory


def thread_count(asked: int | None) -> int:
    """How many threads work: as asked, else one for each core that this process may use."""
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_THREADS)


def in_order(
    work: Callable[[_Item], _Result], items: Iterable[_Item], *, threads: int
) -> Generator[_Result, None, None]:
    """`map(work, items)` by several threads; no more than a few results are kept waiting.

    An error in `items` or `work` comes out here. Close the iterator to stop early: work that has begun is
    waited for.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="prepare")
    waiting: deque[Future[_Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads + 1:  # nobody idles while this thread waits for its turn
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Lane:
    """One thread that does jobs behind the caller's back, in the order given.

    The error of a job is raised by a later call; no job after it has any effect that is relied upon.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="lane")
        self._waiting: deque[Future[object]] = deque()

    def do(self, job: Callable[..., object], *arguments: object) -> None:
        """Hand over a job; waits where too many are waiting already."""
        self._waiting.append(self._pool.submit(job, *arguments))
        while len(self._waiting) > _LANE_DEPTH:
            self._waiting.popleft().result()

    def wait(self) -> None:
        """Until every job is done."""
        while self._waiting:
            self._waiting.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
