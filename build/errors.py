"""Exceptions of the project; all derive from SnowdropError."""

from build.urls import hide_userinfo


class SnowdropError(Exception):
    """Failure with a known cause; the command line prints it without a traceback.

    `hint` is the next thing to try, or empty. `exit_code` is the status of the process:
    1 refused or failed, 2 wrong usage or configuration, 3 stale or not reproducible.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        # Here, since an error also becomes a note, a line of a report or part of another error.
        super().__init__(hide_userinfo(message))
        self.hint = hide_userinfo(hint)
        self.data: dict[str, object] = {}
        """What the command found until then; with `--json` it is printed beside the error."""


class ConfigError(SnowdropError):
    """A value of the configuration or the command line is missing, unknown or not allowed."""

    exit_code = 2


class MissingToolError(ConfigError):
    """A program is not installed on the host; the hint is the command that installs it."""


class VerificationError(SnowdropError):
    """Bytes do not match a signature or a digest. Never retried."""


class SnapshotError(SnowdropError):
    """A snapshot cannot be made: a package is missing, or packages contradict each other."""


class OutOfStepError(SnapshotError):
    """Repositories that stay inconsistent, as while a mirror is updated; later they will not be."""


class StaleLockError(SnowdropError):
    """The lock no longer matches release.toml or the repositories."""

    exit_code = 3


class RunningError(SnowdropError):
    """The same command runs already in this clone."""


class BuildError(SnowdropError):
    """The image cannot be built."""


class ImageError(BuildError):
    """A disk image cannot be read, or contains what no image may contain."""


class ProcessError(BuildError):
    """A program failed; the message ends with the last lines of its output."""


class BootError(SnowdropError):
    """The image does not boot as a droplet must."""


class RemoteError(SnowdropError):
    """A remote machine did not answer, or refused. Safe to retry."""


class PublishError(SnowdropError):
    """What is already published differs from this release."""


class NotReproducibleError(SnowdropError):
    """Two builds of one lock and one source gave different bytes."""

    exit_code = 3
