"""A release whose bundles cosign has made again is verified as the release itself.

Debian has cosign 2.5 and 3.1 (`SUITES`). Versions between them are not to be had: their services
are, which each signing config names (Rekor v1 or v2, with a timestamp or without).
"""

import base64
import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from werkzeug.wrappers import Request, Response

from ci.rehearsal.sigstore.authority import Authority, requested_key
from ci.rehearsal.sigstore.server import Running, Services, Sigstore
from ci.release.manifest import BUNDLE_SUFFIX
from tests.verify.conftest import Output
from tests.verify.judges import Cosign, Judge
from tests.verify.stage import NEW, Scene

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]
Ask = Callable[[Scene], Output]


@contextmanager
def serving(scene: Scene, rekor: int) -> Iterator[Running]:
    """Serve the sigstore that signed the release, and leave a token of its job in a file."""
    job = scene.stage.job(NEW)
    with Sigstore.open(scene.stage.root / "sigstore", job, rekor=rekor).serve() as running:
        (scene.place / "token").write_text(identity_token(running))
        yield running


@pytest.mark.parametrize(
    ("rekor", "stamped"),
    [
        pytest.param(1, False, id="Rekor v1, as cosign 2.6 uses it"),
        pytest.param(1, True, id="Rekor v1 and a timestamp, as cosign 3.0 uses them"),
        pytest.param(2, True, id="Rekor v2 and a timestamp, as cosign 3.1 uses them"),
    ],
)
def test_verify_accepts_a_release_that_cosign_3_signed_again(
    tools: dict[str, Judge], scene: Scene, ask: Ask, rekor: int, *, stamped: bool
) -> None:
    with serving(scene, rekor) as running:
        config = json.loads(running.signing_config.read_text())
        if not stamped:
            del config["tsaUrls"], config["tsaConfig"]
        services = scene.place / "signing_config.json"
        services.write_text(json.dumps(config))
        trust = ["--trusted-root", str(scene.trust_root), "--signing-config", str(services)]
        bundles = sorted(scene.folder.glob(f"*{BUNDLE_SUFFIX}"))
        for bundle in bundles:
            signed, words = json.loads(bundle.read_bytes()), ["sign-blob"]
            if "dsseEnvelope" in signed:
                statement = scene.place / "statement"
                statement.write_bytes(base64.b64decode(signed["dsseEnvelope"]["payload"]))
                words = ["attest-blob", "--statement", str(statement)]
            else:
                words.append(str(bundle).removesuffix(BUNDLE_SUFFIX))
            sign(tools["cosign"], scene, *words, "--bundle", str(bundle), *trust)
    assert len(bundles) > 10
    output = ask(scene)
    assert (output.code, output.failed) == (0, {})


@pytest.mark.parametrize("stamped", [False, True], ids=["without a timestamp", "and a timestamp"])
def test_verify_accepts_files_that_cosign_2_signed_again(
    cosign2: Cosign,
    scene: Scene,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stamped: bool,
) -> None:
    """The statements stay: cosign 2.5 writes in-toto v0.1, about one subject."""
    known = Services.answer
    monkeypatch.setattr(Services, "answer", lambda self, asked: answer_v1(self, asked, known))
    with serving(scene, rekor=1) as running:
        words = ["--new-bundle-format", "--fulcio-url", running.address]
        words += ["--rekor-url", running.address]
        if stamped:
            words += ["--timestamp-server-url", f"{running.address}/api/v1/timestamp"]
            words += ["--rfc3161-timestamp", str(scene.place / "stamp")]
        count = 0
        for bundle in sorted(scene.folder.glob(f"*{BUNDLE_SUFFIX}")):
            if "messageSignature" in json.loads(bundle.read_bytes()):
                file = str(bundle).removesuffix(BUNDLE_SUFFIX)
                sign(cosign2, scene, "sign-blob", file, "--bundle", str(bundle), *words)
                count += 1
    assert count > 10
    output = ask(scene)
    assert (output.code, output.failed) == (0, {})


def sign(tool: Judge, scene: Scene, *words: str) -> None:
    """Run cosign with the token of the job and the keys of its log and certificate log."""
    root = json.loads(scene.trust_root.read_text())
    (rekor,) = (item for item in root["tlogs"] if "//rekor." in item["baseUrl"])
    environment = {"HOME": str(scene.place), "PATH": "/usr/bin:/bin", "NO_PROXY": "127.0.0.1"}
    # cosign 2 takes no trust root to sign, but these.
    for name, item in (
        ("SIGSTORE_REKOR_PUBLIC_KEY", rekor),
        ("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", root["ctlogs"][0]),
    ):
        file = scene.place / name
        raw = item["publicKey"]["rawBytes"]
        file.write_text(f"-----BEGIN PUBLIC KEY-----\n{raw}\n-----END PUBLIC KEY-----\n")
        environment[name] = str(file)
    done = subprocess.run(
        [tool.program, *words, "--yes", "--identity-token", str(scene.place / "token")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def answer_v1(
    services: Services, request: Request, known: Callable[[Services, Request], Response]
) -> Response:
    """Answer as Fulcio's first API does, which cosign 2 uses; anything else as `known` does."""
    if request.path != "/api/v1/signingCert":
        return known(services, request)
    asked, instance = json.loads(request.get_data()), services._instance
    pem = base64.b64decode(asked["publicKey"]["content"])
    proof = {"proofOfPossession": asked["signedEmailAddress"]}
    wanted = {"publicKeyRequest": {"publicKey": {"content": pem.decode()}, **proof}}
    now = instance.clock()
    token = request.headers["Authorization"].removeprefix("Bearer ")
    claims = instance.issuer.check(token, now)
    chain = Authority(instance.keys).issue(requested_key(wanted, claims["sub"]), claims, now)
    return Response("".join(chain), 201, content_type="application/pem-certificate-chain")


def identity_token(running: Running) -> str:
    """Return an identity token of the job, as its service gives it."""
    bearer = running.environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    url = running.environment["ACTIONS_ID_TOKEN_REQUEST_URL"] + "&audience=sigstore"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {bearer}"})  # noqa: S310 (our own address)
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 (our own address)
        token: str = json.loads(answer.read())["value"]
    return token
