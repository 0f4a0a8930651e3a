"""A folder in memory, where a file system names files in the order in which they were made."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory that is gone afterwards."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)
