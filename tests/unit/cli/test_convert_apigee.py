"""Apigee's policies and proxy bundles."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from request_callout.cli.demo.process import GatewayProcess
from tests.unit.cli.converting import convert, entries, loaded
from tests.unit.gateway.stand_ins import upstream

PROXY = """<?xml version="1.0" encoding="UTF-8"?>
<ProxyEndpoint name="default">
  <PreFlow>
    <Request>
      <Step><Name>Build-Token</Name></Step>
      <Step><Name>Get-Token</Name></Step>
      <Step><Name>Read-Token</Name></Step>
    </Request>
  </PreFlow>
  <Flows>
    <Flow name="orders">
      <Condition>(proxy.pathsuffix MatchesPath "/orders/*") and (request.verb = "GET")</Condition>
      <Request>
        <Step>
          <Name>Get-Customer</Name>
          <Condition>request.queryparam.customer != null and client.ip != "10.0.0.1"</Condition>
        </Step>
      </Request>
    </Flow>
  </Flows>
  <PostFlow><Request><Step><Name>Set-Headers</Name></Step></Request></PostFlow>
  <HTTPProxyConnection><BasePath>/v1/shop</BasePath></HTTPProxyConnection>
  <RouteRule name="default"><TargetEndpoint>shop</TargetEndpoint></RouteRule>
</ProxyEndpoint>
"""
TARGET = """<TargetEndpoint name="shop">
  <HTTPTargetConnection><URL>https://shop.internal/api</URL></HTTPTargetConnection>
</TargetEndpoint>
"""
BUILD = """<AssignMessage name="Build-Token">
  <AssignTo createNew="true" type="request">tokenrequest</AssignTo>
  <Set>
    <Verb>POST</Verb>
    <Headers><Header name="X-Tenant">{request.header.x-tenant}</Header></Headers>
    <FormParams>
      <FormParam name="grant_type">client_credentials</FormParam>
      <FormParam name="scope">shop {request.queryparam.scope}</FormParam>
    </FormParams>
  </Set>
</AssignMessage>
"""
TOKEN = """<ServiceCallout name="Get-Token">
  <Request variable="tokenrequest"/>
  <Response>tokenresponse</Response>
  <Timeout>3000</Timeout>
  <HTTPTargetConnection>
    <Properties><Property name="success.codes">2xx,304</Property></Properties>
    <URL>https://id.example.com/token</URL>
  </HTTPTargetConnection>
</ServiceCallout>
"""
READ = """<ExtractVariables name="Read-Token">
  <Source>tokenresponse</Source>
  <VariablePrefix>auth</VariablePrefix>
  <JSONPayload>
    <Variable name="token"><JSONPath>$.data[0]['access-token']</JSONPath></Variable>
  </JSONPayload>
</ExtractVariables>
"""
CUSTOMER = """<ServiceCallout name="Get-Customer" continueOnError="true">
  <Request>
    <Set>
      <QueryParams><QueryParam name="id">{request.queryparam.customer}</QueryParam></QueryParams>
      <Payload contentType="application/json" variablePrefix="@" variableSuffix="#">{"token": "@auth.token#"}</Payload>
      <Verb>PUT</Verb>
    </Set>
  </Request>
  <Response>customer</Response>
  <HTTPTargetConnection><URL>http://{request.header.region}.crm.internal/customers</URL></HTTPTargetConnection>
</ServiceCallout>
"""
HEADERS = """<AssignMessage name="Set-Headers">
  <Set><Headers><Header name="Authorization">Bearer {auth.token}</Header></Headers></Set>
  <Remove><QueryParams><QueryParam name="scope"/></QueryParams></Remove>
