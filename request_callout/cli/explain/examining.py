"""From a configuration to its explanation."""

from __future__ import annotations

from collections.abc import Sequence

from request_callout.cli.explain import client
from request_callout.cli.explain.ending import errors, lines, upstream
from request_callout.cli.explain.explanation import Callout, Explanation, Timing, Wait, Warning
from request_callout.cli.explain.findings import findings
from request_callout.cli.explain.keeping import kept
from request_callout.cli.explain.sending import gets, sent
from request_callout.cli.explain.subject import Subject
from request_callout.cli.explain.timing import times
from request_callout.engine.compiled import CompiledCallout
from request_callout.engine.plan import Step, levels
from request_callout.engine.reasons import Reason

_PARTS = {
    "headers": "headers",
    "raw_query": "query",
    "captures": "URI captures",
    "content_type": "content type",
}


def examined(subject: Subject, path: str, place: str) -> Explanation:
    """What a configuration does; ``path`` is where it stands in its file, ``place`` for which requests it holds."""
    timings, whole = times(subject.plan, subject.deadline_ms, subject.settings)
    callouts = [
        _callout(subject, step, level, timing, path)
        for step, level, timing in zip(subject.plan.steps, levels(subject.plan), timings, strict=True)
    ]
    shown = subject.shown
    return Explanation(
        path=path,
        place=place,
        callouts=tuple(callouts),
        upstream=upstream(subject.upstream, shown),
        whole=whole,
        reads=tuple(_PARTS.get(part, part) for part in subject.plan.reads),
        warnings=tuple(
            Warning(
                level=one.level,
                code=one.code,
                path=path + one.where.removeprefix("config"),
                message=shown.plain(one.message),
                remedy=shown.plain(one.remedy),
            )
            for one in findings(subject, whole)
        ),
    )


def _callout(subject: Subject, step: Step, level: int, timing: Timing, path: str) -> Callout:
    one, shown = step.callout, subject.shown
    config = one.config
    own = one.url.where.removesuffix("request.url")
    items = config.for_each
    scripts = [
        f"{script.where.removeprefix(own)} ({lines(script)})"
        for script in (one.request_script, one.response_script)
        if script is not None
    ]
    return Callout(
        name=shown.plain(one.name),
        path=(path + own.removeprefix("config")).removesuffix("."),
        level=level,
        waits_for=tuple(_wait(reason, subject.callouts, own) for reason in step.reasons),
        when=None if config.when is None else shown.expression(config.when),
        for_each=None
        if items is None
        else f"{shown.expression(items.items)}: up to {items.max_items}, {items.concurrency} side by side",
        reads=client.of_callout(one),
        sends=sent(one, shown),
        gets=gets(one),
        caches=kept(one, subject),
        time=timing,
        errors=errors(one, shown),
        scripts=tuple(scripts),
    )


def _wait(reason: Reason, callouts: Sequence[CompiledCallout], own: str) -> Wait:
    name, where = callouts[reason.place].name, reason.where.removeprefix(own)
    text = {
        "declared": f"depends_on names {name}",
        "reads": f"{where} reads {name}",
        "may_read": f"{where} may read {name}: it uses the context of any callout",
        "script": f"it has a script ({where})",
        "after_script": f"{name} has a script ({where.rpartition(']')[2].lstrip('.')}), for which all after it wait",
        "method": "its method may change something",
    }[reason.why]
    return Wait(name=name, why=reason.why, where=where, text=text)
