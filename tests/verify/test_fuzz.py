"""Damaged bundles and trust roots are refused with one of our errors, within bounds.

`nox -s fuzz` runs these for minutes; in `nox -s tests` a hundred tries each.
"""

import copy
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build.errors import SnowdropError
from ci.rehearsal.sigstore.trust import trusted_root
from ci.verify.trust.bundles import Trust
from tests.snapshot.test_parsers import changed
from tests.verify.leaves import at, paths
from tests.verify.mint import Json
from tests.verify.stage import Stage
from tests.verify.test_leaves import KINDS, Judge, make

quick = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
MAX_GROWTH = 64 * 1024
"""KiB that the process may grow by; the largest file that is read has 4 MiB."""
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=40),
    st.sampled_from(
        ["9" * 5000, "-1", "1e999", "=", "A" * 70_000, "\ud800", "2026-13-45T99:99:99Z"]
    ),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn, document: Json) -> bytes:
    """JSON in which a few values are others, moved, doubled or absent."""
    result, places = copy.deepcopy(document), list(paths(document))[1:]
    for path in draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        value = draw(st.one_of(VALUES, st.sampled_from(places).map(lambda p: at(document, p))))
        try:
            if draw(st.booleans()):
                at(result, path[:-1])[path[-1]] = copy.deepcopy(value)
            else:
                del at(result, path[:-1])[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # what an earlier change has removed
    return json.dumps(result).encode()


@pytest.fixture(name="bounded", autouse=True)
def _bounded(request: pytest.FixtureRequest, stage: Stage) -> Iterator[None]:
    """Check how much memory the tries of a test took, beside what makes them."""
    document = trusted_root(stage.mint.keys)

    @quick
    @given(st.one_of(mutated(document), changed(json.dumps(document).encode())))
    def make_only(content: bytes) -> None:
        del content

    make_only()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{request.node.name}: peak of {peak // 1024} MiB, {(peak - before) // 1024} of them new")
    assert peak - before < MAX_GROWTH


@pytest.mark.parametrize(("rekor", "kind"), KINDS)
def test_a_damaged_bundle_holds_or_is_refused_with_our_error(
    stage: Stage, tmp_path: Path, rekor: int, kind: str
) -> None:
    bundle, judge = make(stage, rekor, kind), Judge(stage, tmp_path)
    raw = json.dumps(bundle).encode()
    judge.check(kind, raw)

    @quick
    @given(st.one_of(mutated(bundle), changed(raw)))
    def check(content: bytes) -> None:
        judge.accepts(kind, content)  # any other error than ours ends the test

    check()


@pytest.mark.parametrize("rekor", [1, 2])
def test_a_damaged_root_holds_or_is_refused_with_our_error(
    stage: Stage, tmp_path: Path, rekor: int
) -> None:
    document, judge = trusted_root(stage.mint.keys), Judge(stage, tmp_path)
    raw, bundle = json.dumps(document).encode(), json.dumps(make(stage, rekor, "file")).encode()
    path = tmp_path / "root.json"

    @quick
    @given(st.one_of(mutated(document), changed(raw)))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        try:
            judge.trust = Trust(path)
        except SnowdropError as error:
            said = str(error)
        else:
            said = ""
        if said:
            return
        judge.accepts("file", bundle)

    check()
