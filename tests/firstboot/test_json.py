"""Tests of json.awk, which flattens metadata with busybox's awk."""

import json
import random
import subprocess
from pathlib import Path

import pytest

from tests.firstboot.conftest import document

AWK = ("/bin/busybox", "env", "LC_ALL=C", "/bin/busybox", "awk", "-f")
PROGRAM = "/usr/libexec/snowdrop-init.d/json.awk"


def flatten(template: Path, text: str) -> tuple[int, str]:
    """Return the exit status and the output of json.awk."""
    done = subprocess.run(
        ["chroot", str(template), *AWK, PROGRAM],
        input=text.encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == b""
    return done.returncode, done.stdout.decode()


def expected_lines(value: object, path: str = "") -> str:
    """Return the output that json.awk must have for a value."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else None
    )
    if items is not None:
        return "".join(expected_lines(item, f"{path}.{name}".lstrip(".")) for name, item in items)
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    text = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\0", "\\0000")
    return f"{path}\t{text}\n"


def random_value(chance: random.Random, depth: int = 0) -> object:
    """Return a random JSON value, an object at depth 0."""
    kind = chance.choice(["text", "text", "number", "word", "list", "object"])
    if depth == 0 or (kind == "object" and depth < 5):
        names = ["a", "ip_address", "user-data", "0", "Z"]
        return {
            name: random_value(chance, depth + 1)
            for name in chance.sample(names, chance.randrange(depth == 0, 5))
        }
    if kind == "list" and depth < 5:
        return [random_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == "number":
        return chance.choice([0, -7, 4711, 1.5, 1e30, -0.25])
    if kind == "word":
        return chance.choice([True, False, None])
    letters = '"\\/\b\f\n\r\t\0\x1f ab{}[],:é\u20ac\U0001f600'
    return "".join(chance.choices(letters, k=chance.randrange(12)))


@pytest.mark.parametrize("style", ["plain", "escaped", "spread out"])
def test_values_equal_those_that_python_reads(template: Path, style: str) -> None:
    chance = random.Random(style)  # noqa: S311 - reproducible, not a secret
    for _ in range(40):
        value = random_value(chance)
        text = json.dumps(
            value, ensure_ascii=style == "escaped", indent=3 if style == "spread out" else None
        )
        assert flatten(template, text) == (0, expected_lines(value)), text


def test_truncated_document_is_refused(template: Path) -> None:
    text = r'{"a": [1, "x\"\\", {"b\n": "\ud83d\ude00"}], "c": {}, "d": tr'.replace("tr", "true}")
    assert flatten(template, text)[0] == 0
    for length in range(len(text)):
        assert flatten(template, text[:length])[0] == 1, text[:length]


def test_document_in_an_array_and_with_a_byte_order_mark_is_read(template: Path) -> None:
    value = {"a": {"b": [1, "x"]}}
    for text in (
        f"[{json.dumps(value)}]",
        f" [ {json.dumps(value)} ]\r\n",
        f"\ufeff{json.dumps(value)}",
    ):
        assert flatten(template, text) == (0, expected_lines(value)), text


BROKEN = [
    "[1]",
    "[]",
    "[{}",
    "[{}, {}]",
    "[[{}]]",
    "[{}]]",
    "[{}] {}",
    "{}]",
    "\ufeff",
    '"text"',
    '{"a": 1}{',
    '{"a": 1} x',
    '{"a" 1}',
    '{"a": 1,}',
    '{"a": [1,]}',
    '{"a": [1}',
    '{"a": 01}',
    '{"a": nil}',
    "{a: 1}",
    "{,}",
    '{"a": 1 "b": 2}',
    '{"a": "\\x"}',
    '{"a": "\\ud83d"}',
    '{"a": "\\ude00"}',
    '{"a": "\\ud83dx"}',
    '{"a": "\\u12"}',
    '{"a": "b\nc"}',
    '{"a": ' + "[" * 40 + "]" * 40 + "}",
    "<html></html>",
]


@pytest.mark.parametrize("text", BROKEN)
def test_invalid_json_is_refused(template: Path, text: str) -> None:
    assert flatten(template, text)[0] == 1


def test_separators_in_a_name_are_replaced(template: Path) -> None:
    text = json.dumps({"public_keys.0": "evil", "x\n\tpublic_keys": ["evil"]})
    _, lines = flatten(template, text)
    assert lines == "public_keys?0\tevil\nx?n?public_keys.0\tevil\n"


def test_large_document_is_read_within_the_time_limit(template: Path) -> None:
    value = document(user_data='echo "one more line"\n' * 20_000)
    status, lines = flatten(template, json.dumps(value))
    assert (status, lines) == (0, expected_lines(value))
