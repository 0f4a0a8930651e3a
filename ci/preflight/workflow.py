"""The workflows of the checkout can make the release that release.toml describes.

They name some of its values: the tags that start a release, and the folder of the artifacts. A tag
that no workflow runs for is silently no release, and a file that is not found fails the run late.
"""

import re
from fnmatch import fnmatchcase
from pathlib import Path

from ci.config import ReleaseConfig
from ci.preflight.checks import CheckFailed

FOLDER = Path(".github", "workflows")
TAGS = re.compile(r"^ +tags: \[(.*)\]", re.MULTILINE)
"""The tags of `on: push`, as this project's workflows write them."""


def check_workflow(config: ReleaseConfig, version: str, root: Path) -> str:
    """Return for which tags the workflows in `root` run; that of the release must be one.

    Only the release.toml at the root of the checkout is that of the workflows.

    Raises:
        CheckFailed: they run for other tags, or pass files on in another folder.
    """
    folder = root / FOLDER
    if config.file.resolve().parent != root or not (folder / "release.yml").is_file():
        return f"{config.file}: no workflow uses this file"
    listed = TAGS.search((folder / "release.yml").read_text(encoding="utf-8"))
    patterns = re.findall(r"[^\s,\"']+", listed[1]) if listed else []
    if not any(fnmatchcase(version, pattern) for pattern in patterns):
        raise CheckFailed(
            f"{FOLDER}/release.yml runs for the tags {', '.join(patterns)}, not for {version}",
            hint=f'add "{config.build.branch}.*" to its `tags`, to the ruleset of tags and to the '
            "environment `release`",
        )
    path = config.dist.resolve()
    name = path.relative_to(root) if path.is_relative_to(root) else path
    if f"path: {name}/\n" not in (folder / "build.yml").read_text(encoding="utf-8"):
        raise CheckFailed(
            f"release.dist = {name}: {FOLDER}/build.yml passes on the files of another folder",
            hint="remove `dist` from release.toml, or name the folder in the workflows",
        )
    return f"runs for the tags {', '.join(patterns)}"
