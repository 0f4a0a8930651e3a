"""The catalogue lists the releases, and nothing of a release becomes markup or script."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from build.errors import PublishError
from ci.__main__ import make_parser
from ci.catalogue import catalogue as module
from ci.catalogue.catalogue import (
    Catalogue,
    CatalogueImage,
    Entry,
    dump_catalogue,
    parse_catalogue,
)
from ci.catalogue.feed import format_feed
from ci.catalogue.page import content_security_policy, format_page
from ci.commands import load_command

BASE = "https://mirror.example/releases"
SCHEMA = json.loads(Path(module.__file__).with_name("catalogue.schema.json").read_text())
DAY = 24 * 3600
HOSTILE = (
    "</code><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "\x1b[2J\u202egnp.exe\x00",
    "${policy} $title",
    "]]><!--",
)


def entry(number: int, **changes: Any) -> Entry:  # noqa: ANN401
    version = f"v3.24.{20261100 + number}"
    file = f"snowdrop-droplet-{version}-x86_64.qcow2"
    image = CatalogueImage(
        variant="droplet",
        file=file,
        url=f"{BASE}/{version}/{file}",
        size=33_200_000,
        sha256=hashlib.sha256(version.encode()).hexdigest(),
        disk=1 << 30,
        packages=66,
        ssh_tenths=279,
    )
    made = Entry(
        version=version,
        repository="octo/snowdrop",
        commit="5" * 40,
        alpine="3.24",
        epoch=1_793_000_000 + number * DAY,
        images=(image,),
        previous="",
        changes={},
        withdrawn="",
    )
    return replace(made, **changes)


def listed(*numbers: int) -> Catalogue:
    catalogue = Catalogue()
    for number in numbers:
        catalogue = catalogue.with_entry(entry(number))
    return catalogue


def test_the_newest_release_is_first_whatever_the_order_of_publishing() -> None:
    versions = [each.version for each in listed(2, 9, 1, 40).entries]
    assert versions == sorted(versions, reverse=True)
    assert listed(2, 9, 1, 40) == listed(40, 1, 9, 2)


def test_publishing_again_replaces_the_entry_and_keeps_the_withdrawal() -> None:
    once = listed(1, 2).with_withdrawn("v3.24.20261101", "the kernel loses data")
    again = once.with_entry(entry(1))
    assert again == once
    assert again.entries[1].withdrawn == "the kernel loses data"


@pytest.mark.parametrize(
    ("version", "reason", "message"),
    [
        ("v9", "x", "not in the catalogue, which has: v3.24.20261102, v3.24.20261101"),
        ("v3.24.20261101", "", "expected 1 to 300 printable"),
        ("v3.24.20261101", "x" * 301, "expected 1 to 300 printable"),
        ("v3.24.20261101", "two\nlines", "expected 1 to 300 printable"),
    ],
)
def test_a_wrong_withdrawal_is_refused(version: str, reason: str, message: str) -> None:
    with pytest.raises(PublishError, match=re.escape(message)):
        listed(1, 2).with_withdrawn(version, reason)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_catalogue_json_follows_its_schema_and_is_read_back(count: int) -> None:
    catalogue = listed(*range(1, count + 1))
    content = dump_catalogue(catalogue)
    jsonschema.validate(json.loads(content), SCHEMA)
    assert parse_catalogue(content, where="catalogue.json") == catalogue


def change(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Return a function that sets a key of the first release, or of its image."""
    name, _, inner = key.partition(".")

    def apply(document: dict[str, Any]) -> None:
        release = document["releases"][0]
        if inner:
            release["images"][0][inner] = value
        else:
            release[name] = value

    return apply


DAMAGES = {
    "another format": lambda document: document.update(format=2),
    "an unknown key": change("extra", 1),
    "a version with a slash": change("version", "../v1"),
    "a repository with a quote": change("repository", 'a/b"'),
    "a commit that is none": change("commit", "main"),
    "an epoch with a fraction": change("epoch", 1.5),
    "a negative size": change("images.size", -1),
    "a URL with a script": change("images.url", "javascript:alert(1)"),
    "a URL with a space": change("images.url", "https://a b"),
    "a file with a folder": change("images.file", "../x.qcow2"),
    "an upper-case digest": change("images.sha256", "A" * 64),
    "an unknown kind of change": change("changes", {"renamed": 1}),
    "a reason with a line end": change("withdrawn", "a\nb"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_foreign_catalogue_is_refused_by_reader_and_schema(name: str) -> None:
    document = json.loads(dump_catalogue(listed(1)))
    DAMAGES[name](document)
    with pytest.raises(PublishError, match=r"^catalogue\.json: "):
        parse_catalogue(json.dumps(document).encode(), where="catalogue.json")
    if name != "a reason with a line end":
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document, SCHEMA)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b" " * (9 << 20)])
def test_what_is_no_catalogue_is_refused(content: bytes) -> None:
    with pytest.raises(PublishError, match=r"^catalogue\.json: ") as refused:
        parse_catalogue(content, where="catalogue.json")
    assert "nox -s mirror" in refused.value.hint


