"""The reasons for which a test may be skipped; `tests/conftest.py` fails a run with any other."""

ROOT = "needs root"
NAMESPACES = "namespaces are not permitted"
ALPINE = "real Alpine packages are not at hand"
ENGINE = "no container engine works here"
QEMU = "QEMU is not installed"
DEBIAN_MIRROR = "no Debian mirror is known"
TMPFS = "no writable tmpfs"
BUNDLES = "real sigstore bundles are not at hand"
TOOL = "a host program is not installed"

REASONS = (ROOT, NAMESPACES, ALPINE, ENGINE, QEMU, DEBIAN_MIRROR, TMPFS, BUNDLES, TOOL)
"""A reason begins with one of these; what follows after a colon is for the reader."""
