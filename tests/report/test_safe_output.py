"""What is printed has no secret and no control character, on every stream."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.errors import ConfigError, NotReproducibleError, SnowdropError
from ci.environment import ROOT
from ci.report.console import Console, open_console
from ci.report.progress import TerminalProgress, progress_for
from ci.report.safe_output import SECRETS, cleaner, read_secret

BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters with the property Bidi_Control (Unicode TR 9)."""
HOSTILE = f"\x1b[2J\r\x00\x07\x08\x7f\x85\x9b1m\u2028\udcff{BIDIRECTIONAL}"
TOKEN = "ghp_0123/456+789"  # noqa: S105  # planted


@given(st.text(st.characters()))
def test_no_character_can_change_the_terminal(text: str) -> None:
    printed = cleaner({})(text)
    assert all(letter.isprintable() or letter in "\n\t" for letter in printed)
    assert not set(printed) & set(BIDIRECTIONAL)
    assert cleaner({})(printed) == printed


def test_every_method_of_the_console_cleans(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for as_json in (False, True):
        with open_console({"GITHUB_TOKEN": TOKEN}, as_json=as_json) as console:
            console.line(HOSTILE + TOKEN)
            console.table([[f"a\nb{HOSTILE}", TOKEN]], header=[HOSTILE])
            console.error(SnowdropError(HOSTILE + TOKEN, hint=HOSTILE + TOKEN))
            console.progress.note(HOSTILE + TOKEN)
            with console.progress.step(HOSTILE + TOKEN):
                print(HOSTILE + TOKEN, file=sys.stderr)
        out, err = capsys.readouterr()
        text = (out if not as_json else json.dumps(json.loads(out))) + err
        assert "\\x1b[2J" in err
        assert "***" in out
        assert TOKEN not in text
        assert not set(text) & set(HOSTILE) - set("[2J1m")


def test_a_bar_on_a_terminal_has_a_clean_title(capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    progress = progress_for(stream, cleaner({"SPACES_KEY": TOKEN}))
    assert isinstance(progress, TerminalProgress)
    with progress.step(f"\u202e{TOKEN}\x07", total=1):
        progress.note(f"\u202e{TOKEN}\x07 :warning:")
    assert not {"\u202e", "\x07"} & set(stream.getvalue())
    assert TOKEN not in stream.getvalue()
    assert "\\u202e***\\x07 :warning:" in stream.getvalue()


def test_a_line_of_a_message_does_not_look_like_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with open_console({}, as_json=False) as console:
        console.error(SnowdropError("a program failed\nhint: import it\nverified"))
    assert capsys.readouterr().err.splitlines()[1:] == ["  hint: import it", "  verified"]


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", [f"{TOKEN}\n", f"{TOKEN} ", f"\x00{TOKEN}", f"{TOKEN}é", "\r"])
def test_a_malformed_secret_is_refused_without_its_value(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: has white space") as refused:
        read_secret({name: value}, name)
    assert TOKEN not in str(refused.value) + refused.value.hint
    assert TOKEN not in cleaner({name: value})(f"{value!r} {value}")


def test_every_form_of_a_secret_is_removed() -> None:
    clean = cleaner(
        {"SPACES_SECRET": 'a"b\\c/d+e', "SPACES_KEY": 'a"b\\c/d+e+more', "PATH": "/usr/bin"}
    )
    text = 'a"b\\c/d+e a"b\\c/d+e+more a%22b%5Cc%2Fd%2Be a\\"b\\\\c/d+e https://u:p@h/ /usr/bin'
    assert clean(text) == "*** *** *** *** https://h/ /usr/bin"


def snowdrop(command: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a shell command in which `$C` is `python -m ci`."""
    words = ["sh", "-c", f'C="{sys.executable} -m ci"; {command}']
    variables = {"PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("command", "code", "errors"),
    [
        ("$C verify --explain >&-", 0, b""),
        ("$C verify --explain 2>&-", 0, b""),
        ("$C verify --explain >/dev/full", 1, b"error: standard output: No space left on device\n"),
        ("$C verify nothing 2>/dev/full", 2, b""),
        ("$C verify nothing >&- 2>&-", 2, b""),
        ("{ sleep 1; $C verify --explain; echo $? >&2; } | true", 0, b"1\n"),
    ],
)
def test_a_stream_that_is_closed_or_full_gives_no_traceback(
    command: str, code: int, errors: bytes
) -> None:
    done = snowdrop(command)
    assert (done.returncode, done.stderr) == (code, errors)


def test_a_stream_for_ascii_gets_escapes(tmp_path: Path) -> None:
    done = snowdrop(f"$C explain {tmp_path}/雪 x", PYTHONIOENCODING="ascii")
    assert (done.returncode, b"\\u96ea" in done.stderr) == (1, True)
    assert b"Traceback" not in done.stderr


def test_json_keeps_its_form() -> None:
    out = io.StringIO()
    Console(out, io.StringIO(), {}, True, progress_for(io.StringIO(), str)).data({HOSTILE: HOSTILE})
    assert json.loads(out.getvalue()) == {HOSTILE: HOSTILE}


def test_an_error_has_what_was_found_before_in_the_same_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failure = NotReproducibleError("other bytes", hint="look")
    failure.data = {"images": [1]}
    with open_console({}, as_json=True) as console:
        console.error(failure)
    assert json.loads(capsys.readouterr().out) == {
        "error": "other bytes",
        "exit_code": 3,
        "hint": "look",
        "images": [1],
    }
