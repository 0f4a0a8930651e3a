"""What each line of a verification proves, and what it does not, in plain words."""

from collections.abc import Mapping

EXPLANATIONS: Mapping[str, tuple[str, str]] = {
    "release.json": (
        "the list of files is one that this program reads in only one way",
        "that anybody signed it: that is SHA256SUMS' part",
    ),
    "trust root": (
        (
            "the certificate authority, the logs and the clock behind the signature are among "
            "those that you believe, each at its time"
        ),
        "that they are honest; you decided that when you took the root",
    ),
    "issuer of the identity": (
        "GitHub's token service told the certificate authority who was signing",
        "that GitHub itself was not deceived",
    ),
    "signer": (
        "the workflow build.yml of that repository, at that tag, held the signing key",
        "that its steps do good things: read the workflow at that tag",
    ),
    "build workflow": (
        "the same, from the field that GitHub's claims fill",
        "that its steps do good things",
    ),
    "calling workflow": (
        "build.yml was called by release.yml, which is what a pushed tag starts",
        "that nobody with the right to push tags was careless",
    ),
    "source repository": (
        "the run belongs to the repository that you named",
        "that its owner is who you think: only its numbers stay when a name changes hands",
    ),
    "source ref": (
        "the run was of this tag, so it is no older release under a new name",
        "that there is no newer release",
    ),
    "source commit": (
        "the run saw the commit that the release names",
        "that the commit is good: read it, or what others say of it",
    ),
    "runner": (
        "a machine of GitHub's, fresh for this job, did the work",
        "that GitHub's machines do as they should",
    ),
    "trigger": (
        "a push of the tag started it, not a person's click nor a pull request",
        "who pushed: GitHub's audit log knows",
    ),
    "repository number": (
        "it is the repository of your policy file, whatever it is called today",
        "that its owner did not lose control of it",
    ),
    "owner number": (
        "it still belongs to the owner of your policy file",
        "that the owner's account was not taken over",
    ),
    "repository in release.json": (
        "the manifest was made for this repository",
        "more than the certificate does",
    ),
    "tag in release.json": (
        "the manifest was made for this release",
        "that it is the newest one",
    ),
    "signature of": (
        (
            "that identity signed these very bytes, the signature is in the public log, and a "
            "clock that you trust saw it while the certificate was valid"
        ),
        "that the bytes are harmless",
    ),
    "SHA256SUMS": (
        "the signed list and the manifest name the same files with the same digests",
        "that the files at hand are those: each has its own line",
    ),
    "files at hand": (
        "there is no file here that the signatures do not speak of",
        "anything about the files that are",
    ),
    "digest of": (
        "the file at hand is, byte for byte, the one in the signed list",
        "where it was made: that is the provenance's part",
    ),
    "lock of the packages": (
        "the lock beside the image is the one that manifest and statements mean",
        "that its packages are good: that is what its review is for",
    ),
    "provenance": (
        (
            "the builder says of exactly these files from which commit and which packages they "
            "were made"
        ),
        "that the same input gives the same bytes: build it again to know",
    ),
    "builder in the provenance": (
        "the builder that the provenance names is the one that signed",
        "more than the signature does",
    ),
    "build type in the provenance": (
        "the provenance follows the description of this repository's build",
        "that the description is true",
    ),
    "repository in the provenance": (
        "what was asked to be built is this repository",
        "more than the certificate does",
    ),
    "ref in the provenance": (
        "what was asked to be built is this tag",
        "more than the certificate does",
    ),
    "source commit in the provenance": (
        "the commit that was built is the one that the certificate names",
        "that the commit is good",
    ),
    "snapshot": (
        (
            "the release job says that it followed every signature of the distribution, from its "
            "keys to each package of this archive"
        ),
        "it yourself: `--deep` follows them once more, here",
    ),
    "difference": (
        "the release job says what changed in the packages since the release before",
        "that the release before was good",
    ),
    "build record": (
        "the builder's notes about this very image, lock and commit are signed",
        "that the notes are complete",
    ),
    "boot report": (
        "this very image came up in a virtual machine as a droplet, and every check passed",
        "that it comes up on DigitalOcean's machines",
    ),
    "SBOM of": (
        "the list of packages is signed as that of this very image",
        "that the list is complete: `--deep` holds it against lock and image",
    ),
    "snapshot's own chain": (
        (
            "each index and each package in the archive is signed by a key of the distribution "
            "that you hold, seen on this machine"
        ),
        (
            "that the distribution's own machines are sound; its signatures are RSA with SHA-1, "
            "which stand against a mirror, not against somebody who prepared a collision"
        ),
    ),
    "snapshot as stated": (
        "the signed statement says of the archive what was found in it here",
        "more than the archive's own chain does",
    ),
    "packages in the SBOM": (
        "the SBOM names exactly the packages that the lock and the release hold, by digest",
        "that these are what was written to the disk",
    ),
    "packages in": (
        (
            "the database of packages inside the image, as image.json tells it, names the same "
            "packages and versions"
        ),
        "that no file was changed after it was installed: the build again shows that",
    ),
    "dependencies in the provenance": (
        "the provenance names exactly the keys, indexes and packages of the lock, by digest",
        "that the build read nothing else: it has no network",
    ),
}
"""By the first words of a check's name: what it proves, what it does not."""


def explain(name: str) -> tuple[str, str]:
    """Return what the check `name` proves, and what it does not.

    >>> explain("digest of a.qcow2")[0]
    'the file at hand is, byte for byte, the one in the signed list'
    """
    fitting = [words for words in EXPLANATIONS if name == words or name.startswith(f"{words} ")]
    return EXPLANATIONS[max(fitting, key=len)]


def explanations() -> str:
    """Return all of them, for a person who has nothing to verify yet."""
    return "\n\n".join(
        f"{words}\n  proves          {proves}\n  does not prove  {not_proves}"
        for words, (proves, not_proves) in EXPLANATIONS.items()
    )
