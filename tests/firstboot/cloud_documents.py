"""Random #cloud-config documents: of the subset that cloud-config.awk reads, and damaged ones."""

import re
from typing import Any

import yaml
from hypothesis import strategies as st

LETTERS = "ab0-_ .:#'\"\\\t,[]{}&*!|>%@`?=~/\u00e9\u20ac\U0001f600"
KEYS = ("users", "a", "b-c", "x_1", "0", "two words", "d.e", "ssh keys")
WORDS = ("x", "true", "null", "0644", "ls -l /tmp", "a#b", "http://192.0.2.1/x?y", "-f", "a:b", "~")
PIECES: tuple[str, ...] = (
    "'",
    '"',
    "[",
    "]",
    "{",
    "}",
    ": ",
    ":",
    " #",
    "#",
    "- ",
    "\n",
    "\n ",
    "  ",
    "|",
    ">",
)
PIECES += (
    "&a ",
    "*a",
    "!!str ",
    "\t",
    "---\n",
    "...\n",
    "<<: ",
    ",",
    "? ",
    "\\",
    "%",
    "\r",
    "\x07",
)
PIECES += (
    "\u00e9",
    "\u2028",
    "\x85",
    "\ufeff",
    "|2-\n",
    ">+\n",
    "\n\n",
    "x",
    "a: b\n",
    '"\\u20ac"',
)


def format_quoted(text: str, *, double: bool) -> str:
    """Return a text in quotation marks, with escapes in double ones."""
    if not double:
        return "'" + text.replace("'", "''") + "'"
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\u20ac": "\\u20ac"}
    escapes["\U0001f600"] = "\\U0001F600"
    return '"' + "".join(escapes.get(letter, letter) for letter in text) + '"'


@st.composite
def scalars(draw: st.DrawFn) -> str:
    """Return a scalar for one line, with a comment behind some of them in the caller."""
    kind = draw(st.sampled_from(("plain", "single", "double", "empty")))
    if kind == "plain":
        return draw(st.sampled_from(WORDS))
    text = draw(st.text(LETTERS + ("\n" if kind == "double" else ""), max_size=8))
    return "" if kind == "empty" else format_quoted(text, double=kind == "double")


@st.composite
def flows(draw: st.DrawFn, depth: int = 0) -> str:
    """Return a list or a map between brackets."""
    space = st.sampled_from(("", " ", "\n ", " # c, ]\n  "))
    words = scalars().filter(lambda text: text and "?" not in text)
    items = st.one_of(words, flows(depth + 1)) if depth < 2 else words
    if draw(st.booleans()):
        parts = [draw(items) for _ in range(draw(st.integers(0, 3)))]
    else:
        names = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=3))
        parts = [f"{name}: {draw(items)}" for name in names]
        return "{" + draw(space) + f",{draw(space) or ' '}".join(parts) + " }"
    return "[" + draw(space) + f",{draw(space) or ' '}".join(parts) + " ]"


@st.composite
def blocks(draw: st.DrawFn, indent: int) -> str:
    """Return a text behind | or >, with its header, whose lines have `indent` more blanks."""
    line = st.text("ab :#-\t'\u00e9\\", max_size=6).map(str.rstrip)
    lines = draw(st.lists(line, max_size=5))
    filled = [text for text in lines if text]
    mark = str(draw(st.integers(1, 4))) if not filled or filled[0][0] in " \t" else ""
    spaces = " " * (indent + int(mark or draw(st.integers(1, 4))))
    chomp = draw(st.sampled_from(("", "-", "+")))
    header = draw(st.sampled_from("|>")) + draw(st.sampled_from((mark + chomp, chomp + mark)))
    return header + "\n" + "".join(f"{spaces}{text}\n" if text else "\n" for text in lines)


@st.composite
def nodes(draw: st.DrawFn, indent: int, depth: int) -> str:
    """Return what stands behind `key:` or `-` of a block at the column `indent`."""
    end = draw(st.sampled_from(("", " ", " # a: b", "\n\n# c\n")))
    kind = draw(st.sampled_from(("scalar", "flow", "block", "map", "list")))
    if kind == "block":
        return " " + draw(blocks(indent))
    if kind == "flow":
        return f" {draw(flows())}{end}\n"
    if kind == "scalar" or depth > 3:
        return f" {draw(scalars())}{end}\n"
    deeper = indent + draw(st.integers(1, 3))
    return f"{end}\n" + draw(maps(deeper, depth + 1) if kind == "map" else lists(deeper, depth + 1))


@st.composite
def maps(draw: st.DrawFn, indent: int = 0, depth: int = 0) -> str:
    """Return a map whose keys are in the column `indent`."""
    names = draw(st.lists(st.sampled_from(KEYS), unique=True, min_size=1, max_size=3))
    form = st.sampled_from(("{}", '"{}"', "'{}'"))
    return "".join(
        f"{' ' * indent}{draw(form).format(name)}:{draw(nodes(indent, depth))}" for name in names
    )


@st.composite
def lists(draw: st.DrawFn, indent: int, depth: int) -> str:
    """Return a list whose hyphens are in the column `indent`; some items begin with a map."""
    text = ""
    for _ in range(draw(st.integers(1, 3))):
        if depth < 3 and draw(st.booleans()):
            text += f"{' ' * indent}- {draw(maps(indent + 2, depth + 1)).lstrip()}"
        else:
            text += f"{' ' * indent}-{draw(nodes(indent, depth))}"
    return text


def documents() -> st.SearchStrategy[str]:
    """Return documents of the subset."""
    start = st.sampled_from(("", "#cloud-config\n", "#cloud-config\n---\n", "\n--- # c\n"))
    return st.builds(str.__add__, start, maps())


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Return a document with pieces put in, left out, or written twice."""
    text = draw(documents())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 3)))
        text = text[:start] + draw(st.sampled_from(PIECES)) + text[end:]
    return text


def read_by_pyyaml(text: str) -> Any:  # noqa: ANN401 - a document of any form
    """Return the document with every scalar as text; raise yaml.YAMLError if it is none.

    Raises:
        ValueError: an escape is no character (PyYAML does not check its range).
    """
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes text only
    except OverflowError as error:
        raise ValueError(text) from error


def flat_lines(value: object, path: str = "") -> list[str]:
    """Return the lines that cloud-config.awk must print, without the kind of scalars."""
    lines = [f"{path}\t{'list' if isinstance(value, list) else 'map'}\t"] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            name = re.sub(rb"[^-_0-9A-Za-z]", b"?", key.encode()).decode() or "?"
            lines += flat_lines(item, f"{path}.{name}".lstrip("."))
        return lines
    if isinstance(value, list):
        for number, item in enumerate(value):
            lines += flat_lines(item, f"{path}.{number}")
        return lines
    text = str(value).replace("\\", "\\\\").replace("\n", "\\n")
    return [f"{path}\tscalar\t{text}"]
