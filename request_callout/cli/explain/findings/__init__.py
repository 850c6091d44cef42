"""What an expert would point at in a configuration that is valid: few things, each with its place and a remedy.

``safety`` looks for secrets and for what lets too much through, ``time`` for what takes too long, ``results`` for
results that are not what an expression takes them for, ``calls`` for calls that are made otherwise than they look.
"""

from __future__ import annotations

from request_callout.cli.explain.explanation import Whole
from request_callout.cli.explain.findings import calls, results, safety, time
from request_callout.cli.explain.findings.finding import Finding
from request_callout.cli.explain.subject import Subject

__all__ = ["Finding", "findings"]


def findings(subject: Subject, whole: Whole) -> list[Finding]:
    """Everything, warnings first."""
    found = [
        *safety.findings(subject),
        *results.findings(subject),
        *calls.findings(subject),
        *time.findings(subject, whole),
    ]
    return sorted(found, key=lambda one: one.level == "advice")