class Page(HTMLParser):
    """Collects tags with their attributes, and the content of style and script."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: dict[str, str] = {}
        self.text = ""
        self._open: list[str] = []
        self.feed(content.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See HTMLParser."""
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """See HTMLParser."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """See HTMLParser."""
        if self._open and self._open[-1] in {"style", "script"}:
            self.inline[self._open[-1]] = data
        else:
            self.text += data


def test_the_page_asks_no_other_server_and_allows_only_its_own_style_and_script() -> None:
    page = Page(format_page(listed(1, 2), title="Images of octo/snowdrop"))
    policy = content_security_policy()
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": policy}) in page.tags
    for kind, content in page.inline.items():
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    loaded = [
        value
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name in {"src", "srcset", "data", "poster"} or (tag == "link" and name == "href")
    ]
    assert sorted(map(str, loaded)) == ["data:,", "feed.xml"]
    assert "@import" not in page.inline["style"]
    assert "url(" not in page.inline["style"]


def test_the_page_has_the_digest_and_the_commands_of_each_release() -> None:
    catalogue = listed(*range(1, 41)).with_withdrawn("v3.24.20261101", "the kernel loses data")
    page = Page(format_page(catalogue, title="Images"))
    for each in catalogue.entries:
        assert each.images[0].sha256 in page.text
        verify = f"nox -s verify -- {each.version} --repository octo/snowdrop"
        assert (verify in page.text) is not bool(each.withdrawn)
    assert "40 releases of a disk image" in page.text
    assert page.text.count("Withdrawn:") == 1
    headings = [tag for tag, _ in page.tags if tag in {"h1", "h2", "h3"}]
    assert headings == ["h1", *["h2", "h3"] * 40]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) == 80


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_becomes_text(text: str) -> None:
    image = replace(entry(1).images[0], variant=text, file=text, url=f"https://x/{text}")
    hostile = entry(
        1,
        version=text,
        repository=text,
        commit=text,
        alpine=text,
        previous=text,
        withdrawn=text,
        images=(image,),
    )
    page = Page(format_page(Catalogue((hostile,)), title=text))
    harmless = Page(format_page(listed(1).with_withdrawn("v3.24.20261101", "x"), title="x"))
    assert [tag for tag, _ in page.tags if tag != "p"] == [
        tag for tag, _ in harmless.tags if tag != "p"
    ]
    assert not any(name.startswith("on") for _, found in page.tags for name in found)
    feed = ElementTree.fromstring(format_feed(Catalogue((hostile,)), title=text, base=BASE))  # noqa: S314
    assert len(feed.findall("{http://www.w3.org/2005/Atom}entry")) == 1


def test_the_feed_has_what_atom_demands() -> None:
    atom = "{http://www.w3.org/2005/Atom}"
    catalogue = listed(1, 2).with_withdrawn("v3.24.20261101", "the kernel loses data")
    feed = ElementTree.fromstring(format_feed(catalogue, title="Images", base=BASE))  # noqa: S314
    entries = feed.findall(f"{atom}entry")
    for element in (feed, *entries):
        assert element.findtext(f"{atom}id")
        assert element.findtext(f"{atom}title")
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", element.findtext(f"{atom}updated") or ""
        )
    ids = [element.findtext(f"{atom}id") for element in entries]
    assert ids == [f"{BASE}/index.html#v3.24.2026110{number}" for number in (2, 1)]
    assert (entries[1].findtext(f"{atom}summary") or "").startswith("Withdrawn: the kernel")


def test_equal_catalogues_give_equal_bytes() -> None:
    for make in (
        dump_catalogue,
        lambda each: format_page(each, title="x"),
        lambda each: format_feed(each, title="x", base=BASE),
    ):
        assert make(listed(1, 2)) == make(listed(2, 1))


def test_the_page_names_no_command_for_a_withdrawn_release() -> None:
    page = format_page(listed(1, 2).with_withdrawn(entry(1).version, "x"), title="x").decode()
    assert f"nox -s import -- {entry(2).version} " in page
    assert f"nox -s import -- {entry(1).version} " not in page


def test_the_command_for_the_import_is_accepted() -> None:
    page = format_page(listed(1), title="x").decode()
    (words,) = re.findall(r"nox -s import -- ([^<]+)<", page)
    arguments = make_parser("import", load_command("import")).parse_args(words.split())
    assert (arguments.variant, arguments.region) == ("droplet", ["fra1"])
