"""Curl commands as people copy them, and the requests that they make."""

from __future__ import annotations

from pathlib import Path

import pytest

from request_callout.cli.try_.curl import parse
from request_callout.cli.try_.request import BadRequest

ENVIRONMENT = {"TOKEN": "t-1", "HOST_NAME": "api.example.com"}
FORM = ("Content-Type", "application/x-www-form-urlencoded")

CASES = [
    # command, method, target, headers that are among its own, body
    ("curl http://a.example/", "GET", "/", [("Host", "a.example"), ("User-Agent", "curl"), ("Accept", "*/*")], b""),
    ("curl a.example", "GET", "/", [("Host", "a.example")], b""),
    ("curl http://a.example?x=1#there", "GET", "/?x=1", [("Host", "a.example")], b""),
    ("curl -sSLkv --fail -o /dev/null -w '%{http_code}' http://a/", "GET", "/", [], b""),
    ("$ curl http://a/x | jq .", "GET", "/x", [], b""),
    ("curl http://a/x > out 2>/dev/null", "GET", "/x", [], b""),
    ("/usr/bin/curl -XDELETE http://a/x", "DELETE", "/x", [], b""),
    ("curl -I http://a/", "HEAD", "/", [], b""),
    ("curl -d a=1 -d b=2 http://a/", "POST", "/", [FORM, ("Content-Length", "7")], b"a=1&b=2"),
    ("curl --data-raw '@x' -H 'Content-Type: a/b' http://a/", "POST", "/", [("Content-Type", "a/b")], b"@x"),
    ("curl -d @lines.txt http://a/", "POST", "/", [FORM], b"onetwo"),
    ("curl --data-binary @lines.txt http://a/", "POST", "/", [FORM], b"one\r\ntwo\n"),
    ("curl --data-urlencode 'q=a b&c' --data-urlencode '=x y' http://a/", "POST", "/", [], b"q=a+b%26c&x+y"),
    ("curl --data-urlencode t@word.txt http://a/", "POST", "/", [], b"t=w%C3%B6rd"),
    ("curl -G -d a=1 --data-urlencode 'q=x y' 'http://a/s?z=0'", "GET", "/s?z=0&a=1&q=x+y", [], b""),
    ("curl --url-query q=1 http://a/", "GET", "/?q=1", [], b""),
    (
        "curl --json '{\"a\": 1}' http://a/",
        "POST",
        "/",
        [("Content-Type", "application/json"), ("Accept", "application/json")],
        b'{"a": 1}',
    ),
    ("curl -T word.txt http://a/up", "PUT", "/up", [("Content-Length", "5")], "wörd".encode()),
    ("curl -u ann:pw http://a/", "GET", "/", [("Authorization", "Basic YW5uOnB3")], b""),
    ("curl http://ann:pw@a/", "GET", "/", [("Host", "a"), ("Authorization", "Basic YW5uOnB3")], b""),
    ("curl --oauth2-bearer x http://a/", "GET", "/", [("Authorization", "Bearer x")], b""),
    ("curl -b 'a=1; b=2' -A me -e http://r/ a", "GET", "/", [("Cookie", "a=1; b=2"), ("User-Agent", "me")], b""),
    ("curl --compressed http://a/", "GET", "/", [("Accept-Encoding", "deflate, gzip, br")], b""),
    ("curl -H 'X-Empty;' -H 'X:  y ' http://a/", "GET", "/", [("X-Empty", ""), ("X", "y")], b""),
    ("curl -H 'Host: b.example' http://127.0.0.1:8000/p", "GET", "/p", [("Host", "b.example")], b""),
    ("curl -H \"A: Bearer $TOKEN\" https://${HOST_NAME}/", "GET", "/", [("A", "Bearer t-1")], b""),
    ("curl 'http://a/' \\\n  -H 'A: 1' \\\n  --data-raw $'{\"a\":\"it\\'s \\u00e9\\n\"}'", "POST", "/", [("A", "1")],
     '{"a":"it\'s é\n"}'.encode()),
    ("curl \"http://a/\" -d \"say \\\"hi\\\" \\$5\"", "POST", "/", [], b'say "hi" $5'),
    ("curl -g 'http://a/{x}[1]'", "GET", "/{x}[1]", [], b""),
    ("curl --http2 --max-time 5 -m5 --resolve a:80:127.0.0.1 http://a/é", "GET", "/%C3%A9", [], b""),
    ("curl -X PATCH --url http://a/ -- ", "PATCH", "/", [], b""),
    # "Copy as cURL (cmd)" of Chrome and Firefox, and what people write themselves
    ('curl ^"http://a/x?q=a^%^20b^&r=1^" ^\r\n  -H ^"A: ^\\^"1^\\^"^" ^\r\n'
     '  --data-raw ^"^{^\\^"n^\\^":1,^\n\n ^\\^"m^\\^":2^}^" ^\n'
     "  --compressed", "POST", "/x?q=a%20b&r=1", [("A", '"1"')], b'{"n":1,\n "m":2}'),
    ('curl.exe "http://a/" ^\n  -H "A: 1" ^\n  -d "{""n"": 1}"', "POST", "/", [("A", "1")], b'{"n": 1}'),
    ("curl -d '{\"re\": \"^\"}' http://a/", "POST", "/", [], b'{"re": "^"}'),
]  # fmt: skip

