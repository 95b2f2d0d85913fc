"""XMP packets edited in place: the orientation is reset, pix2color's provenance is added.

An XML parser (expat) locates the elements, and only the bytes that change are replaced: a packet
that is serialized again loses its comments, padding and prefixes. Document types are refused, so no
entity is ever expanded. ISO 16684-1:2019.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn
from xml.parsers import expat

NAMESPACE = "urn:pix2color:1.0:"
"""Namespace of our properties; a name, not an address."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_ORIENTATION = "http://ns.adobe.com/tiff/1.0/ Orientation"
_TAG = re.compile(rb"<(?:[^\"'<>]|\"[^\"]*\"|'[^']*')*>")
_ATTRIBUTE = re.compile(rb"\s+([^\s=<>\"'/]+)\s*=\s*(\"[^\"]*\"|'[^']*')")
_TURNED = re.compile(rb"[2-8]")
_AROUND = b" \t\r\n\"'"  # characters around a value
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{_RDF}">\n'
    "</rdf:RDF>\n</x:xmpmeta>\n"
    '<?xpacket end="w"?>'
).encode()
_Edit = tuple[int, int, bytes]  # start, end, replacement


@dataclass
class _Element:
    name: str
    """Namespace and local name, with a space between."""
    parent: _Element | None
    start: int
    """Of its start tag; the other offsets are the start tag's end, the end tag's start, its end."""
    opened: int
    closed: int
    end: int
    attributes: dict[str, tuple[int, int, int]]
    """Name as of the element -> where the attribute (with the space before it) starts, where its
    quoted value starts, where both end."""


def orientation(packet: bytes) -> int:
    """The packet's tiff:Orientation, 1 to 8; 1 where there is none."""
    text = _utf8(packet)
    spans = _orientations(text)
    return int(text[slice(*spans[0])].strip(_AROUND)) if spans else 1


def reset_orientation(packet: bytes) -> bytes:
    """The packet with tiff:Orientation set to 1 where it was something else."""
    text = _utf8(packet)
    edits = [(start, end, _TURNED.sub(b"1", text[start:end])) for start, end in _orientations(text)]
    return _applied(text, edits) if edits else packet


def _orientations(text: bytes) -> list[tuple[int, int]]:
    """Where the values of tiff:Orientation lie that are 2 to 8."""
    spans = []
    for element in _elements(text) or ():
        if element.name == _ORIENTATION:
            spans.append((element.opened, element.closed))
        elif _ORIENTATION in element.attributes:
            spans.append(element.attributes[_ORIENTATION][1:])
    return [span for span in spans if _TURNED.fullmatch(text[slice(*span)].strip(_AROUND))]


def set_properties(packet: bytes | None, properties: dict[str, str]) -> bytes:
    """The packet, in UTF-8, with a description of ours in place of any older one of ours.

    Without a packet a new one is made. One that is not RDF is returned unchanged.

    Args:
        properties: names (letters only) -> values, written in pix2color's namespace.
    """
    attributes = " ".join(f"pix2color:{k}={_quoted(v)}" for k, v in properties.items())
    ours = (
        f'<rdf:Description rdf:about="" xmlns:rdf="{_RDF}" xmlns:pix2color="{NAMESPACE}" '
        f"{attributes}/>\n"
    ).encode()
    text = _utf8(packet) if packet and packet.strip(b"\0 \t\r\n") else _EMPTY
    elements = _elements(text) or []
    root = next((e for e in elements if e.name == f"{_RDF} RDF"), None)
    if root is None or root.opened == root.end:
        return packet or _EMPTY
    return _applied(text, [*_without_ours(elements, text), (root.closed, root.closed, ours)])


def _quoted(text: str) -> str:
    """An attribute's value in quotes. xml.sax.saxutils would import the clients of HTTP and TLS."""
    for char, escape in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(char, escape)
    return '"' + re.sub(r"[\t\n\r]", lambda match: f"&#{ord(match[0])};", text) + '"'


def _without_ours(elements: list[_Element], text: bytes) -> list[_Edit]:
    """Edits that remove our properties, and descriptions that contain nothing else.

    Other programs merge descriptions, so one may contain both our properties and the user's.
    """
    properties: dict[int, list[tuple[str, int, int]]] = {}
    for e in elements:
        spans = [(name, start, end) for name, (start, _, end) in e.attributes.items()]
        properties[id(e)] = spans
        if e.parent is not None:
            properties[id(e.parent)].append((e.name, e.start, e.end))
    edits: list[_Edit] = []
    for element in elements:
        if element.name != f"{_RDF} Description":
            continue
        parts = properties[id(element)]
        ours = [(start, end, b"") for name, start, end in parts if name.startswith(NAMESPACE)]
        if ours and all(name.startswith((NAMESPACE, _RDF)) for name, _, _ in parts):
            line_break = (
                text[element.end : element.end + 1] == b"\n"
            )  # the one that `set_properties` adds
            ours = [(element.start, element.end + line_break, b"")]
        edits += ours
    return edits


def _applied(text: bytes, edits: list[_Edit]) -> bytes:
    """The text with pieces replaced; of two that overlap, the outer one."""
    pieces, place = [], 0
    for start, end, replacement in sorted(edits):
        if start >= place:
            pieces += [text[place:start], replacement]
            place = end
    return b"".join((*pieces, text[place:]))


def _utf8(packet: bytes) -> bytes:
    """A packet in UTF-16 or UTF-32 as UTF-8; any other unchanged."""
    order = "le" if packet[:1] == b"<" else "be"
    zeros = packet[:4].count(b"\0")  # two in "<?" of UTF-16, three in "<" of UTF-32
    encoding = {2: f"utf-16-{order}", 3: f"utf-32-{order}"}.get(zeros)
    if packet[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-32" if packet[2:4] == b"\0\0" else "utf-16"
    if encoding is None:
        return packet
    try:
        return packet.decode(encoding).removeprefix("\ufeff").encode()
    except UnicodeError:
        return packet


def _elements(text: bytes) -> list[_Element] | None:
    """All elements in the order of their start tags; None for what is not well-formed."""
    parser = expat.ParserCreate("utf-8", " ")
    parser.namespace_prefixes = True
    elements: list[_Element] = []
    path: list[_Element] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        place = parser.CurrentByteIndex
        tag = _TAG.match(text, place)
        if tag is None:
            raise ValueError("a tag that the pattern does not match")
        names = {_raw(attribute): _name(attribute) for attribute in attributes}
        spans = {
            names[raw]: (match.start(), match.start(2), match.end())
            for match in _ATTRIBUTE.finditer(text, place, tag.end())
            if (raw := match[1].decode()) in names
        }
        parent = path[-1] if path else None
        element = _Element(_name(name), parent, place, tag.end(), tag.end(), tag.end(), spans)
        elements.append(element)
        path.append(element)

    def end(name: str) -> None:
        element = path.pop()
        tag = _TAG.match(text, element.start)
        if tag is not None and not tag[0].endswith(b"/>"):
            element.closed = parser.CurrentByteIndex
            element.end = text.index(b">", element.closed) + 1

    def refuse(*_: object) -> NoReturn:
        raise ValueError("a document type")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text.rstrip(b"\0"), True)
    except (expat.ExpatError, ValueError):
        return None
    return elements


def _name(triplet: str) -> str:
    """Namespace and local name of expat's "namespace local prefix"."""
    return " ".join(triplet.split(" ")[:2])


def _raw(triplet: str) -> str:
    """The name as written: prefix and local name."""
    parts = triplet.split(" ")
    return f"{parts[2]}:{parts[1]}" if len(parts) == 3 else parts[-1]
