"""Of several drafts of one release the fullest is filled; only what has nothing else is removed."""

from pathlib import Path

import pytest

from build.errors import PublishError
from ci.publish.drafts import Draft, choose, surplus
from ci.publish.plan import Present
from ci.publish.release_files import ReleaseFile

IMAGE = ReleaseFile(path=Path("a.qcow2"), size=3, sha256="a" * 64, media_type="x/y")
BUNDLE = ReleaseFile(path=Path("a.sigstore.json"), size=3, sha256="b" * 64, media_type="x/y")
WANTED = (IMAGE, BUNDLE)


def there(file: ReleaseFile, *, sha256: str = "", complete: bool = True, name: str = "") -> Present:
    digest = sha256 or file.sha256
    return Present(
        number=1, name=name or file.name, size=file.size, sha256=digest, complete=complete
    )


def draft(number: int, *files: Present, marked: bool = True) -> Draft:
    return Draft(number=number, marked=marked, files=files)


@pytest.mark.parametrize(
    ("drafts", "chosen"),
    [
        pytest.param([], None, id="none"),
        pytest.param([draft(1, marked=False)], 1, id="the only one, of another"),
        pytest.param([draft(1), draft(2)], 1, id="two empty ones"),
        pytest.param([draft(1), draft(2, there(IMAGE))], 2, id="the fuller one"),
        pytest.param([draft(1, there(IMAGE), marked=False), draft(2)], 2, id="ours"),
        pytest.param(
            [draft(1, there(IMAGE, sha256="f" * 64)), draft(2, there(BUNDLE))], 2, id="ours, intact"
        ),
    ],
)
def test_the_fullest_draft_of_ours_is_filled(drafts: list[Draft], chosen: int | None) -> None:
    found = choose(drafts, WANTED)
    assert (found.number if found else None) == chosen


def test_two_drafts_of_others_are_refused() -> None:
    with pytest.raises(PublishError, match="drafts 1, 2 have the same tag"):
        choose([draft(1, marked=False), draft(2, marked=False)], WANTED)


@pytest.mark.parametrize(
    ("other", "removed"),
    [
        pytest.param(draft(2), True, id="empty"),
        pytest.param(draft(2, there(IMAGE)), True, id="the same file"),
        pytest.param(draft(2, there(IMAGE, complete=False)), True, id="an interrupted upload"),
        pytest.param(draft(2, there(BUNDLE, sha256="f" * 64)), True, id="another signature"),
        pytest.param(draft(2, marked=False), False, id="not marked"),
        pytest.param(draft(2, there(IMAGE, sha256="f" * 64)), False, id="other bytes"),
        pytest.param(draft(2, there(IMAGE, name="notes.pdf")), False, id="another file"),
        pytest.param(draft(1, there(IMAGE)), False, id="the kept one"),
    ],
)
def test_a_draft_with_anything_else_stays(other: Draft, removed: bool) -> None:
    assert surplus([draft(1), other], 1, WANTED) == ((other,) if removed else ())
