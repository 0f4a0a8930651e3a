"""What can go wrong, and what the person at the terminal can do about it."""


class SnowdropError(Exception):
    """A failure whose cause is understood; the outermost door prints it.

    `hint` is the next thing to try, or empty. `exit_code` is the status of the process:
    1 refused or failed, 2 wrong usage or configuration, 3 "it holds no more".
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(SnowdropError):
    """A value of the configuration or the command line is missing, unknown or impossible."""

    exit_code = 2


class MissingToolError(ConfigError):
    """A program of the host is absent; the hint is the command that installs it."""


class VerificationError(SnowdropError):
    """Bytes are not what a signature or a digest says they are. Never retried."""


class SnapshotError(SnowdropError):
    """A snapshot cannot be made: a package is missing, or packages contradict each other."""


class StaleLockError(SnowdropError):
    """The lock and what it was made from have parted ways."""

    exit_code = 3


class BuildError(SnowdropError):
    """The image cannot be made."""


class ImageError(BuildError):
    """A disk image cannot be read, or holds what no image may."""


class ProcessError(BuildError):
    """A program that was started failed; the message ends in the last lines it wrote."""


class BootError(SnowdropError):
    """The image does not come up as a droplet must."""


class RemoteError(SnowdropError):
    """Another machine did not answer, or refused. Safe to run again."""


class PublishError(SnowdropError):
    """What is published already is not what this release holds."""


class ImportFailedError(SnowdropError):
    """DigitalOcean did not take the image."""


class NotReproducibleError(SnowdropError):
    """Two builds of one lock and one source gave different bytes."""

    exit_code = 3
