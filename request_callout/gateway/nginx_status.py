"""What nginx itself says of a status: the phrase after it, and the page of an error that has no body."""

from __future__ import annotations

_PHRASES = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    303: "See Other",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Not Allowed",
    406: "Not Acceptable",
    408: "Request Time-out",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Large",
    415: "Unsupported Media Type",
    416: "Requested Range Not Satisfiable",
    421: "Misdirected Request",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}


def reason_phrase(status: int) -> str:
    """The phrase of a status, empty if nginx has none."""
    return _PHRASES.get(status, "")


HANDLED = frozenset({400, 404, 405, 408, 411, 412, 413, 414, 417, 494, 500, 502, 503, 504})
"""The statuses for which Kong's nginx asks Kong's error handler for a body."""

CLOSING = frozenset({400, 413, 414, 500, 501})
"""The statuses after whose page nginx closes the connection."""

_TITLES = {
    302: "Found",
    401: "Authorization Required",
    505: "HTTP Version Not Supported",
}
_WITH_PAGE = frozenset({301, 302, 303, 307, 308, 401, 402, 403, 406, 409, 410, 415, 416, 421, 429, 501, 505, 507})


def page(status: int) -> bytes:
    """Nginx's page for a status, empty if it has none."""
    if status not in _WITH_PAGE:
        return b""
    title = f"{status} {_TITLES.get(status) or reason_phrase(status)}"
    lines = (
        "<html>",
        f"<head><title>{title}</title></head>",
        "<body>",
        f"<center><h1>{title}</h1></center>",
        "</body>",
        "</html>",
    )
    return "".join(f"{line}\r\n" for line in lines).encode()
