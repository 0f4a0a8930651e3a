"""What is there with the right digest is left alone, what differs is refused, the rest is sent."""

from pathlib import Path

import pytest

from build.errors import PublishError
from ci.config import SpacesConfig
from ci.publish.plan import Present, mirror_url, plan
from ci.publish.release_files import ReleaseFile

A = ReleaseFile(path=Path("dist/a"), size=3, sha256="a" * 64, media_type="text/plain")
B = ReleaseFile(path=Path("dist/b"), size=3, sha256="b" * 64, media_type="text/plain")


def there(
    name: str, *, size: int = 3, sha256: str | None = None, complete: bool = True, number: int = 1
) -> Present:
    return Present(number=number, name=name, size=size, sha256=sha256, complete=complete)


A_THERE, B_THERE = there("a", sha256=A.sha256), there("b", sha256=B.sha256, number=2)
STARTER = there("a", size=0, complete=False)
OTHER = there("a", sha256="f" * 64)
FOREIGN = there("c", sha256="c" * 64, number=3)


@pytest.mark.parametrize(
    ("present", "replace", "remove", "upload"),
    [
        pytest.param([], False, [], [A, B], id="nothing is there"),
        pytest.param([A_THERE, B_THERE], False, [], [], id="all is there"),
        pytest.param([B_THERE], False, [], [A], id="one is missing"),
        pytest.param([STARTER, B_THERE], False, [STARTER], [A], id="an upload broke off"),
        pytest.param([there("a"), B_THERE], False, [], [], id="no digest is told, to be read back"),
        pytest.param([OTHER, B_THERE], True, [OTHER], [A], id="one is exchanged"),
        pytest.param([A_THERE, B_THERE, FOREIGN], True, [FOREIGN], [], id="one is too many"),
        pytest.param([A_THERE, STARTER], False, [STARTER], [B], id="a starter beside the file"),
    ],
)
def test_only_what_is_left_is_done(
    present: list[Present], replace: bool, remove: list[Present], upload: list[ReleaseFile]
) -> None:
    left = plan([A, B], present, replace=replace)
    assert (list(left.remove), list(left.upload)) == (remove, upload)
    assert left.done == (not remove and not upload)
    assert set(left.upload) | set(left.keep) == {A, B}


@pytest.mark.parametrize(
    ("present", "message"),
    [
        pytest.param(OTHER, f"^a: .*{'f' * 64}.* expected sha256 {A.sha256}", id="other bytes"),
        pytest.param(there("a", size=4), r"^a: .*\(4 bytes\), expected .*\(3 bytes\)", id="size"),
        pytest.param(FOREIGN, "^c: .*expected no such file", id="not of this release"),
    ],
)
def test_what_differs_is_refused_with_both_digests(present: Present, message: str) -> None:
    with pytest.raises(PublishError, match=message):
        plan([A, B], [present])


def test_an_import_url_has_no_query_and_ends_in_the_name() -> None:
    spaces = SpacesConfig(
        bucket="b", region="fra1", prefix="alpine/", endpoint="https://e", public_url="https://p"
    )
    assert mirror_url(spaces, "v3.24.20261123", "x.qcow2") == (
        "https://p/alpine/v3.24.20261123/x.qcow2"
    )
