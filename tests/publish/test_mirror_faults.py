"""After each fault of an S3 service, one plain run of `mirror` ends complete."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from build.errors import SnowdropError
from ci.commands import mirror as mirror_command
from ci.rehearsal.s3 import ObjectStore
from tests.publish.conftest import Outcome
from tests.publish.release import IMAGE, VERSION, write_config, write_release
from tests.publish.s3_proxy import Fault, Proxy
from tests.publish.test_interrupted import listing
from tests.publish.test_parts import unfinished

pytestmark = pytest.mark.full
SMALLEST = 5 * 1024 * 1024
"""Of a part that is not the last one: S3 takes no smaller one."""
FAULTS = {
    "bucket missing": (Fault("PUT", IMAGE, "NoSuchBucket", always=True), "NoSuchBucket"),
    "access denied": (Fault("PUT", IMAGE, "AccessDenied", always=True), "AccessDenied"),
    "wrong secret": (Fault("PUT", IMAGE, "SignatureDoesNotMatch"), "SignatureDoesNotMatch"),
    "clock skew": (Fault("PUT", IMAGE, "RequestTimeTooSkewed"), "RequestTimeTooSkewed"),
    "wrong region": (
        Fault("PUT", IMAGE, "AuthorizationHeaderMalformed", always=True),
        "AuthorizationHeaderMalformed",
    ),
    "bucket moved": (Fault("PUT", IMAGE, "PermanentRedirect", always=True), "PermanentRedirect"),
    "wrong checksum": (Fault("PUT", IMAGE, "BadDigest"), "BadDigest"),
    "slow down once": (Fault("PUT", IMAGE, "SlowDown"), ""),
    "500 before the effect": (Fault("PUT", IMAGE, "InternalError"), ""),
    "500 after the effect": (Fault("PUT", IMAGE, "lost"), ""),
    "reset in an upload": (Fault("PUT", IMAGE, "reset"), ""),
    "stalled upload": (Fault("PUT", IMAGE, "stalled"), ""),
    "stalled upload, each time": (Fault("PUT", IMAGE, "stalled", always=True), "Read timeout"),
    "list of a file denied": (Fault("HEAD", IMAGE, "AccessDenied", always=True), "403"),
    "anonymous HEAD refused": (Fault("HEAD", IMAGE, "refused", always=True), "HEAD without an"),
    "anonymous GET refused": (Fault("GET", IMAGE, "refused", always=True), IMAGE),
    "redirect of HEAD": (Fault("HEAD", IMAGE, "redirect", always=True), "302"),
    "redirect of GET": (Fault("GET", IMAGE, "redirect", always=True), IMAGE),
    "download cut short once": (Fault("GET", IMAGE, "cut"), ""),
    "download cut short always": (Fault("GET", IMAGE, "cut", always=True), IMAGE),
    "other bytes are served": (Fault("GET", IMAGE, "other bytes", always=True), "downloaded"),
    "catalogue: denied": (Fault("PUT", "catalogue.json", "AccessDenied"), "catalogue.json"),
    "catalogue: 500 after the effect": (Fault("PUT", "catalogue.json", "lost"), ""),
    "catalogue: reset": (Fault("PUT", "catalogue.json", "reset"), ""),
    "catalogue: not readable": (Fault("GET", "catalogue.json", "AccessDenied"), "catalogue.json"),
    "page: 500 after the effect": (Fault("PUT", "index.html", "lost"), ""),
    "page: denied": (Fault("PUT", "index.html", "AccessDenied"), "index.html"),
    "feed: other bytes are served": (Fault("GET", "feed.xml", "other bytes"), "feed.xml"),
}
PARTS = {
    "parts: the start is denied": (
        Fault("POST", IMAGE, "AccessDenied", query="uploads"),
        "AccessDenied",
    ),
    "parts: 500 after the start": (Fault("POST", IMAGE, "lost", query="uploads"), ""),
    "parts: one is reset": (Fault("PUT", IMAGE, "reset", query="partNumber=2"), ""),
    "parts: 500 after one": (Fault("PUT", IMAGE, "lost", query="partNumber=2"), ""),
    "parts: one is damaged": (
        Fault("PUT", IMAGE, "BadDigest", query="partNumber=2"),
        "BadDigest",
    ),
    "parts: uploads cannot be listed": (
        Fault("GET", "/mirror", "AccessDenied", query="uploads", always=True),
        "",
    ),
    "parts: one is lost": (Fault("POST", IMAGE, "InvalidPart", query="uploadId="), ""),
    "parts: one is lost always": (
        Fault("POST", IMAGE, "InvalidPart", query="uploadId=", always=True),
        "the service lost parts 3 times",
    ),
    "parts: the upload is gone": (Fault("POST", IMAGE, "NoSuchUpload", query="uploadId="), ""),
    "completion: 500 before the effect": (
        Fault("POST", IMAGE, "InternalError", query="uploadId="),
        "",
    ),
    "completion: 500 after the effect": (Fault("POST", IMAGE, "lost", query="uploadId="), ""),
    "completion: 200 with an error": (Fault("POST", IMAGE, "late error", query="uploadId="), ""),
    "completion: reset": (Fault("POST", IMAGE, "reset", query="uploadId="), ""),
    "completion: denied": (
        Fault("POST", IMAGE, "AccessDenied", query="uploadId=", always=True),
        "AccessDenied",
    ),
}
"""The same with the image in parts."""


@pytest.mark.parametrize("name", FAULTS | PARTS)
def test_after_a_fault_one_plain_run_completes_the_mirror(
    name: str,
    proxy: Proxy,
    store: ObjectStore,
    tmp_path: Path,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    fault, message = (FAULTS | PARTS)[name]
    if fault.kind == "stalled":
        monkeypatch.setattr("ci.publish.mirror.SILENCE", 3.0)
    dist = write_release(tmp_path, blocks=200_000 if name in PARTS else 20_000)
    if name in PARTS:
        monkeypatch.setattr("ci.publish.mirror.LARGE", (dist / IMAGE).stat().st_size)
        monkeypatch.setattr("ci.publish.parts.PART", SMALLEST)
    config = write_config(tmp_path, spaces=proxy.settings(spaces, store.bucket))
    proxy.fault = fault
    if message:
        with pytest.raises(SnowdropError, match=re.escape(message)) as failed:
            call(mirror_command, config, environment=keys)
        assert store.secret not in f"{failed.value} {failed.value.hint}"
    else:
        call(mirror_command, config, environment=keys)
    assert proxy.done
    proxy.fault = None
    assert call(mirror_command, config, environment=keys).status == 0
    found = listing(store, spaces["prefix"])
    assert {path.name for path in dist.iterdir()} == {
        key.removeprefix(f"{VERSION}/") for key in found if "/" in key
    }
    assert {key for key in found if "/" not in key} == {"catalogue.json", "index.html", "feed.xml"}
    if "cannot be listed" not in name:
        assert unfinished(store, spaces["prefix"]) == []
    for path in dist.iterdir():
        assert found[f"{VERSION}/{path.name}"] == hashlib.sha256(path.read_bytes()).hexdigest()
