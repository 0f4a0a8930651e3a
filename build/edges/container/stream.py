"""Run the client of an engine, and pass on its output line by line."""

import subprocess
import threading
from collections.abc import Mapping, Sequence
from tempfile import TemporaryFile

from build.edges.container.job import Job
from build.edges.parent import bound
from build.edges.process import Finished
from build.errors import MissingToolError, ProcessError


def stream(argv: Sequence[str], environment: Mapping[str, str], job: Job) -> Finished:
    """Run a program and pass on its lines as they come; kill it after the job's timeout."""
    lines: list[bytes] = []
    overdue = threading.Event()

    def kill() -> None:
        overdue.set()
        process.kill()

    # A file and not a pipe: it is read at the end only, and a full pipe would block the program.
    with TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                bound(argv),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                umask=0o022,
            )
        except FileNotFoundError:
            raise MissingToolError(f"{argv[0]}: no such program on this machine") from None
        timer = threading.Timer(threading.TIMEOUT_MAX if job.timeout is None else job.timeout, kill)
        # An interrupt can come while it starts; Python waits at its end for other kinds of threads.
        timer.daemon = True
        with process:
            try:
                timer.start()
                for line in process.stdout or ():
                    lines.append(line)
                    if job.on_line:
                        job.on_line(line.decode(errors="backslashreplace").rstrip("\n"))
                process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                timer.cancel()
        if overdue.is_set():
            raise ProcessError(f"{argv[0]}: still running after {job.timeout} s, killed")
        errors.seek(0)
        return Finished(tuple(argv), process.returncode, b"".join(lines), errors.read())
