"""What a doctor tells of a store: findings, each with its cure, and what could not be looked at."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.StrEnum):
    """How much a finding matters."""

    PROBLEM = "problem"
    """Something fails, or is lost, now or soon."""

    WARNING = "warning"
    """It works, and worse than it could, or not for everybody."""

    NOTE = "note"
    """Worth knowing; nothing need be done."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a doctor found.

    Attributes:
        severity: how much it matters.
        code: a word that stays the same between releases; docs/doctor.md has a row for each.
        namespace: whose it is; None for the registry, the database or the server.
        what: what was found, on one line, without the data of a message.
        cure: how to mend it: a command of a shell or of SQL, or a sentence.
        fixable: whether a doctor may mend it by itself: it loses nothing.
    """

    severity: Severity
    code: str
    namespace: str | None
    what: str
    cure: str
    fixable: bool = False


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What an examination found.

    Attributes:
        findings: the worst first.
        unseen: what could not be looked at, and why, a line each.
    """

    findings: tuple[Finding, ...]
    unseen: tuple[str, ...] = ()

    @property
    def wrong(self) -> bool:
        """Whether something should be done: a problem or a warning."""
        return any(finding.severity != Severity.NOTE for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of a finding that was to be mended.

    Attributes:
        finding: what was found.
        done: what was done; None where it failed.
        error: why it failed; None where it didn't.
    """

    finding: Finding
    done: str | None
    error: str | None = None
