"""Rules of the verifying person about a release, beside its signer: `[require]` of a policy file.

Without them a release of any age is accepted, built on GitHub's machines, with the statements that
each release has.
"""

import re
from dataclasses import dataclass

from build.tables import Table

HOSTED = "github-hosted"
RUNNERS = re.compile(f"{HOSTED}|self-hosted")
"""Values of a certificate's runner environment (Fulcio, docs/oid-info.md, number 11)."""
STATEMENTS = ("provenance", "snapshot", "difference", "build record", "boot report", "SBOM")
"""As the checks of `verify` are called."""
MAX_DAYS = 36_500
TAG_PART = "[A-Za-z0-9._-]"
BUILDER = re.compile(
    r"https://[A-Za-z0-9.-]+/[A-Za-z0-9-]+/[A-Za-z0-9._-]+/\.github/workflows/"
    rf"[A-Za-z0-9._-]+\.ya?ml@refs/tags/(?:{TAG_PART}+|{TAG_PART}*\*)"
)
"""`builder.id` of a provenance; one asterisk at its end stands for the rest of a tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a release must be, whoever signed it."""

    max_age_days: int | None = None
    """Days since it was signed; None for any number."""
    statements: tuple[str, ...] = ()
    """Those of STATEMENTS that must be there, also of one image."""
    builders: tuple[str, ...] = ()
    """Accepted values of `builder.id`, in the form of BUILDER; empty for the signer's own."""
    runners: tuple[str, ...] = (HOSTED,)
    """Accepted machines."""

    @property
    def builder_pattern(self) -> re.Pattern[str]:
        """What matches each accepted builder."""
        return re.compile(
            "|".join(
                re.escape(each.removesuffix("*")) + (f"{TAG_PART}*" if each.endswith("*") else "")
                for each in self.builders
            )
        )


NO_RULES = Rules()


def read_rules(table: Table) -> Rules:
    """Return the rules in the table `[require]`.

    Raises:
        SnowdropError: of the table's type; a key is unknown, or a value is not allowed.
    """
    table.only("max_age_days", "statements", "builders", "runners")
    rules = Rules(
        max_age_days=table.number("max_age_days", low=1, high=MAX_DAYS)
        if "max_age_days" in table.values
        else None,
        statements=table.strings(
            "statements",
            f"a list of: {', '.join(STATEMENTS)}",
            pattern=re.compile("|".join(STATEMENTS)),
            default=(),
        ),
        builders=table.strings(
            "builders",
            "a list of https://HOST/OWNER/REPO/.github/workflows/FILE.yml@refs/tags/TAG, "
            "where TAG may end with *",
            pattern=BUILDER,
            default=(),
        ),
        runners=table.strings(
            "runners", "a list of github-hosted, self-hosted", pattern=RUNNERS, default=(HOSTED,)
        ),
    )
    for key in ("statements", "builders", "runners"):
        # An empty list could be read as none, or as any.
        if table.values.get(key) == []:
            raise table.fail(key, "at least one entry")
    return rules


def dump_rules(rules: Rules) -> list[str]:
    """Return the lines of `[require]`; none where every rule is the default."""
    lines = []
    if rules.max_age_days is not None:
        lines.append(f"max_age_days = {rules.max_age_days}")
    for key in ("statements", "builders", "runners"):
        values = getattr(rules, key)
        if values != getattr(NO_RULES, key):
            # No value has a quote or a backslash.
            lines.append(f"{key} = [" + ", ".join(f'"{value}"' for value in values) + "]")
    return ["", "[require]", *lines] if lines else []