</AssignMessage>
"""
BUNDLE = {
    "apiproxy/shop.xml": '<APIProxy name="shop"/>',
    "apiproxy/proxies/default.xml": PROXY,
    "apiproxy/targets/shop.xml": TARGET,
    "apiproxy/policies/Build-Token.xml": BUILD,
    "apiproxy/policies/Get-Token.xml": TOKEN,
    "apiproxy/policies/Read-Token.xml": READ,
    "apiproxy/policies/Get-Customer.xml": CUSTOMER,
    "apiproxy/policies/Set-Headers.xml": HEADERS,
}
NO_ROUTE = """<ProxyEndpoint name="mash">
  <PreFlow>
    <Request>
      <Step><Name>A</Name></Step><Step><Name>B</Name></Step><Step><Name>Read</Name></Step>
    </Request>
    <Response><Step><Name>Answer</Name></Step></Response>
  </PreFlow>
  <HTTPProxyConnection><BasePath>/mash</BasePath></HTTPProxyConnection>
  <RouteRule name="none"/>
</ProxyEndpoint>
"""


def bundle(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def callout_policy(
    url: str = "http://a", name: str = "A", more: str = "", connection: str = "", attributes: str = ""
) -> str:
    return (
        f'<ServiceCallout name="{name}" {attributes}>{more}<Response>r</Response>'
        f"<HTTPTargetConnection><URL>{url}</URL>{connection}</HTTPTargetConnection></ServiceCallout>"
    )


def policy(text: str, status: int = 0) -> dict[str, Any]:
    """The callout of a lone policy."""
    result = convert("-", text=text)
    assert result.exit_code == status, result.output
    document = yaml.safe_load(result.stdout)
    loaded(document)
    callout: dict[str, Any] = document["plugins"][0]["config"]["callouts"][0]
    return callout


def test_a_bundle_is_a_service_with_a_route_for_each_flow(tmp_path: Path) -> None:
    """The proxy endpoint is a service at the target, its base path a route, a conditional flow one more."""
    result = convert(bundle(tmp_path, BUNDLE))
    assert (result.exit_code, result.stderr) == (0, "")
    document = yaml.safe_load(result.stdout)
    [service] = document["services"]
    assert service["url"] == "https://shop.internal/api"
    base, orders = service["routes"]
    assert base["paths"] == ["/v1/shop"]
    assert (orders["paths"], orders["methods"]) == (["~/v1/shop/orders/[^/]*$"], ["GET"])
    first, second = loaded(document)
    assert [one.name for one in first.callouts] == ["Get_Token"]
    assert [one.name for one in second.callouts] == ["Get_Token", "Get_Customer"]
    assert orders["plugins"][0]["config"]["upstream"]["target"] == {
        "path": "/api$(string.sub(kong.request.get_path(), 9))"
    }


def test_a_message_that_was_put_together_is_the_request(tmp_path: Path) -> None:
    """What AssignMessage sets on a message is what the callout sends that names it."""
    document = yaml.safe_load(convert(bundle(tmp_path, BUNDLE)).stdout)
    [callout] = document["services"][0]["routes"][0]["plugins"][0]["config"]["callouts"]
    assert callout["request"] == {
        "url": "https://id.example.com/token",
        "method": "POST",
        "headers": {"custom": {"X-Tenant": "$(headers['x-tenant'])"}},
        "body": {
            "format": "form",
            "custom": {"grant_type": "client_credentials", "scope": "shop $(query_params.scope)"},
        },
        "error": {
            "when": "$(not ((callouts.Get_Token.response.status >= 200 and callouts.Get_Token.response.status <= 299)"
            " or callouts.Get_Token.response.status == 304))",
            "error_response_code": 500,
        },
        "http_opts": {"timeouts": {"total": 3000}},
    }
    assert callout["response"] == {"body": {"decode": True}}


def test_extracted_variables_are_paths_into_the_response(tmp_path: Path) -> None:
    """Where a variable was extracted from a callout's JSON, later values read it from there."""
    config = yaml.safe_load(convert(bundle(tmp_path, BUNDLE)).stdout)["services"][0]["routes"][1]["plugins"][0][
        "config"
    ]
    token = "callouts.Get_Token.response.body.data[1]['access-token']"
    assert config["upstream"]["headers"] == {"custom": {"Authorization": f"Bearer $({token})"}}
    assert config["upstream"]["query"] == {"remove": ["scope"]}
    customer = config["callouts"][1]
    assert customer["when"] == "$(query_params.customer ~= nil and kong.client.get_ip() ~= '10.0.0.1')"
    assert customer["request"]["url"] == "http://$(headers.region).crm.internal/customers"
    assert customer["request"]["body"] == {"format": "raw", "content": f'{{"token": "$({token})"}}'}
    assert customer["request"]["headers"] == {"custom": {"Content-Type": "application/json"}}
    assert customer["request"]["query"] == {"custom": {"id": "$(query_params.customer)"}}
    assert customer["request"]["error"]["on_error"] == "continue"


