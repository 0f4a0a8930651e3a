"""`actions/setup-python` of the rehearsed runner: an empty environment of the host's Python."""

import os
import subprocess
from pathlib import Path

PYTHON = Path("/home/python/bin")
"""The Python that runs `nox -s act`."""


def main() -> None:
    """Make the environment and put it first on the path of the next steps."""
    interpreter = min(PYTHON.glob("python3.*[0-9]"), key=lambda path: len(path.name))
    folder = Path(os.environ["RUNNER_TEMP"]) / "python"
    subprocess.run([interpreter, "-m", "venv", folder], check=True)
    with Path(os.environ["GITHUB_PATH"]).open("a") as file:
        file.write(f"{folder / 'bin'}\n")
    print(f"{interpreter.name} in place of {os.environ['PYTHON_VERSION']}")


if __name__ == "__main__":
    main()
