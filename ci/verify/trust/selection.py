"""The part of a trust root that made one bundle: its authorities and logs, while they were valid.

sigstore-python reports of a foreign bundle only that no chain, time or signature was found. It
tries every key of a root, of whatever log and time, and compares the validity of timestamp
authorities alone. Here the missing authority or log is named, the validity of each is checked,
and sigstore-python then gets exactly those that the bundle names.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.x509 import (
    Certificate,
    ExtensionNotFound,
    PrecertificateSignedCertificateTimestamps,
)
from cryptography.x509.certificate_transparency import SignedCertificateTimestamp
from sigstore.models import Bundle, TrustedRoot
from sigstore_models.common.v1 import TimeRange
from sigstore_models.rekor.v1 import TransparencyLogEntry
from sigstore_models.trustroot.v1 import CertificateAuthority, TransparencyLogInstance
from sigstore_models.trustroot.v1 import TrustedRoot as RootModel

from build.errors import VerificationError
from ci.verify.trust.form import NOT_LOGGED, REKOR_V2, checkpoint_host
from ci.verify.trust.root import (
    AUTHORITY,
    CERTIFICATE_LOG,
    HINT,
    LOG,
    ROOT_MEDIA_TYPE,
    TIMESTAMPS,
    Root,
    TrustAnchor,
)
from ci.verify.trust.timestamps import is_timestamp_of

CLOCKS = timedelta(minutes=5)
"""The clocks of a certificate authority and of its certificate log may differ by this."""


def select_part(
    root: Root, bundle: Bundle, entry: TransparencyLogEntry, *, name: str
) -> TrustedRoot:
    """Return the part of `root` that made `bundle`, whose log entry is `entry`.

    It has the keys and authorities that the bundle names, and those alone that were valid when
    they signed. Where the root has one several times, as with two times of validity, any of
    them may hold. Every timestamp is checked here: for sigstore-python one that holds is enough.

    Raises:
        VerificationError: naming the authority or log that is missing, or was not valid.
    """
    return _Selection(root, bundle, entry, name).part()


class _Selection:
    """The choice of trust anchors for one bundle, called `name` in messages."""

    def __init__(self, root: Root, bundle: Bundle, entry: TransparencyLogEntry, name: str) -> None:
        self.root, self.bundle, self.entry, self.name = root, bundle, entry, name
        self.certificate = bundle.signing_certificate

    def part(self) -> TrustedRoot:
        authorities = self._authorities()
        logs = self._logs(LOG, self.entry.log_id.key_id)
        stamp = self._certificate_stamp()
        certificate_logs = self._logs(CERTIFICATE_LOG, stamp.log_id)
        stamps = list(self._timestamps())
        moments = [moment for _, moment in stamps]
        # The promise of Rekor v1 has a time; an entry of Rekor v2 has none of its own.
        promised = self.entry.integrated_time if self.entry.inclusion_promise else None
        logged = [datetime.fromtimestamp(promised, tz=UTC)] if promised else moments
        return _part_of(
            certificate_authorities=self._valid(authorities, [*moments, *logged]),
            tlogs=self._valid(self._hosts(logs), logged),
            ctlogs=self._valid(certificate_logs, [stamp.timestamp.replace(tzinfo=UTC)]),
            timestamp_authorities=[anchor for anchors, _ in stamps for anchor in anchors],
        )

    def _authorities(self) -> list[TrustAnchor]:
        found = [
            anchor
            for anchor in self.root.of_kind(AUTHORITY)
            if _leads_to_last(self.certificate, anchor.certificates)
        ]
        if found:
            return found
        raise VerificationError(
            f"{self.name}: certificate from {self.certificate.issuer.rfc4514_string()!r}, an "
            f"authority that the trust root {self.root.name} lacks "
            f"(its newest key is of {self.root.date})",
            hint=HINT,
        )

    def _logs(self, kind: str, identity: bytes) -> list[TrustAnchor]:
        found = [each for each in self.root.of_kind(kind) if each.identity == identity.hex()]
        if not found:
            raise self._unknown(kind, identity.hex()[:16])
        return found

    def _hosts(self, logs: Sequence[TrustAnchor]) -> list[TrustAnchor]:
        """Return those of `logs` whose host is the origin of the entry's checkpoint."""
        if self.entry.kind_version.version != REKOR_V2:
            return list(logs)  # Rekor v1 names its checkpoints as it likes
        host = checkpoint_host(self.entry)
        found = [each for each in logs if urlsplit(each.uri).hostname == host]
        if not found:
            raise VerificationError(
                f"{self.name}: {NOT_LOGGED} (checkpoint of {host!r}, "
                f"expected the host of {logs[0].uri})"
            )
        return found

    def _certificate_stamp(self) -> SignedCertificateTimestamp:
        """Return the one SCT in the certificate (RFC 6962, section 3.2)."""
        try:
            stamps = self.certificate.extensions.get_extension_for_class(
                PrecertificateSignedCertificateTimestamps
            ).value
        except (ExtensionNotFound, ValueError):
            stamps = None
        if stamps is None or len(stamps) != 1:
            raise VerificationError(
                f"{self.name}: its certificate has no SCT of one certificate log, expected one"
            )
        stamp: SignedCertificateTimestamp = stamps[0]
        moment = stamp.timestamp.replace(tzinfo=UTC)
        start, end = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        if not start - CLOCKS <= moment <= end:
            raise VerificationError(
                f"{self.name}: SCT of {moment:%Y-%m-%d %H:%M:%S}, which is not of the time of its "
                f"certificate ({start:%Y-%m-%d %H:%M:%S})"
            )
        return stamp

    def _timestamps(self) -> Iterator[tuple[list[TrustAnchor], datetime]]:
        """Yield the authorities that made each timestamp, and its time."""
        data = self.bundle.verification_material.timestamp_verification_data
        for stamp in data.rfc3161_timestamps if data else ():
            signers = {(item.issuer, item.serial_number) for item in stamp.signed_data.signer_infos}
            named = [
                anchor
                for anchor in self.root.of_kind(TIMESTAMPS)
                if (anchor.certificates[0].issuer, anchor.certificates[0].serial_number) in signers
            ]
            if not named:
                issuer = ", ".join(sorted(item.rfc4514_string() for item, _ in signers))
                raise self._unknown(TIMESTAMPS, f"of {issuer!r}")
            moment = stamp.tst_info.gen_time.replace(tzinfo=UTC)
            found = [
                anchor
                for anchor in self._valid(named, [moment])
                if is_timestamp_of(stamp, anchor.certificates, self.bundle.signature)
            ]
            if not found:
                raise VerificationError(
                    f"{self.name}: no time of signing from a trusted authority (a timestamp that "
                    f"names {named[0].label} is not its own, or of another signature)"
                )
            yield found, moment

    def _valid(
        self, anchors: Sequence[TrustAnchor], moments: Sequence[datetime]
    ) -> list[TrustAnchor]:
        """Return those of `anchors` that were valid at all `moments`."""
        found = [anchor for anchor in anchors if all(map(anchor.is_valid_at, moments))]
        if found:
            return found
        anchor = anchors[-1]
        moment = next(moment for moment in moments if not anchor.is_valid_at(moment))
        end = f" to {anchor.end:%Y-%m-%d %H:%M:%S}" if anchor.end else ""
        raise VerificationError(
            f"{self.name}: signed {moment:%Y-%m-%d %H:%M:%S}, when the {anchor.kind} "
            f"{anchor.label} was not valid: the trust root {self.root.name} has it from "
            f"{anchor.start:%Y-%m-%d %H:%M:%S}{end}"
        )

    def _unknown(self, kind: str, what: str) -> VerificationError:
        return VerificationError(
            f"{self.name}: {kind} {what} is not in your trust root of {self.root.date} "
            f"({self.root.name})",
            hint=HINT,
        )


