"""Upload of a large file in parts, which a later run resumes (Amazon S3, multipart upload).

What an interrupted run left is read from the service: its unfinished uploads, and their parts.
"""

import hashlib
import io
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import ClientError

from build.edges.progress import Step
from build.errors import RemoteError
from ci.publish.transfer import AGAIN, ProgressCounter, UploadBody
from ci.spaces.conditions import NEW, code_of, write
from ci.spaces.errors import FAILURES, remote_error

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

MIB = 1024 * 1024
PART = 16 * MIB
"""Bytes of each part but the last: S3 takes 5 MiB to 5 GiB, and 10,000 parts."""
LARGE = 64 * MIB
"""Bytes from which a file is sent in parts; a smaller one is sent again as a whole."""
STALE = timedelta(days=1)
"""Age from which an unfinished upload belongs to no publisher that still runs."""
MAX_ROUNDS = 3
"""Rounds after which the service loses parts again and again."""
LOST = {"InvalidPart", "NoSuchUpload"}
"""Codes of a completion when a part, or the upload, is no longer there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The object that a file becomes."""

    bucket: str
    key: str
    headers: Mapping[str, Any]
    """Keywords of the request that starts it: type, caching, access and metadata."""
    replace: bool
    """Whether it may take the place of another object."""


@dataclass(frozen=True, slots=True)
class _Part:
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class _Upload:
    id: str
    parts: Mapping[int, _Part]


def upload_in_parts(
    client: "S3Client",
    target: Target,
    file: BinaryIO,
    step: Step,
    *,
    arrived: Callable[[], bool],
) -> bool:
    """Upload `file`: only the parts that an unfinished upload of the key lacks.

    `arrived` returns whether the object is there: the reply to a completion can be lost.

    Returns:
        whether the object was written; False when there is another one by now.

    Raises:
        RemoteError: the service loses parts.
        ClientError, BotoCoreError: the service refuses or does not reply.
    """
    counters: dict[int, ProgressCounter] = {}
    for _ in range(MAX_ROUNDS):
        upload = _find(client, target, file) or _start(client, target)
        parts = []
        for number, piece in _pieces(file):
            counter = counters.setdefault(number, ProgressCounter(step))
            found = upload.parts.get(number)
            etag = found.etag if found else _send(client, target, upload, number, piece, counter)
            counter.reached(len(piece))
            parts.append({"PartNumber": number, "ETag": etag})
        try:
            written = _complete(client, target, upload, parts)
            if written and upload.parts:
                _label(client, target)
        except FAILURES as error:
            if code_of(error) not in LOST:
                raise
        else:
            return written
        if arrived():
            return True
    raise RemoteError(
        f"{target.bucket}/{target.key}: the service lost parts {MAX_ROUNDS} times", hint=AGAIN
    )


def _label(client: "S3Client", target: Target) -> None:
    """Correct the metadata of an object whose upload another file began.

    Both files begin alike then, as builds of one version can. The bytes are those of this file.
    """
    found = client.head_object(Bucket=target.bucket, Key=target.key)
    if found["Metadata"] != target.headers["Metadata"]:
        client.copy_object(
            Bucket=target.bucket,
            Key=target.key,
            CopySource={"Bucket": target.bucket, "Key": target.key},
            MetadataDirective="REPLACE",
            **target.headers,
        )


def abort_stale(client: "S3Client", bucket: str, prefix: str, finished: Container[str]) -> int:
    """Abort unfinished uploads below `prefix` that nobody continues; return their number.

    Those are the uploads of `finished` keys, whose objects are there and never change, and uploads
    that began a day ago. No object is touched.

    Raises:
        RemoteError: the service refuses or does not reply.
    """
    count = 0
    try:
        for key, upload, age in _unfinished(client, bucket, prefix):
            if key in finished or age > STALE:
                client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
                count += 1
    except FAILURES as error:
        # Another run was faster.
        if code_of(error) != "NoSuchUpload":
            raise remote_error(bucket, prefix, error) from error
    return count


def _find(client: "S3Client", target: Target, file: BinaryIO) -> _Upload | None:
    """Return the newest unfinished upload of the key whose parts are all those of `file`.

    One without parts is none: the metadata of an upload, where the digest is, cannot be read, and
    its parts alone tell whether it is of this file.
    """
    found = [
        (age, upload)
        for key, upload, age in _unfinished(client, target.bucket, target.key)
        if key == target.key
    ]
    for _, upload in sorted(found):
        present = _parts(client, target, upload)
        if present and present.items() <= dict(_expected(file, present)).items():
            return _Upload(upload, present)
    return None


def _unfinished(
    client: "S3Client", bucket: str, prefix: str
) -> Iterator[tuple[str, str, timedelta]]:
    """Yield key, id and age of each unfinished upload, by the clock of the service."""
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
    try:
        for page in pages:
            now = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
            for each in page.get("Uploads", []):
                yield each["Key"], each["UploadId"], now - each["Initiated"]
    except ClientError as error:
        # Nothing can be resumed or aborted then; a key may be allowed to write and not to list.
        if code_of(error) not in {"NotImplemented", "AccessDenied"}:
            raise


def _parts(client: "S3Client", target: Target, upload: str) -> dict[int, _Part]:
    pages = client.get_paginator("list_parts").paginate(
        Bucket=target.bucket, Key=target.key, UploadId=upload
    )
    return {
        each["PartNumber"]: _Part(each["Size"], each["ETag"])
        for page in pages
        for each in page.get("Parts", [])
    }


def _expected(file: BinaryIO, wanted: Container[int]) -> Iterator[tuple[int, _Part]]:
    """Yield the parts of `file` with the numbers `wanted`, as the service lists them."""
    for number, piece in _pieces(file):
        if number in wanted:
            # The ETag of a part is its MD5 (Amazon S3, checking object integrity).
            digest = hashlib.md5(piece, usedforsecurity=False).hexdigest()
            yield number, _Part(len(piece), f'"{digest}"')


def _pieces(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    file.seek(0)
    number = 1
    while piece := file.read(PART):
        yield number, piece
        number += 1


def _start(client: "S3Client", target: Target) -> _Upload:
    started = client.create_multipart_upload(Bucket=target.bucket, Key=target.key, **target.headers)
    return _Upload(started["UploadId"], {})


def _send(
    client: "S3Client",
    target: Target,
    upload: _Upload,
    number: int,
    piece: bytes,
    counter: ProgressCounter,
) -> str:
    """Upload a part and return its ETag."""
    body = UploadBody(io.BytesIO(piece), len(piece), counter, counting=False)
    sent = client.upload_part(
        Bucket=target.bucket,
        Key=target.key,
        UploadId=upload.id,
        PartNumber=number,
        Body=body,  # type: ignore[arg-type]
        ContentLength=len(piece),
    )
    return sent["ETag"]


def _complete(
    client: "S3Client", target: Target, upload: _Upload, parts: list[dict[str, Any]]
) -> bool:
    """Make an object of the parts; return False, without the upload, when there is another one."""

    def send(**condition: Any) -> object:  # noqa: ANN401
        return client.complete_multipart_upload(
            Bucket=target.bucket,
            Key=target.key,
            UploadId=upload.id,
            MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]
            **condition,
        )

    if write(send, {} if target.replace else NEW):
        return True
    # A refused completion does not end the upload (Amazon S3, CompleteMultipartUpload, 412).
    client.abort_multipart_upload(Bucket=target.bucket, Key=target.key, UploadId=upload.id)
    return False
