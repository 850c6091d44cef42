"""An Apigee ServiceCallout as a callout, and ExtractVariables as the paths that its later readers use."""

from __future__ import annotations

import re
from typing import Any

from request_callout.cli.convert.apigee_message import Message, apply, tell_unknown
from request_callout.cli.convert.apigee_variables import Unknown, Variables, json_path
from request_callout.cli.convert.lua_text import expression, indexed
from request_callout.cli.convert.report import Report
from request_callout.cli.convert.xml_source import Element

_DEFAULT_CONNECT_MS = 3000
_DEFAULT_IO_MS = 55_000
_LONGEST_DEADLINE_MS = 55_000
_CODES = re.compile(r"([1-5])xx\Z|(\d{3})\Z", re.IGNORECASE)
_WHOLE_PATTERN = re.compile(r"\{([A-Za-z_][\w.\-]*)\}\Z")


def service_callout(
    policy: Element, messages: dict[str, Message], variables: Variables, when: str | None, report: Report
) -> dict[str, Any] | None:
    """The callout of a policy; None if it can't be one, which is reported."""
    policy_name = policy.attributes.get("name", "ServiceCallout")
    connection = policy.first("HTTPTargetConnection")
    url = "" if connection is None else connection.said("URL")
    if connection is None or not url:
        what = next(
            (one.name for one in policy.children if one.name.endswith("TargetConnection")), "HTTPTargetConnection"
        )
        why = "a callout has a URL" + (f", and {what} gives none" if connection is None or not url else "")
        report.left_out(policy.place, policy_name, why, "write a callout with the URL of that proxy or server")
        return None
    name = callout_name(policy_name)
    request = policy.first("Request")
    given = "" if request is None else request.attributes.get("variable", "")
    message = Message(forward={"headers", "query", "body"}) if given == "request" else Message()
    if given in messages:
        message = messages[given].clone()
    if request is not None:
        apply(request, message, variables, report)
    try:
        target = variables.template(url)
    except Unknown as unknown:
        tell_unknown(policy, policy_name, str(unknown), report)
        return None
    callout: dict[str, Any] = {"name": name}
    if when is not None:
        callout["when"] = expression(when)
    sent: dict[str, Any] = {"url": _joined(target, message.path), **message.request()}
    sent["error"] = _errors(policy, connection, name, report)
    options = _options(policy, connection, report)
    if options:
        sent["http_opts"] = options
    callout["request"] = sent
    response = policy.said("Response")
    if response:
        variables.responses[response] = name
        if response in variables.decoded:
            variables.decoded.add(name)
            callout["response"] = {"body": {"decode": True}}
    else:
        why = "without Response Apigee does not wait for an answer, here the callout is awaited"
        report.differs(policy.place, policy_name, why, "add on_error continue and a short timeouts.total")
    return callout


def callout_name(policy_name: str) -> str:
    """The policy's name as one that Lua takes after a dot."""
    name = re.sub(r"\W", "_", policy_name, flags=re.ASCII)
    return f"_{name}" if name[:1].isdigit() else name


def _joined(url: str, path: str) -> str:
    return f"{url.rstrip('/')}/{path.lstrip('/')}" if path else url


def _errors(policy: Element, connection: Element, name: str, report: Report) -> dict[str, Any]:
    status = indexed("callouts", (name, "response", "status"))
    failed = f"{status} >= 400"
    codes = _property(connection, "success.codes")
    if codes is not None:
        accepted = []
        for code in codes.text.split(","):
            found = _CODES.match(code.strip())
            if found is None:
                why = "a code is three digits or, as 2xx, a class"
                report.left_out(codes.place, f"success.codes {code.strip()}", why, "write request.error.when")
            elif found[2]:
                accepted.append(f"{status} == {found[2]}")
            else:
                accepted.append(f"({status} >= {found[1]}00 and {status} <= {found[1]}99)")
        if accepted:
            failed = f"not ({' or '.join(accepted)})"
    errors: dict[str, Any] = {"when": expression(failed)}
    if policy.is_true("continueOnError", False):
        errors["on_error"] = "continue"
    else:
        errors["error_response_code"] = 500
    return errors