def test_a_zip_is_as_its_directory(tmp_path: Path) -> None:
    """A bundle gives the same as a zip."""
    folder = bundle(tmp_path / "folder", BUNDLE)
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as archive:
        for name, text in BUNDLE.items():
            archive.writestr(name, text)
    assert convert(tmp_path / "shop.zip").stdout == convert(folder).stdout


def test_a_lone_policy_is_a_plugin_for_all() -> None:
    """A policy alone becomes a plugin without a route, and the report says so."""
    result = convert("-", text=callout_policy("http://a/{request.queryparam.x}"))
    assert result.exit_code == 0
    [callout] = loaded(yaml.safe_load(result.stdout))[0].callouts
    assert (callout.request.url, callout.request.error.error_response_code) == ("http://a/$(query_params.x)", 500)
    assert any("the plugin is for all requests" in line for line in entries(result))


def test_an_answer_without_a_target_runs(tmp_path: Path) -> None:
    """A proxy without a target answers with the payload of its response flow, with the types of what was extracted."""
    with upstream() as service:
        service.answer = (200, [("Content-Type", "application/json")], b'{"place": {"lat": 1.5, "name": "here"}}')
        read = """<ExtractVariables name="Read"><Source>r</Source><JSONPayload>
            <Variable name="lat"><JSONPath>$.place.lat</JSONPath></Variable>
            <Variable name="name"><JSONPath>$.place.name</JSONPath></Variable>
            </JSONPayload></ExtractVariables>"""
        answer = """<AssignMessage name="Answer"><Set>
            <Headers><Header name="X-Status">{r.status.code}</Header></Headers>
            <Payload>{"lat": {lat}, "name": "at {name}", "q": "{request.queryparam.q}"}</Payload>
            <StatusCode>203</StatusCode></Set></AssignMessage>"""
        files = {
            "proxies/p.xml": NO_ROUTE,
            "policies/A.xml": callout_policy(service.url),
            "policies/B.xml": callout_policy(f"{service.url}/b", "B"),
            "policies/Read.xml": read,
            "policies/Answer.xml": answer,
        }
        output = tmp_path / "kong.yml"
        result = convert(bundle(tmp_path / "bundle", files), "-o", output)
        assert (result.exit_code, result.stderr) == (0, "")
        with GatewayProcess(output) as gateway:
            got = requests.get(f"{gateway.proxy}/mash?q=%22x%22")
    assert got.status_code == 203
    assert got.json() == {"lat": 1.5, "name": "at here", "q": '"x"'}
    assert got.headers["X-Status"] == "200"
    assert sorted(one.target for one in service.requests) == ["/", "/b"]


def test_options_of_the_connection() -> None:
    """Time limits and the certificates' check are options of the callout."""
    properties = '<Properties><Property name="io.timeout.millis">5000</Property></Properties>'
    tls = "<SSLInfo><IgnoreValidationErrors>true</IgnoreValidationErrors></SSLInfo>"
    options = policy(callout_policy(connection=properties + tls))["request"]["http_opts"]
    assert options == {"timeouts": {"connect": 3000, "write": 5000, "read": 5000}, "ssl_verify": False}


def test_the_time_of_a_proxy(tmp_path: Path) -> None:
    """The time that a proxy gives to a request becomes that of all callouts, as long as it may be."""
    times = "</BasePath><Properties><Property name='api.timeout'>{}</Property></Properties>"
    for given, expected in (("9000", 9000), ("120000", 55_000)):
        text = PROXY.replace("</BasePath>", times.format(given))
        source = bundle(tmp_path, {**BUNDLE, "apiproxy/proxies/default.xml": text})
        configurations = loaded(yaml.safe_load(convert(source).stdout))
        assert [one.deadline_ms for one in configurations] == [expected, expected]


