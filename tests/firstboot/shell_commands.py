"""The external commands of a shell script, read from its text.

Quoted text, comments, here-documents and expansions are left out; what a command substitution
contains is read as a script of its own.
"""

import re

KEYWORDS = {"if", "then", "elif", "else", "fi", "while", "until", "do", "done", "esac", "!"}
SKIPPED = {"for", "case", "in", "{", "}"}
"""Words after which a line has no command, or whose command is on a line of its own."""
WRAPPERS = {"command", "exec", "nohup", "setsid", "timeout", "xargs"}
"""Commands whose argument is a command."""
BUILTINS = {
    *(".", ":", "[", "break", "cd", "command", "continue", "echo", "eval", "exec", "exit"),
    *("export", "false", "getopts", "kill", "local", "printf", "pwd", "read", "readonly"),
    *("return", "set", "shift", "test", "times", "trap", "true", "type", "ulimit", "umask"),
    *("unset", "wait"),
}
"""Of busybox's shell."""
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
COMMAND = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
FUNCTION = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_]*)\s*\(\)", re.MULTILINE)
HERE_DOCUMENT = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?(.*?)\n.*?^\s*\1$", re.MULTILINE | re.DOTALL)


def functions(script: str) -> set[str]:
    """Return the names of the functions that a script defines."""
    return set(FUNCTION.findall(script))


def external_commands(script: str) -> set[str]:
    """Return the first words of all simple commands that are no words of the shell itself."""
    parts: list[str] = []
    text = HERE_DOCUMENT.sub(r"\2\n", script).replace("\\\n", " ")
    _Reader(text, parts).read_code(0, ends_in="")
    words = {word for part in parts for line in part.split("\n") for word in _commands(line)}
    # A quoted word, such as "$@", names no command of the text.
    return {word for word in words if COMMAND.fullmatch(word)} - BUILTINS - {"Q"}


def _commands(line: str) -> list[str]:
    """Return the command of a line without separators, and those that it starts."""
    found: list[str] = []
    words = [word for word in line.split() if not re.match(r"\d*[<>]", word)]
    while words:
        word = words.pop(0)
        if word in SKIPPED:
            return found
        if word in KEYWORDS or ASSIGNMENT.match(word):
            continue
        found.append(word)
        if word not in WRAPPERS or (word == "command" and words and words[0].startswith("-")):
            return found
        words = [each for each in words if not re.fullmatch(r"-.*|\d+|Q", each)]
    return found


class _Reader:
    """Writes code without quoted text: a `Q` for each, a line for each simple command."""

    def __init__(self, text: str, parts: list[str]) -> None:
        self.text, self.parts = text, parts

    def read_code(self, at: int, *, ends_in: str) -> int:
        """Read code up to the closing parenthesis `ends_in`; return the position after it."""
        out, text, subshells = "", self.text + "\n", 0
        pattern: int | None = None  # where the pattern of a `case` begins, before its parenthesis
        while at < len(text):
            letter = text[at]
            if not letter.isalnum():
                pattern = _pattern_start(out, pattern)
            if letter == "#" and (not out or out[-1] in " \t\n"):
                at = text.index("\n", at)
                continue
            if letter in "'\"\\$":
                at, out = self.read_quoted(at), f"{out}Q"
                continue
            at += 1
            if letter == ")" and pattern is not None:
                out, pattern = out[:pattern] + "\n", None
            elif letter == ")" and out.endswith("("):
                out += ")\n"
            elif letter == ")" and not subshells:
                assert ends_in, "a closing parenthesis without an opening one"
                break
            elif letter in "()" and not (letter == "(" and text[at] == ")"):
                subshells, out = subshells + (1 if letter == "(" else -1), f"{out}\n"
            elif text.startswith(";;", at - 1):
                at, out = at + 1, f"{out}\n"
                pattern = len(out)
            else:
                out += "\n" if letter in ";|&" and pattern is None else letter
        self.parts.append(out)
        return at

    def read_quoted(self, at: int) -> int:
        """Return the position after a quoted string, an expansion or an escaped letter."""
        text = self.text
        if text[at] == "\\":
            return at + 2
        if text[at] == "'":
            return text.index("'", at + 1) + 1
        if text.startswith("$((", at):
            return self.read_arithmetic(at + 3)
        if text.startswith("$(", at):
            return self.read_code(at + 2, ends_in=")")
        if text.startswith("${", at):
            return self.read_until("}", at + 2)
        if text[at] == "$":
            return at + 1
        return self.read_until('"', at + 1)

    def read_arithmetic(self, at: int) -> int:
        """Return the position after the parentheses that end `$((`; substitutions are read."""
        depth = 2
        while depth:
            if self.text[at] == "$":
                at = self.read_quoted(at)
            else:
                depth += {"(": 1, ")": -1}.get(self.text[at], 0)
                at += 1
        return at

    def read_until(self, end: str, at: int) -> int:
        """Return the position after `end`; substitutions before it are read."""
        while self.text[at] != end:
            if self.text[at] in "\\$" or (end == "}" and self.text[at] in "'\""):
                at = self.read_quoted(at)
            else:
                at += 1
        return at + 1


def _pattern_start(out: str, pattern: int | None) -> int | None:
    """Return where a pattern of a `case` begins, after a word that ends in `out`."""
    if pattern is not None and out[pattern:].strip() == "esac":
        return None
    return len(out) if re.search(r"(?:^|\s)case\s+\S+\s+in\Z", out) else pattern
