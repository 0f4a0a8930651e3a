"""Tests of cloud-config.awk, compared with PyYAML on random documents."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from build.firstboot.packages import FILES
from tests import skips
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


def peak_of(document: bytes, folder: Path) -> int:
    """Return the peak memory of cloud-config.awk with a document, in KiB."""
    (folder / "document").write_bytes(document)
    program = [word if word == "-f" else str(FILES / word.lstrip("/")) for word in PARTS]
    # Of a small process: a child counts the memory of its parent until it runs its own program.
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[2:], stdin=open(sys.argv[1], 'rb'), stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    argv = [sys.executable, "-I", "-S", "-c", code, str(folder / "document"), *AWK, *program]
    done = subprocess.run(argv, capture_output=True, check=True, text=True, timeout=60)
    return int(done.stdout)


SIZE = 1 << 18
"""A quarter of what user data may have, so that the test takes seconds."""
LARGE = {
    "escapes": b'a: "' + b"\\u20ac" * (SIZE // 6 - 1) + b'"\n',
    "characters": b"a: '" + b"\xe2\x82\xac" * (SIZE // 3 - 3) + b"'\n",
    "lines": b"a: >\n" + b"  x\n" * 49_990,
    "values": b"a:\n" + b"- x\n" * 9_990,
}


@pytest.mark.parametrize("name", LARGE)
def test_large_document_is_read_in_little_time_and_memory(name: str, tmp_path: Path) -> None:
    """An array of the document's bytes takes a hundred times their memory."""
    if not Path(AWK[0]).exists():
        pytest.skip(skips.TOOL)
    assert peak_of(LARGE[name], tmp_path) < 20 * 1024


def test_long_texts_in_quotes_are_read_as_pyyaml_reads_them(template: Path) -> None:
    """The reader takes them in windows: an escape at each place around the end of one."""
    pieces = ('"{}\\u20ac{}"', '"{}\\U0001F600{}"', '"{}\\\\{}"', "'{}''{}'")
    numbers = range(495, 530)
    values = [piece.format("x" * number, "y" * 520) for piece in pieces for number in numbers]
    text = "".join(f"k{number}: {value}\n" for number, value in enumerate(values))
    assert read_scalars(template, text) == flat_lines(read_by_pyyaml(text))


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
