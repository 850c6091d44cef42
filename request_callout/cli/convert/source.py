"""What is to be converted: read from a file, a directory or the standard input, and its format told."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from request_callout.cli.convert.report import Report, Unconvertible
from request_callout.config.declarative import Unreadable, read

SourceFormat = Literal["enterprise", "krakend", "apigee"]
FORMATS: tuple[SourceFormat, ...] = ("enterprise", "krakend", "apigee")

_ZIP_MARK = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Source:
    """A source that was read: a document, or for Apigee the files of a bundle by their paths in it."""

    format: SourceFormat
    is_json: bool
    document: Mapping[str, Any]
    files: Mapping[str, bytes]

    def converted(self, report: Report) -> dict[str, Any]:
        """The declarative document; raises Unconvertible."""
        if self.format == "apigee":
            from request_callout.cli.convert.apigee import convert

            return convert(self.files, report)
        if self.format == "krakend":
            from request_callout.cli.convert.krakend import convert as convert_krakend

            return convert_krakend(self.document, report)
        from request_callout.cli.convert.enterprise import convert as convert_enterprise

        return convert_enterprise(self.document, report)


def opened(name: str, source_format: SourceFormat | None) -> Source:
    """The source of a name, in the given format or the one that its content tells; raises Unconvertible."""
    path = Path(name)
    try:
        if name != "-" and path.is_dir():
            return _bundle(_directory(path), source_format)
        data = sys.stdin.buffer.read() if name == "-" else path.read_bytes()
    except OSError as error:
        raise Unconvertible("", f"can't be read: {error.strerror or error}") from None
    if data.startswith(_ZIP_MARK):
        return _bundle(_archive(data), source_format)
    if source_format == "apigee" or (source_format is None and data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")):
        return Source("apigee", False, {}, {name: data})
    try:
        text = data.decode("utf-8-sig")
        document = read(text)
    except UnicodeDecodeError as error:
        raise Unconvertible("", f"is no UTF-8 text (byte {error.start + 1}); save it as UTF-8") from None
    except Unreadable as error:
        hint = "; render a template first" if "{{" in text else ""
        raise Unconvertible("", f"{error}{hint}") from None
    found: SourceFormat = source_format or ("krakend" if "endpoints" in document else "enterprise")
    return Source(found, found == "enterprise" and text.lstrip().startswith("{"), document, {})


def _bundle(files: Mapping[str, bytes], source_format: SourceFormat | None) -> Source:
    if source_format not in (None, "apigee"):
        raise Unconvertible("", f"a directory or zip is no {source_format} configuration; give its file")
    return Source("apigee", False, {}, files)


_MAX_FILES = 2000
_MAX_BYTES = 20_000_000
"""More than any proxy bundle has; a zip may claim to hold anything."""


def _directory(path: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for one in sorted(path.rglob("*.xml")):
        if one.is_file():
            files[one.relative_to(path).as_posix()] = one.read_bytes()
            _bounded(files)
    if not files:
        raise Unconvertible("", "is a directory without an Apigee bundle's XML files; give a file for all else")
    return files


def _archive(data: bytes) -> dict[str, bytes]:
    from io import BytesIO

    files: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".xml"):
                    if entry.file_size > _MAX_BYTES:
                        raise Unconvertible(entry.filename, f"is larger than {_MAX_BYTES} bytes")
                    with archive.open(entry) as member:
                        files[entry.filename] = member.read(_MAX_BYTES + 1)
                    _bounded(files)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise Unconvertible("", f"is a zip that can't be read: {error}") from None
    return files


def _bounded(files: Mapping[str, bytes]) -> None:
    if len(files) > _MAX_FILES or sum(map(len, files.values())) > _MAX_BYTES:
        raise Unconvertible("", f"is no proxy bundle: it holds more than {_MAX_FILES} XML files or {_MAX_BYTES} bytes")
