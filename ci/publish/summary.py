"""The summary of a release as Markdown: what jobs write to GitHub, and what a rehearsal prints.

`read_summary` takes from dist what the steps so far left there; `format_summary` is pure. Each job
of the workflow writes the same text, which grows from job to job.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build.words import counted
from ci.config import ReleaseConfig
from ci.publish.contents import format_contents, read_contents
from ci.publish.notes import INVENTORY, format_import, signed_difference
from ci.release.checkout import read_record
from ci.release.lock_diff import Difference, format_markdown
from ci.release.manifest import DIFFERENCE_BUNDLE, MANIFEST, Manifest, parse_manifest
from ci.report.table import escape, markdown_table, size_text

MOMENTS = ("kernel", "network", "ssh", "shutdown")
"""As in a boot report: seconds since the start, and of the shutdown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What is known of a release; a step that has not run yet leaves its part empty."""

    builds: Sequence[Mapping[str, Any]] = ()
    """Build records, one for each image."""
    boots: Sequence[Mapping[str, Any]] = ()
    """Boot reports."""
    manifest: Manifest | None = None
    difference: Difference | None = None
    contents: Mapping[str, str] = field(default_factory=dict)
    """What is in each image, as Markdown by the name of its file."""
    importing: str = ""
    """How to import the image, as Markdown."""
    verify: Sequence[str] = field(default=())
    """Commands that verify the release."""


def read_summary(config: ReleaseConfig, *, verify: Sequence[str] | None = None) -> Summary:
    """Return what the files in dist say.

    `verify`: commands that verify the release; None: those for a release at GitHub.

    Raises:
        ConfigError, VerificationError: a file is damaged.
    """
    dist = config.dist
    manifest = None
    if (dist / MANIFEST).is_file():
        manifest = parse_manifest((dist / MANIFEST).read_bytes())
    if manifest and verify is None:
        verify = (f"nox -s verify -- {manifest.tag} --repository {manifest.repository}",)
    changed = dist / DIFFERENCE_BUNDLE
    builds = [
        record
        for record in _read(dist, "*.build.json")
        # On a maintainer's machine dist has earlier releases, too.
        if manifest is None or record["version"] == manifest.version
    ]
    boots = {each["image"]["file"]: each for each in _read(dist, "*.boot.json")}
    images = {record["image"]["file"]: record for record in builds}
    return Summary(
        builds=builds,
        boots=[each for image, each in boots.items() if image in images],
        manifest=manifest,
        difference=signed_difference(changed) if changed.is_file() else None,
        contents={
            image: text
            for image, record in images.items()
            if (text := _contents(config, record, boots.get(image, {})))
        },
        importing=format_import(config.spaces, manifest) if manifest and config.spaces else "",
        verify=verify or (),
    )


def format_summary(summary: Summary) -> str:
    """Return the summary as GitHub Markdown; values of files are escaped."""
    parts = [
        *_format_builds(summary.builds),
        *_format_boots(summary.boots),
        *(_format_manifest(summary.manifest) if summary.manifest else ()),
    ]
    parts += [
        f"### What is in {_code_cell(image)}\n\n{text}" for image, text in summary.contents.items()
    ]
    if summary.difference:
        parts.append(f"### What changed\n\n{format_markdown(summary.difference)}")
    if summary.verify:
        parts.append("### Verify it\n\n" + _code(summary.verify, "sh"))
    if summary.importing:
        parts.append(f"### Import it, once it is verified\n\n{summary.importing}")
    return "\n\n".join(parts) + "\n" if parts else ""


def _read(dist: Path, pattern: str) -> list[Mapping[str, Any]]:
    return [read_record(path) for path in sorted(dist.glob(pattern))]


def _contents(config: ReleaseConfig, record: Mapping[str, Any], boot: Mapping[str, Any]) -> str:
    """Return what is in an image, in the words of the release notes; empty without image.json."""
    path = config.dist / f"{Path(record['image']['file']).stem}{INVENTORY}"
    found = read_contents(path, record, boot)
    image = config.build.images.get(str(record.get("variant")))
    return format_contents(found, image.packages if image else ()) if found else ""


def _format_builds(builds: Sequence[Mapping[str, Any]]) -> list[str]:
    if not builds:
        return []
    first = builds[0]
    rows = [
        [
            _code_cell(each["image"]["file"]),
            size_text(each["image"]["size"]),
            each["image"]["sha256"],
        ]
        for each in builds
    ]
    lock, commit = str(first["lock"]["id"]), str(first["source"]["commit"])
    return [
        f"## {escape(str(first['version']))}",
        f"Built from commit {_code_cell(commit)} and the lock with sha256 {_code_cell(lock)}.",
        markdown_table(rows, ["image", "size", "sha256"]),
    ]


def _format_boots(boots: Sequence[Mapping[str, Any]]) -> list[str]:
    if not boots:
        return []
    rows = []
    for report in boots:
        seconds = report.get("seconds") or {}
        moments = [seconds.get(name) for name in MOMENTS]
        rows.append(
            [
                _code_cell(report["image"]["file"]),
                _count(report.get("checks") or ()),
                *("-" if value is None else f"{value:.1f} s" for value in moments),
                _count(report.get("faults") or ()),
            ]
        )
    header = ["booted", "checks", *MOMENTS, "faults"]
    return ["### Boot", markdown_table(rows, header)]


def _format_manifest(manifest: Manifest) -> list[str]:
    rows = [
        [_code_cell(item.name), item.role, size_text(item.size), item.sha256]
        for item in manifest.artifacts
    ]
    signed = (
        f"{counted(len(manifest.signed_files), 'file')}, {counted(len(manifest.bundles), 'bundle')}"
    )
    return ["### Files", f"{signed}.", markdown_table(rows, ["file", "role", "size", "sha256"])]


def _count(rows: Sequence[Mapping[str, Any]]) -> str:
    passed = sum(row.get("passed") is True for row in rows)
    return f"{passed} of {len(rows)} passed" if rows else "not run"


def _code_cell(text: str) -> str:
    """Return `text` in backticks; it has none itself, so it cannot end them."""
    return f"`{escape(text).replace('`', '')}`"


def _code(lines: Sequence[str], language: str = "") -> str:
    listed = "\n".join(escape(line) for line in lines)
    return f"```{language}\n{listed}\n```"
