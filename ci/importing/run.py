"""The run of an import: one action, then the state is read again, until nothing is left to do."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from build.edges.progress import Progress
from build.errors import PublishError, RemoteError
from ci.importing.api import AGAIN, Api, CustomImage, NewImage, UncertainError
from ci.importing.plan import Create, Keep, Transfer, Wait, Wanted, plan

FIRST_PAUSE, INTERVAL = 0.5, 10.0
"""Seconds from the first question about an import to the next, and the longest such pause."""
MAX_UNCERTAIN = 3
"""Failed creations after which the account is not asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportJob:
    """An import and its surroundings."""

    api: Api
    wanted: Wanted
    name: str
    description: str
    tags: tuple[str, ...]
    url: Callable[[], str]
    """Returns the URL of the image after its bytes were checked; called before each creation."""
    seconds: float
    """Limit for one import and for one transfer."""
    progress: Progress
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    interval: float = INTERVAL
    """The longest pause between two questions, in seconds."""

    def pauses(self) -> Iterator[None]:
        """Sleep between two questions: first shortly, then as long as `interval`."""
        pause = min(FIRST_PAUSE, self.interval)
        while True:
            self.sleep(pause)
            yield
            pause = min(2 * pause, self.interval)


def run_import(job: ImportJob) -> CustomImage:
    """Import the image and copy it to all regions; return it.

    Raises:
        PublishError: the import or a transfer failed, with the reason of the service, or the image
            was deleted meanwhile.
        RemoteError: the service refuses, or did not end in time.
    """
    uncertain = 0
    while True:
        action = plan(job.wanted, job.api.find(job.wanted.tag))[0]
        match action:
            case Keep(image):
                return image
            case Wait(image):
                _wait_for_image(job, image)
            case Transfer(image, region):
                _transfer(job, image, region)
            case Create(region):
                try:
                    _create(job, region)
                except UncertainError:
                    uncertain += 1
                    if uncertain == MAX_UNCERTAIN:
                        raise
                    # It may have been made: the next turn finds it by its tag.
                    job.sleep(job.interval)


def _create(job: ImportJob, region: str) -> None:
    new = NewImage(
        name=job.name,
        url=job.url(),
        region=region,
        description=job.description,
        tags=(job.wanted.tag, *job.tags),
    )
    with job.progress.step(f"Start the import of {job.name} in {region}"):
        image = job.api.create(new)
    _wait_for_image(job, image)


def _wait_for_image(job: ImportJob, image: CustomImage) -> None:
    end, pauses = job.clock() + job.seconds, job.pauses()
    with job.progress.step(f"Import image {image.number}", unit="questions") as step:
        while True:
            found = job.api.get(image.number)
            if found is None:
                raise PublishError(
                    f"image {image.number}: it does not exist any more, somebody deleted it",
                    hint=AGAIN,
                )
            if found.status == "available":
                return
            if found.status in {"deleted", "retired"}:
                reason = found.error_message or "the service gives no reason"
                raise PublishError(f"image {image.number}: the import failed: {reason}")
            if job.clock() >= end:
                raise RemoteError(
                    f"image {image.number}: still {found.status} after {job.seconds:g} s",
                    hint=AGAIN,
                )
            step.advance(1)
            next(pauses)


def _transfer(job: ImportJob, image: CustomImage, region: str) -> None:
    end, pauses = job.clock() + job.seconds, job.pauses()
    with job.progress.step(f"Copy image {image.number} to {region}", unit="questions") as step:
        action = job.api.transfer(image.number, region)
        while (status := job.api.action_status(image.number, action)) == "in-progress":
            if job.clock() >= end:
                raise RemoteError(
                    f"image {image.number}: the copy to {region} still runs after "
                    f"{job.seconds:g} s",
                    hint=AGAIN,
                )
            step.advance(1)
            next(pauses)
    if status == "errored":
        raise PublishError(f"image {image.number}: the copy to {region} failed", hint=AGAIN)
