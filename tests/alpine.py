"""Real packages and indexes of Alpine that some tests read."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
CANDIDATES = (PROJECT / ".snowdrop/fixtures", PROJECT.parent / "shared/alpine-v3.19")


def alpine_folder() -> Path | None:
    """Return the folder with real Alpine files (`keys`, `repo`), None when there is none."""
    return next((folder for folder in CANDIDATES if folder.is_dir()), None)
