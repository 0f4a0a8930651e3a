"""`actions/upload-artifact` and `download-artifact` of the rehearsed runner.

They speak version 4 of the artifact service, which act serves: JSON calls named in CALLS, and the
files as one zip archive.
"""

import fnmatch
import glob
import json
import os
import re
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

SERVICE = "twirp/github.actions.results.api.v1.ArtifactService"
RUN = {"workflow_run_backend_id": "1", "workflow_job_run_backend_id": "1"}
"""act's run; it checks only that these are numbers."""


def files_to_upload(pattern: str, folder: Path) -> dict[str, Path]:
    """Return the files of `path:` by their names in the artifact, as the action does.

    The names begin after the part of the pattern without wildcards. Hidden files are left out.
    """
    parts = PurePosixPath(pattern).parts
    fixed = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    root = folder.joinpath(*parts[:fixed])
    if fixed < len(parts):
        found = list(folder.glob(pattern))
    else:
        found = list(root.rglob("*")) if root.is_dir() else [root]
    base = root if root.is_dir() else root.parent
    names = {str(path.relative_to(base)): path for path in found if path.is_file()}
    return {name: path for name, path in sorted(names.items()) if not _is_hidden(name)}


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def matching(pattern: str, names: list[str]) -> Iterator[str]:
    """Yield the names that match a pattern with `*`, `?` and `{a,b}`.

    >>> list(matching("{built,booted}", ["booted", "built", "signed"]))
    ['booted', 'built']
    """
    braces = re.fullmatch(r"(.*)\{([^{}]*)\}(.*)", pattern)
    middles = braces[2].split(",") if braces else [""]
    patterns = [f"{braces[1]}{each}{braces[3]}" if braces else pattern for each in middles]
    yield from (name for name in names if any(fnmatch.fnmatchcase(name, p) for p in patterns))


def call(method: str, **fields: str | int) -> Any:  # noqa: ANN401 - JSON
    """Return the response of the artifact service to one call."""
    request = urllib.request.Request(  # noqa: S310 - act's own address
        f"{os.environ['ACTIONS_RESULTS_URL']}{SERVICE}/{method}",
        data=json.dumps({**RUN, **fields}).encode(),
        headers={
            "Authorization": f"Bearer {os.environ['ACTIONS_RUNTIME_TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        return json.load(response)


def artifacts() -> list[dict[str, Any]]:
    """Return the artifacts of this run."""
    found: list[dict[str, Any]] = call("ListArtifacts").get("artifacts", [])
    return found


def upload(environment: Mapping[str, str]) -> None:
    """Upload the files of `path` as the artifact `name`."""
    name, pattern = environment["NAME"], environment["ARTIFACT_PATH"]
    files = files_to_upload(pattern, Path.cwd())
    if not files:
        message = f"No files were found with the provided path: {pattern}"
        if environment["IF_NO_FILES_FOUND"] == "error":
            sys.exit(f"error: {message}")
        print(message)
        return
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for entry, path in files.items():
                archive.write(path, entry)
        size = file.tell()
        file.seek(0)
        if name in {each["name"] for each in artifacts()}:
            if environment["OVERWRITE"] != "true":
                sys.exit(
                    f"error: an artifact with the name {name} exists, expected overwrite: true"
                )
            call("DeleteArtifact", name=name)
        url = call("CreateArtifact", name=name, version=4)["signedUploadUrl"]
        headers = {"Content-Length": str(size), "Content-Type": "application/zip"}
        request = urllib.request.Request(  # noqa: S310
            f"{url}&comp=appendBlock", data=file, headers=headers, method="PUT"
        )
        urllib.request.urlopen(request, timeout=600).close()  # noqa: S310
    call("FinalizeArtifact", name=name, size=size)
    print(f"{name}: {len(files)} files, {size} bytes")


def download(environment: Mapping[str, str]) -> None:
    """Unpack one artifact, or all that match a pattern, into `path`."""
    wanted = environment["NAME"] or environment["PATTERN"]
    names = sorted(matching(wanted, [each["name"] for each in artifacts()]))
    if not names:
        sys.exit(f"error: Artifact not found for name: {wanted}")
    for name in names:
        url = call("GetSignedArtifactURL", name=name)["signedUrl"]
        with tempfile.TemporaryFile() as file:
            with urllib.request.urlopen(url, timeout=600) as response:  # noqa: S310
                while block := response.read(1 << 20):
                    file.write(block)
            merged = environment["NAME"] or environment["MERGE_MULTIPLE"] == "true"
            target = Path(environment["ARTIFACT_PATH"], "" if merged else name)
            with zipfile.ZipFile(file) as archive:
                archive.extractall(target)
        print(f"{name}: {len(archive.namelist())} files to {target}")


if __name__ == "__main__":
    {"upload": upload, "download": download}[sys.argv[1]](os.environ)