UNCLOSED = 'curl -X PUT ^"http://a/^" ^\n -d ^"C:\\dir\\^"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lines.txt").write_bytes(b"one\r\ntwo\n")
    (tmp_path / "word.txt").write_text("wörd", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_commands(folder: Path, case: tuple[str, str, str, list[tuple[str, str]], bytes]) -> None:
    """A command gives the request that curl would send."""
    command, method, target, headers, body = case
    request = parse(command, ENVIRONMENT, folder)
    assert (request.method, request.target, request.body) == (method, target, body)
    assert [one for one in headers if one not in request.headers] == []
    names = [name.lower() for name, _ in request.headers]
    assert len(names) == len(set(names))


def test_a_header_can_be_left_out(folder: Path) -> None:
    """``-H 'Name:'`` leaves out what curl would send by itself."""
    request = parse("curl -H 'Accept:' -H 'User-Agent:' http://a/", {}, folder)
    assert request.headers == (("Host", "a"),)


def test_multipart(folder: Path) -> None:
    """``-F`` makes a form with its fields and files."""
    request = parse("curl -F a=1 -F 'f=@word.txt;type=text/plain' --form-string s=@x http://a/", {}, folder)
    kind = next(value for name, value in request.headers if name == "Content-Type")
    boundary = kind.removeprefix("multipart/form-data; boundary=")
    parts = request.body.decode().split(f"--{boundary}")
    assert parts[1] == '\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    assert 'name="f"; filename="word.txt"\r\nContent-Type: text/plain\r\n\r\nwörd' in parts[2]
    assert parts[3].endswith("\r\n\r\n@x\r\n")
    assert parts[4] == "--\r\n"


def test_https_is_kept(folder: Path) -> None:
    """The scheme and port of the URL are those that the client is taken to have used."""
    request = parse("curl https://a.example:8443/", {}, folder)
    assert (request.scheme, request.port, request.host) == ("https", 8443, "a.example:8443")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("wget http://a/", "the first word has to be curl"),
        ("curl", "has no URL"),
        ("curl http://a/ http://b/", "has 2 URLs"),
        ("curl -K conf http://a/", "-K of curl is not supported"),
        ("curl --aws-sigv4 x http://a/", "--aws-sigv4 of curl is not supported"),
        ("curl --next http://a/", "--next of curl is not supported"),
        ("curl -H http://a/ -H", "has no value"),
        ("curl -H 'no header' http://a/", "is no header"),
        ("curl -d @none http://a/", "-d names the file none, which can't be read"),
        ("curl -b jar.txt http://a/", "a file of cookies"),
        ("curl -F a=1 -d b=2 http://a/", "more than one kind of body"),
        ("curl 'http://a/[1-3]'", "add -g"),
        ("curl ftp://a/", "http or https"),
        ("curl http://a:x/", "is no URL"),
        ("curl http://a/?a=1&b=2", "column 19: '&'"),
        ('curl -H "A: $NONE" http://a/', "the variable $NONE, which is not set"),
        ("curl -H \"A: $(cat x)\" http://a/", "a command in $("),
        ("curl http://a/\n'x", "a second command on a new line"),
        ('curl "http://a/', "line 1, column 6: a double quote that is not closed"),
        ("curl http://a/ \\\n -d $'x", "line 2, column 6"),
    ],
)  # fmt: skip
def test_mistakes(folder: Path, command: str, message: str) -> None:
    """What is no request, or one that can't be made here, is told with its place or option."""
    with pytest.raises(BadRequest) as caught:
        parse(command, ENVIRONMENT, folder)
    assert message in str(caught.value)


def test_forms_as_postman_writes_them(folder: Path) -> None:
    """Values and names of files may stand in double quotes, which hold semicolons together."""
    request = parse(
        """curl --form 'note="a; \\"b\\""' --form 'file=@"word.txt";type=text/plain' --form 'c=d' http://a/""",
        {},
        folder,
    )
    kind = dict(request.headers)["Content-Type"]
    boundary = kind.partition("boundary=")[2]
    parts = [part.strip("\r\n") for part in request.body.decode().split(f"--{boundary}")[1:-1]]
    assert parts == [
        'Content-Disposition: form-data; name="note"\r\n\r\na; "b"',
        'Content-Disposition: form-data; name="file"; filename="word.txt"\r\nContent-Type: text/plain\r\n\r\nwörd',
        'Content-Disposition: form-data; name="c"\r\n\r\nd',
    ]


def test_a_command_of_windows_with_an_open_quote() -> None:
    """A backslash before the last quote makes it a part of the text, so that the quote is not closed."""
    with pytest.raises(BadRequest, match="not closed"):
        parse(UNCLOSED, {})
