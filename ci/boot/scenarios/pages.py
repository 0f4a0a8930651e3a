"""Pages of the metadata service in forms that differ from the usual ones (pure)."""

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from ci.boot.metadata import ROOT

Form = Literal["", "array", "byte order mark", "windows"]
"""`array`: v1.json is an array with the object in it, as DigitalOcean's reference prints it;
`byte order mark`: each page begins with one; `windows`: its lines end with CR LF."""
MARK = "\ufeff"


def vary_pages(
    pages: Mapping[str, str], form: Form = "", missing: Sequence[str] = ()
) -> dict[str, str]:
    r"""Return `pages` in another form, without those whose names are in `missing`.

    >>> vary_pages({"/metadata/v1/id": "7", "/metadata/v1/hostname": "a"}, "windows", ["id"])
    {'/metadata/v1/hostname': 'a\r\n'}
    """
    absent = {f"{ROOT}/{name}" for name in missing}
    return {path: _vary(path, text, form) for path, text in pages.items() if path not in absent}


def _vary(path: str, text: str, form: Form) -> str:
    match form:
        case "array" if path == f"{ROOT}.json":
            return json.dumps([json.loads(text)])
        case "byte order mark":
            return MARK + text
        case "windows" if path != f"{ROOT}.json":
            return text.replace("\n", "\r\n") + "\r\n"
        case "windows":
            # Blanks of JSON (RFC 8259, section 2).
            return json.dumps(json.loads(text), indent=1).replace("\n", "\r\n")
    return text
