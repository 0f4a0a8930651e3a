"""GitHub's own API description, and the four places where GitHub differs from it.

- status: any operation responds with 401, 403, 404 or 422, the description lists few of them;
- starter: the state of an asset may be `starter`: in the text, missing in the enumeration;
- ref: a ref has a slash (tags/NAME), which a parameter of a path cannot (OpenAPI 3.0.3,
  "Path Templating Matching");
- upload: an upload has the media type of its file, the description allows octet-stream only.
"""

from pathlib import Path

from openapi_core.contrib.werkzeug import WerkzeugOpenAPIRequest, WerkzeugOpenAPIResponse

from ci.rehearsal.openapi import Description

OCTETS = "application/octet-stream"


class GithubRequest(WerkzeugOpenAPIRequest):
    """Request as openapi-core reads it, without GitHub's deviations."""

    @property
    def path(self) -> str:
        """The path with the slash of a ref escaped."""
        before, marker, ref = super().path.partition("/git/ref")
        kind, slash, name = ref.partition("/")
        return before + marker + kind + slash + name.replace("/", "%2F")

    @property
    def content_type(self) -> str:
        """The media type; octet-stream for each uploaded file."""
        return OCTETS if self._is_upload else super().content_type.lower()

    @property
    def body(self) -> bytes | None:
        """The body; one byte for an uploaded file, whose content has no description."""
        return b"x" if self._is_upload else super().body

    @property
    def _is_upload(self) -> bool:
        return self.method == "post" and self.request.path.endswith("/assets")


class GithubResponse(WerkzeugOpenAPIResponse):
    """Response as openapi-core reads it, without GitHub's deviations."""

    @property
    def data(self) -> bytes:
        """The body with a described state in place of `starter`."""
        return super().data.replace(b'"state":"starter"', b'"state":"open"')


DESCRIPTION = Description(
    Path(__file__).parent / "openapi.json",
    request_as=GithubRequest,
    response_as=GithubResponse,
    # A key that GitHub's API does not have is an error of this project.
    unknown_keys="forbid",
    undescribed=(401, 403, 404, 422),
)