def test_the_client_request_sent_on() -> None:
    """A callout whose request is the client's own forwards headers, query and body."""
    request = policy(callout_policy(more='<Request variable="request"/>'))["request"]
    assert [request[part] for part in ("query", "headers", "body")] == [{"forward": True}] * 3


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        (callout_policy(connection="\n<SSLInfo><KeyStore>k</KeyStore></SSLInfo>"), "line 2", "client_certificate"),
        (callout_policy(connection="<Authentication/>"), "line 1", "request.auth"),
        (callout_policy(connection='<Properties><Property name="x">1</Property></Properties>'), "line 1", "x"),
        (callout_policy(more='<Request><Copy source="other"/></Request>'), "line 1", "other"),
        (
            callout_policy(
                more='<Request><Set>\n<Headers>\n<Header name="h">{what.ever}</Header></Headers></Set></Request>'
            ),
            "line 3",
            "what.ever",
        ),
    ],
)
def test_what_is_left_out_is_reported(text: str, place: str, word: str) -> None:
    """What has no counterpart is reported with its line, and the status is 3."""
    result = convert("-", text=text)
    assert result.exit_code == 3
    [line] = [line for line in entries(result) if "left out" in line]
    assert line.startswith(f"{place}: ")
    assert word in line


def test_steps_that_are_no_callouts_are_reported(tmp_path: Path) -> None:
    """Policies of other kinds, steps whose condition is not known, and policies that are not there are named."""
    files = dict(BUNDLE)
    files["apiproxy/policies/Key.xml"] = '<VerifyAPIKey name="Key"/>'
    files["apiproxy/proxies/default.xml"] = PROXY.replace(
        "<Step><Name>Build-Token</Name></Step>",
        """<Step><Name>Key</Name></Step>
        <Step><Name>Gone</Name></Step>
        <Step><Name>Build-Token</Name><Condition>request.header.a JavaRegex "x"</Condition></Step>""",
    )
    result = convert(bundle(tmp_path, files), "--report", tmp_path / "report.json")
    assert result.exit_code == 3
    told = {one["what"]: one for one in json.loads((tmp_path / "report.json").read_text())["entries"]}
    assert told["Key"]["instead"] == "use Kong's key-auth plugin"
    assert told["Key"]["place"] == "apiproxy/proxies/default.xml line 5"
    assert set(told) == {"Key", "the step Gone", "the step Build-Token with a condition"}


BOMB = '<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;">]><ServiceCallout name="A">&c;</ServiceCallout>'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "line 1: has a document type declaration"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "document type declaration"),
        ("<a>\n<b></a>", "line 2: is no XML: mismatched tag"),
        ("<a>&other;</a>", "is no XML: undefined entity"),
        ("<a>" * 101 + "</a>" * 101, "nested deeper than 100"),
        ("<a>" + "<b/>" * 50_001 + "</a>", "more than 50000 elements"),
        ('<?xml version="1.0" encoding="nonsense"?><a/>', "is no XML"),
        ("<AssignMessage/>", "there is no ServiceCallout policy"),
        (callout_policy("nonsense"), "config.callouts[1].request.url"),
        ('<ServiceCallout name="A"><LocalTargetConnection/></ServiceCallout>', "no policy can be converted"),
    ],
)
def test_bad_sources_are_one_error(text: str, told: str) -> None:
    """XML that is broken or does more than it needs ends with status 1, the line and the reason."""
    result = convert("-", text=text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: -: ")
    assert told in result.stderr


def test_a_zip_that_is_none(tmp_path: Path) -> None:
    """A broken zip, and one that holds too much, are one error each."""
    broken, large = tmp_path / "broken.zip", tmp_path / "large.zip"
    broken.write_bytes(b"PK\x03\x04 and no more")
    with zipfile.ZipFile(large, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("policies/a.xml", b" " * 30_000_000)
    for file, told in ((broken, "is a zip that can't be read"), (large, "is larger than 20000000 bytes")):
        result = convert(file)
        assert (result.exit_code, result.stdout) == (1, "")
        assert told in result.stderr
