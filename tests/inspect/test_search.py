"""Each kind of secret is recognised by its content, wherever a file is cut into pieces."""

import pytest

from build.inspect.readers.search import Scanner, search
from build.inspect.secrets import SECRET_PATTERNS, secret_patterns

KEY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
SECRETS = {
    "PEM": ("private-key", f"-----BEGIN PRIVATE KEY-----\n{KEY}\n"),
    "PEM, encrypted": (
        "private-key",
        f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES,00\n\n{KEY}\n",
    ),
    "PEM in JSON": ("private-key", f'{{"k":"-----BEGIN PRIVATE KEY-----\\n{KEY}\\n"}}'),
    "OpenSSH": ("private-key", f"-----BEGIN OPENSSH PRIVATE KEY-----\r\n{KEY}\r\n"),
    "PGP": ("private-key", f"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\n{KEY}\n"),
    "PuTTY": ("private-key", "PuTTY-User-Key-File-3: ssh-ed25519\r\n"),
    "age": ("private-key", "AGE-SECRET-KEY-1" + "Q7" * 29),
    "GitHub": ("token", "ghp_" + "a1" * 18),
    "GitHub, OAuth": ("token", "gho_" + "a1" * 18),
    "GitHub, Actions": ("token", "ghs_" + "a1" * 18),
    "GitHub, fine-grained": ("token", "github_pat_" + "a1_" * 20),
    "GitLab": ("token", "glpat-" + "a1-" * 8),
    "DigitalOcean": ("token", "dop_v1_" + "0f" * 32),
    "DigitalOcean, OAuth": ("token", "doo_v1_" + "0f" * 32),
    "Spaces": ("token", "DO00" + "A1" * 8),
    "AWS": ("token", "AKIA" + "A1" * 8),
    "PyPI": ("token", "pypi-AgEIcHlwaS5vcmc" + "a1" * 30),
    "npm": ("token", "npm_" + "a1" * 18),
    "Slack": ("token", "xoxb-123456789-" + "a1" * 12),
    "JSON web token": ("token", f"eyJ{'a' * 1500}.eyJ{'b' * 40}.{'c' * 43}"),
    "build path": ("build-path", "/srv/ci/checkout"),
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_across_two_pieces_is_found(kind: str) -> None:
    rule, secret = SECRETS[kind]
    content = f"{'x' * 5000} {secret} {'y' * 5000}".encode()
    patterns = secret_patterns(["/srv/ci/checkout"])
    for cut in (0, *range(5001, 5001 + len(secret) + 1, 7), len(content)):
        scanner = Scanner(patterns)
        scanner.feed(content[:cut])
        scanner.feed(content[cut:])
        assert [hit.rule for hit in scanner.hits] == [rule], cut
        assert scanner.hits[0].offset in range(5001, 5001 + len(secret))


@pytest.mark.parametrize(
    "harmless",
    [
        "-----BEGIN PRIVATE KEY-----\0%s",
        "-----BEGIN PUBLIC KEY-----\n" + KEY,
        "PuTTY-User-Key-File-%d: %s",
        "Aghp_" + "a1" * 18,
        "ghp_" + "a1" * 12,
        "DO00" + "a1" * 8,
        "AKIA" + "A1" * 20,
        "eyJhbGciOiJub25lIn0",
    ],
)
def test_text_similar_to_a_secret_is_not_found(harmless: str) -> None:
    assert search(SECRET_PATTERNS, f"x {harmless} y".encode()) == []


def test_every_pattern_has_an_example() -> None:
    examples = [f" {secret} ".encode() for _, secret in SECRETS.values()]
    for pattern in SECRET_PATTERNS:
        assert any(search([pattern], example) for example in examples), pattern.literal
