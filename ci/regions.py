"""Regions of DigitalOcean, so that a mistyped one is noticed before anything is sent.

The list is the one of DigitalOcean's API description (github.com/digitalocean/openapi,
specification/shared/attributes/region_slug.yml, read in November 2026). Custom images are available
in all regions (docs.digitalocean.com, Custom Images, Availability). A region that is newer than
the list is accepted when the caller says so.
"""

import re
from collections.abc import Sequence

from build.errors import ConfigError

REGION = re.compile(r"[a-z]{3}[0-9]")
REGIONS = (
    *("ams2", "ams3", "atl1", "blr1", "fra1", "lon1", "nyc1", "nyc2", "nyc3"),
    *("sfo1", "sfo2", "sfo3", "sgp1", "syd1", "tor1"),
)
SPACES = re.compile(r"https?://([^/]+\.)?digitaloceanspaces\.com")
"""Endpoint of a bucket at DigitalOcean; another S3 service has regions of other names."""


def check_regions(regions: Sequence[str], where: str, *, unlisted: bool, accept: str) -> None:
    """Check that each region is in the list; with `unlisted`, only that it has such a form.

    `where`: the key or the option, for the message; `accept`: what sets `unlisted`.

    Raises:
        ConfigError: one is not, with the known ones near it.
    """
    for region in regions:
        if not REGION.fullmatch(region):
            raise ConfigError(f"{where} {region}: expected a region such as fra1")
        if region not in REGIONS and not unlisted:
            raise ConfigError(
                f"{where} {region}: not in DigitalOcean's list of regions, "
                f"near it: {', '.join(near(region))}",
                hint=f"if the region is newer than the list, add `{accept}`",
            )


def near(region: str) -> list[str]:
    """Return the known regions that resemble `region`: of the same city, else the most alike.

    >>> near("nyc4"), near("frankfurt"), near("fra")
    (['nyc1', 'nyc2', 'nyc3'], ['fra1'], ['fra1'])
    """
    same_city = [each for each in REGIONS if each[:3] == region[:3].lower()]
    # Counted by hand: difflib finds nothing near a word as short as these.
    alike = sorted(REGIONS, key=lambda each: -sum(map(str.__eq__, each, region)))
    return same_city or alike[:3]
