"""The pictures of the documentation: `nox -s pictures` makes them again.

One drawing of the steps of a release, and two screens of real commands: the end of a rehearsal,
and a release that `verify` refuses. Each in a light and a dark form, as SVG without anything
from the network.
"""

import argparse
import os
import pty
import subprocess
import sys
from html import escape
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, DIMMED_MONOKAI, TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
COLUMNS = 80
LAST_LINES = 39
"""Of the rehearsal: the reports of `verify` and the summary."""


class Colors(NamedTuple):
    """Colors of a drawing, and the theme of a screen."""

    ink: str
    box: str
    line: str
    accent: str
    theme: TerminalTheme


COLORS = {
    "light": Colors("#1f2328", "#f6f8fa", "#59636e", "#0969da", DEFAULT_TERMINAL_THEME),
    "dark": Colors("#f0f6fc", "#151b23", "#9198a1", "#4493f8", DIMMED_MONOKAI),
}
STEPS = (
    ("pin", "release.toml", "release.lock, store"),
    ("build", "lock, store", "qcow2, build record"),
    ("boot", "qcow2", "boot report"),
    ("sign", "dist", "bundles, provenance"),
    ("publish", "signed files", "GitHub release"),
    ("mirror", "signed files", "Space, import URL"),
    ("verify", "release or mirror", "a verified image"),
)
"""Session, what it reads and what it makes."""
WIDTH, HEIGHT, GAP, ROW = 200, 74, 40, 120


def draw_steps(colors: Colors) -> str:
    """Return the drawing of the steps, from the left to the right in rows of four."""
    parts = []
    for number, (name, source, result) in enumerate(STEPS):
        left, top = 20 + (WIDTH + GAP) * (number % 4), 20 + ROW * (number // 4)
        parts.append(
            f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="8" '
            f'fill="{colors.box}" stroke="{colors.line}"/>'
        )
        lines = ((name, 24, colors.accent, 17), (source, 44, colors.ink, 13))
        for text, down, color, size in (*lines, (f"→ {result}", 63, colors.ink, 13)):
            parts.append(
                f'<text x="{left + 14}" y="{top + down}" fill="{color}" font-size="{size}">'
                f"{escape(text)}</text>"
            )
        if number + 1 < len(STEPS):
            parts.append(_arrow(left, top, colors, wraps=number % 4 == 3))
    area = f'width="{20 + 4 * (WIDTH + GAP)}" height="{20 + ROW * 2}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {area} role="img" '
        'font-family="system-ui, sans-serif">'
        f"<title>The steps of a release</title>{''.join(parts)}</svg>\n"
    )


def _arrow(left: int, top: int, colors: Colors, *, wraps: bool) -> str:
    middle = top + HEIGHT // 2
    if wraps:
        # From below the last box of a row to above the first of the next.
        down = top + HEIGHT
        points = f"{left + 100},{down} {left + 100},{down + 20} 120,{down + 20} 120,{top + ROW - 6}"
        head = f"114,{top + ROW - 8} 126,{top + ROW - 8} 120,{top + ROW}"
    else:
        end = left + WIDTH + GAP
        points = f"{left + WIDTH},{middle} {end - 6},{middle}"
        head = f"{end - 8},{middle - 6} {end - 8},{middle + 6} {end},{middle}"
    return (
        f'<polyline points="{points}" fill="none" stroke="{colors.line}"/>'
        f'<polygon points="{head}" fill="{colors.line}"/>'
    )


def draw_screen(output: str, title: str, colors: Colors) -> str:
    """Return a terminal with `output`, which may have colors (ECMA-48)."""
    console = Console(width=COLUMNS, record=True, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(output))
    picture = console.export_svg(title=title, theme=colors.theme, unique_id="screen")
    # rich names fonts of a server: a page of ours asks nothing of others.
    start, end = picture.index("<style>"), picture.index("</style>")
    style = picture[start:end]
    while "@font-face" in style:
        begin = style.index("@font-face")
        style = style[:begin] + style[style.index("}", begin) + 1 :]
    return picture[:start] + style.replace("Fira Code", "ui-monospace") + picture[end:]


def run_on_terminal(argv: list[str], *, status: int) -> str:
    """Run a command on a terminal of COLUMNS columns and return what it printed.

    Raises:
        CalledProcessError: it ended with another status.
    """
    leader, terminal = pty.openpty()
    process = subprocess.Popen(
        argv,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": str(COLUMNS)},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    output = b""
    # Reading the terminal of a process that has ended fails with EIO on Linux (pty(7)).
    while chunk := _read(leader):
        output += chunk
    os.close(leader)
    if process.wait() != status:
        raise subprocess.CalledProcessError(process.returncode, argv, output)
    return output.decode(errors="replace").replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:
        return b""


def main() -> None:
    """Write all pictures."""
    argparse.ArgumentParser(prog="nox -s pictures --", description=__doc__).parse_args()
    PICTURES.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        screens = _make_screens(Path(folder) / "rehearsal")
    for name, colors in COLORS.items():
        (PICTURES / f"steps-{name}.svg").write_text(draw_steps(colors))
        for screen, (title, output) in screens.items():
            picture = draw_screen(output, title, colors)
            (PICTURES / f"{screen}-{name}.svg").write_text(picture)


def _make_screens(state: Path) -> dict[str, tuple[str, str]]:
    ci = [sys.executable, "-m", "ci"]
    rehearsed = run_on_terminal([*ci, "rehearse", "--folder", str(state)], status=0)
    # The folder of this machine is replaced by the one of an ordinary rehearsal.
    rehearsed = rehearsed.replace(str(state), ".snowdrop/rehearsal")
    (image,) = (state / "download").glob("*.qcow2")
    with image.open("r+b") as file:
        file.seek(image.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    argv = [*ci, "verify", str(state / "download"), "--config", str(state / "release.toml")]
    refused = run_on_terminal([*argv, "--repository", "snowdrop-rehearsal/snowdrop"], status=1)
    refused = refused.replace(str(state), ".snowdrop/rehearsal")
    return {
        "rehearsal": ("nox -s rehearse", "\n".join(rehearsed.splitlines()[-LAST_LINES:])),
        "refused": ("nox -s verify, one bit changed", refused.strip("\n")),
    }


if __name__ == "__main__":
    main()
