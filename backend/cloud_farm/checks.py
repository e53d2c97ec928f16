"""One thing that was looked at, and how it is: what checks of stores and engines say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .job import Finding

GREEN, YELLOW, RED = "green", "yellow", "red"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: Stable: of a store reach, login, version, place, tls, proxy, rights, space, clock, latency, upload or download;
            of an engine computer, kubernetes or argo; volume sums a store up.
        level: green, yellow (works, but look at it) or red (jobs fail).
        fix: What to do about it.
        values: The numbers, for programs.
    """

    name: str
    level: str
    message: str
    fix: str = ""
    values: Mapping[str, float | str | bool | None] = field(default_factory=dict)


def judged(name: str, findings: Sequence[Finding], good: str) -> Check:
    """Make one check of what was found; errors decide, and what is only for information changes nothing."""
    errors = [finding for finding in findings if finding.severity == "error"]
    warnings = [finding for finding in findings if finding.severity == "warning"]
    told = errors or warnings
    if not told:
        return Check(name, GREEN, " ".join([good, *(finding.message for finding in findings)]))
    fixes = dict.fromkeys(finding.fix for finding in told if finding.fix)
    return Check(name, RED if errors else YELLOW, " ".join(finding.message for finding in told), " ".join(fixes))
