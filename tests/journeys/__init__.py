"""A whole release, looked at from outside: by the maintainer, the downloader, the verifier."""
