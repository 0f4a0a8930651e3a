"""Maker of openapi.json: the part of GitHub's own API description that Snowdrop needs.

    npm pack @octokit/openapi@23.0.2
    tar -xzf octokit-openapi-23.0.2.tgz package/generated/api.github.com.json
    python -m tests.rehearsal.github.cut_openapi package/generated/api.github.com.json

writes ci/rehearsal/github/openapi.json. It keeps the operations of the double with all that they
refer to; it leaves out every other path, examples that no response of the double uses, links to
pages, and extensions (`x-...`). Only `servers` is changed, to `/`: the double serves the API
host and the upload host. Format: OpenAPI 3.0.3; licence: see NOTICE beside openapi.json.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ci.rehearsal.github.openapi_check import DESCRIPTION
from ci.rehearsal.github.operations import OPERATIONS

EXAMPLES = (
    *("release", "release-asset", "git-ref", "git-tag", "git-tree", "git-commit"),
    *("full-repository-default-response", "commit-comparison", "environment"),
    *("repository-ruleset", "actions-repository-permissions"),
    *("actions-default-workflow-permissions", "pull-request", "pull-request-simple-items"),
)
"""Kept of components/examples: the double's responses are these with other values."""
LEFT_OUT = ("externalDocs", "examples", "servers", "callbacks")


def cut(document: dict[str, Any]) -> dict[str, Any]:
    """Return the needed part of the whole description `document`."""
    paths = {path: _operations(item) for path, item in document["paths"].items()}
    paths = {path: item for path, item in paths.items() if item}
    components: dict[str, dict[str, Any]] = {}
    waiting = [f"#/components/examples/{name}" for name in EXAMPLES] + list(_references(paths))
    while waiting:
        kind, name = waiting.pop().removeprefix("#/components/").split("/")
        if name in components.setdefault(kind, {}):
            continue
        value = document["components"][kind][name]
        components[kind][name] = value if kind == "examples" else _plain(value)
        waiting += _references(components[kind][name])
    return {
        "openapi": document["openapi"],
        "info": document["info"],
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": components,
    }


def _operations(item: dict[str, Any]) -> dict[str, Any]:
    return {
        method: _plain(operation)
        for method, operation in item.items()
        if isinstance(operation, dict) and operation.get("operationId") in OPERATIONS
    }


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: _plain(inner)
            for key, inner in value.items()
            if key not in LEFT_OUT and not key.startswith("x-")
        }
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def main(argv: list[str]) -> int:
    """Write openapi.json from the description in the file that the command line names."""
    if len(argv) != 1:
        print("usage: python -m tests.rehearsal.github.cut_openapi FILE", file=sys.stderr)
        return 2
    document = cut(json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    DESCRIPTION.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
