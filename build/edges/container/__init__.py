"""Run a program in a folder as its root file system, without network.

Three engines do the same: docker, podman and the plain `unshare` of util-linux. In each the root
is read-only, mounts and tmpfs are those of the job, `lo` is the only interface, the umask is 022
and the environment is the job's. The program runs as root with all capabilities, since it makes
device nodes and gives files to other users, in a tmpfs.

Docker and podman add variables of their own (HOME, HOSTNAME, container); a program for which
that matters starts its children with an explicit environment.

Whatever a job writes belongs to the caller, who need not be root: under docker a writable mount
is a volume, and its files are copied out to the host by the caller. A bind mount would leave
files of root there, which a caller in the docker group can neither change nor remove.
"""

from build.edges.container.choose import (
    CALLER_VARIABLES,
    Choice,
    choose_engine,
    client_environment,
    one_line,
)
from build.edges.container.docker_copy import unpack_results
from build.edges.container.job import HOST_NAME, Engine, Job, Mount, prepare_root

__all__ = [
    "CALLER_VARIABLES",
    "HOST_NAME",
    "Choice",
    "Engine",
    "Job",
    "Mount",
    "choose_engine",
    "client_environment",
    "one_line",
    "prepare_root",
    "unpack_results",
]