def _part_of(**lists: Sequence[TrustAnchor]) -> TrustedRoot:
    """Return the root of the anchors in `lists`, which are named as in a trusted_root.json.

    They were valid. Their ends are left out: sigstore-python does not count the last second,
    which belongs to the validity (protobuf-specs, TimeRange).
    """
    items = {name: [_without_end(each.item) for each in anchors] for name, anchors in lists.items()}
    model = RootModel.model_validate({"media_type": ROOT_MEDIA_TYPE, **items})
    return TrustedRoot(model)


def _without_end(
    item: TransparencyLogInstance | CertificateAuthority,
) -> TransparencyLogInstance | CertificateAuthority:
    if not isinstance(item, CertificateAuthority):
        return item
    validity = TimeRange(start=item.valid_for.start)
    return item.model_copy(update={"valid_for": validity})


def _leads_to_last(certificate: Certificate, chain: Sequence[Certificate]) -> bool:
    """Return whether the last certificate of `chain` issued `certificate`, or one that did.

    sigstore-python trusts each certificate of an authority for itself.
    """
    if not chain:
        return False
    if _is_issued_by(certificate, chain[-1]):
        return True
    return any(
        _is_issued_by(certificate, issuer)
        and _leads_to_last(issuer, [each for each in chain if each != issuer])
        for issuer in chain[:-1]
    )


@lru_cache(maxsize=256)  # all bundles of a release have one certificate
def _is_issued_by(certificate: Certificate, authority: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