def _options(policy: Element, connection: Element, report: Report) -> dict[str, Any]:
    options: dict[str, Any] = {}
    times: dict[str, int] = {}
    connect, io = (_number(_property(connection, name)) for name in ("connect.timeout.millis", "io.timeout.millis"))
    if connect is not None or io is not None:
        io = io or _DEFAULT_IO_MS
        times = {"connect": connect or _DEFAULT_CONNECT_MS, "write": io, "read": io}
    total = _number(policy.first("Timeout"))
    if total:
        times["total"] = total
    if times:
        options["timeouts"] = times
    for tls in (*connection.all("SSLInfo"), *connection.all("TLSInfo")):
        if tls.said("IgnoreValidationErrors").lower() == "true":
            options["ssl_verify"] = False
        if tls.said("ClientAuthEnabled").lower() == "true" or tls.said("KeyStore"):
            why = "the keystore is in Apigee"
            instead = "write the certificate and key as PEM to http_opts.client_certificate and client_key"
            report.left_out(tls.place, f"{tls.name} KeyStore", why, instead)
        if tls.said("TrustStore"):
            why = "the truststore is in Apigee"
            report.left_out(
                tls.place, f"{tls.name} TrustStore", why, "write its certificates to http_opts.ca_certificates"
            )
    authentication = connection.first("Authentication")
    if authentication is not None:
        why = "tokens of a Google service account are not fetched"
        report.left_out(
            authentication.place, "Authentication", why, "use request.auth, or a callout that fetches a token"
        )
    known = ("success.codes", "connect.timeout.millis", "io.timeout.millis")
    for one in connection.all("Properties", "Property"):
        if one.attributes.get("name") not in known:
            why = "there is nothing like it"
            report.left_out(one.place, f"Property {one.attributes.get('name')}", why, "see request.http_opts")
    return options


def _property(connection: Element, name: str) -> Element | None:
    found = (one for one in connection.all("Properties", "Property") if one.attributes.get("name") == name)
    return next(found, None)


def _number(element: Element | None) -> int | None:
    return int(element.text) if element is not None and element.text.isascii() and element.text.isdigit() else None


def api_timeout_ms(endpoint: Element, report: Report) -> int | None:
    """The time that a proxy endpoint gives to all of a request, as far as callouts may have it."""
    connection = endpoint.first("HTTPProxyConnection")
    found = None if connection is None else _property(connection, "api.timeout")
    time_ms = _number(found)
    if found is None or not time_ms:
        return None
    why = "there it is the time of the whole proxy, here that of all callouts"
    report.differs(found.place, "api.timeout", why, "set the times of the service too")
    return min(time_ms, _LONGEST_DEADLINE_MS)


def extract_variables(policy: Element, variables: Variables, report: Report) -> None:
    """Note where the variables of an ExtractVariables policy are; what has no simple path is reported."""
    source = policy.said("Source") or "message"
    prefix = policy.said("VariablePrefix")
    dotted = f"{prefix}." if prefix else ""
    callout = variables.responses.get(source)
    for kind in policy.children:
        if kind.name == "JSONPayload":
            for one in kind.all("Variable"):
                _json_variable(one, source, callout, dotted, variables, report)
        elif kind.name in ("Header", "QueryParam", "FormParam"):
            _pattern(kind, source if callout is not None else "request", dotted, variables, report)
        elif kind.name in ("URIPath", "XMLPayload", "Variable"):
            instead = (
                "use uri_captures of the route" if kind.name == "URIPath" else "read it in a script or an expression"
            )
            report.left_out(kind.place, kind.name, "only simple JSONPaths and whole values can be converted", instead)


def _json_variable(
    one: Element, source: str, callout: str | None, dotted: str, variables: Variables, report: Report
) -> None:
    name = f"{dotted}{one.attributes.get('name', '')}"
    path = json_path(one.said("JSONPath"))
    if path is None:
        why = f"the JSONPath {one.said('JSONPath')} is not one to a single value"
        report.left_out(one.place, name, why, "read it in response.by_lua")
    elif callout is not None:
        variables.values[name] = variables.body(callout, path)
    elif source in ("request", "message"):
        variables.values[name] = indexed("kong.request.get_body()", path)
    else:
        report.left_out(one.place, name, f"{source} is not known here", "read it from callouts.NAME.response.body")


def _pattern(kind: Element, source: str, dotted: str, variables: Variables, report: Report) -> None:
    part = {"Header": "header", "QueryParam": "queryparam", "FormParam": "formparam"}[kind.name]
    for pattern in kind.all("Pattern"):
        found = _WHOLE_PATTERN.match(pattern.text)
        if found is None:
            why = "the pattern is not one variable for the whole value"
            report.left_out(pattern.place, f"Pattern {pattern.text}", why, "take it apart in request.by_lua")
            continue
        try:
            variables.values[f"{dotted}{found[1]}"] = variables.lua(
                f"{source}.{part}.{kind.attributes.get('name', '')}"
            )
        except Unknown as unknown:
            tell_unknown(pattern, f"Pattern {pattern.text}", str(unknown), report)
