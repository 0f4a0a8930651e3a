"""Files with the right digest are kept, different ones refused, missing ones uploaded."""

from pathlib import Path

import pytest

from build.errors import PublishError
from ci.config import SpacesConfig
from ci.publish.plan import Present, mirror_url, plan
from ci.publish.release_files import ReleaseFile

A = ReleaseFile(path=Path("dist/a"), size=3, sha256="a" * 64, media_type="text/plain")
B = ReleaseFile(path=Path("dist/b"), size=3, sha256="b" * 64, media_type="text/plain")


def present_file(
    name: str, *, size: int = 3, sha256: str | None = None, complete: bool = True, number: int = 1
) -> Present:
    return Present(number=number, name=name, size=size, sha256=sha256, complete=complete)


A_PRESENT, B_PRESENT = (
    present_file("a", sha256=A.sha256),
    present_file("b", sha256=B.sha256, number=2),
)
STARTER = present_file("a", size=0, complete=False)
OTHER = present_file("a", sha256="f" * 64)
FOREIGN = present_file("c", sha256="c" * 64, number=3)


@pytest.mark.parametrize(
    ("present", "replace", "remove", "upload"),
    [
        pytest.param([], False, [], [A, B], id="empty"),
        pytest.param([A_PRESENT, B_PRESENT], False, [], [], id="complete"),
        pytest.param([B_PRESENT], False, [], [A], id="one is missing"),
        pytest.param([STARTER, B_PRESENT], False, [STARTER], [A], id="interrupted upload"),
        pytest.param([present_file("a"), B_PRESENT], False, [], [], id="no reported digest"),
        pytest.param([OTHER, B_PRESENT], True, [OTHER], [A], id="one is replaced"),
        pytest.param([A_PRESENT, B_PRESENT, FOREIGN], True, [FOREIGN], [], id="surplus file"),
        pytest.param(
            [A_PRESENT, STARTER], False, [STARTER], [B], id="interrupted upload beside the file"
        ),
    ],
)
def test_only_the_remaining_steps_are_planned(
    present: list[Present], replace: bool, remove: list[Present], upload: list[ReleaseFile]
) -> None:
    steps = plan([A, B], present, replace=replace)
    assert (list(steps.remove), list(steps.upload)) == (remove, upload)
    assert set(steps.upload) | set(steps.keep) == {A, B}


@pytest.mark.parametrize(
    ("present", "message"),
    [
        pytest.param(OTHER, f"^a: .*{'f' * 64}.* expected sha256 {A.sha256}", id="other bytes"),
        pytest.param(
            present_file("a", size=4), r"^a: .*\(4 bytes\), expected .*\(3 bytes\)", id="size"
        ),
        pytest.param(FOREIGN, "^c: .*expected no such file", id="not of this release"),
    ],
)
def test_a_different_file_is_refused_with_both_digests(present: Present, message: str) -> None:
    with pytest.raises(PublishError, match=message):
        plan([A, B], [present])


def test_an_import_url_has_no_query_and_ends_in_the_name() -> None:
    spaces = SpacesConfig(
        bucket="b", region="fra1", prefix="alpine/", endpoint="https://e", public_url="https://p"
    )
    assert mirror_url(spaces, "v3.24.20261123", "x.qcow2") == (
        "https://p/alpine/v3.24.20261123/x.qcow2"
    )
