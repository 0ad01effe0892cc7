"""One thread: tiny products gain nothing from more, and on busy cores they would wait for each other."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def threads_before() -> Iterator[None]:
    """First of all, as another fixture of a module may train: sums of two threads have other last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Also after a test that chose more."""
    torch.set_num_threads(1)
