"""Tests of cloud-config.awk, compared with PyYAML on random documents."""

import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from tests.firstboot.cloud_documents import damaged, documents, flat_lines, read_by_pyyaml

AWK = ("/bin/busybox", "env", "LC_ALL=C", "/bin/busybox", "awk")
PARTS = [
    word
    for name in ("config", "scalars", "flow")
    for word in ("-f", f"/usr/libexec/snowdrop-init.d/cloud-{name}.awk")
]
USUAL = 100
"""Examples of hypothesis without a profile."""
QUICK = 25
EXAMPLES = settings().max_examples
FUZZED = settings(
    deadline=None,
    max_examples=QUICK if EXAMPLES == USUAL else EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def read(template: Path, document: bytes) -> tuple[int, list[str]]:
    """Return the exit status and the lines of cloud-config.awk."""
    done = subprocess.run(
        ["chroot", str(template), *AWK, *PARTS],
        input=document,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == b""
    return done.returncode, done.stdout.decode("utf-8", "surrogateescape").split("\n")[:-1]


def read_scalars(template: Path, text: str) -> list[str] | None:
    """Return the lines with `scalar` for both of its kinds, or None when it is refused."""
    status, lines = read(template, text.encode())
    if status != 0:
        assert status == 1
        assert lines[-1].startswith("!\tline ")
        return None
    kinds = {"plain": "scalar", "text": "scalar"}
    parts = [line.split("\t", 2) for line in lines]
    return ["\t".join((path, kinds.get(kind, kind), value)) for path, kind, value in parts]


@FUZZED
@given(text=documents())
def test_document_of_the_subset_is_read_as_pyyaml_reads_it(template: Path, text: str) -> None:
    assert read_scalars(template, text) == flat_lines(read_by_pyyaml(text))


@FUZZED
@given(text=damaged())
def test_damaged_document_is_refused_or_read_as_pyyaml_reads_it(template: Path, text: str) -> None:
    # The last line counts as ended.
    text += "" if text.endswith("\n") else "\n"
    lines = read_scalars(template, text)
    if lines is None:
        return
    try:
        value = read_by_pyyaml(text)
    except (yaml.YAMLError, ValueError) as error:
        pytest.fail(f"PyYAML refuses what was read: {error}")
    assert lines == ([] if value in (None, "") else flat_lines(value))
