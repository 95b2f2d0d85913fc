"""XMP packets edited as text: orientation made upright, pix2color's mark added."""

from __future__ import annotations

import re
from xml.sax.saxutils import quoteattr

NAMESPACE = "urn:pix2color:1.0:"
"""Identifies our properties; it need not lead anywhere."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>\s*))[2-8]")
_OURS = re.compile(
    rb"<rdf:Description [^<>]*" + re.escape(NAMESPACE.encode()) + rb"[^<>]*/>\s*"
)  # fmt: skip
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{_RDF}">\n'
    "</rdf:RDF>\n</x:xmpmeta>\n"
    '<?xpacket end="w"?>'
).encode()


def orientation(packet: bytes) -> int:
    """The packet's tiff:Orientation, 1 to 8; 1 where there is none."""
    found = _ORIENTATION.search(packet)
    return int(packet[found.end() - 1 : found.end()]) if found else 1


def upright(packet: bytes) -> bytes:
    """The packet with tiff:Orientation set to 1 where it was something else."""
    return _ORIENTATION.sub(rb"\g<1>1", packet)


def marked(packet: bytes | None, properties: dict[str, str]) -> bytes:
    """The packet with a description of ours in place of any older one of ours.

    A packet that is not RDF in UTF-8 is left out of account: a new one is made.

    Args:
        properties: names (letters only) -> values, written in pix2color's namespace.
    """
    attributes = " ".join(f"pix2color:{k}={quoteattr(v)}" for k, v in properties.items())
    ours = (
        f'<rdf:Description rdf:about="" xmlns:rdf="{_RDF}" xmlns:pix2color="{NAMESPACE}" '
        f"{attributes}/>\n"
    ).encode()
    source = packet if packet and b"</rdf:RDF>" in packet else _EMPTY
    head, end, tail = _OURS.sub(b"", source).rpartition(b"</rdf:RDF>")
    return head + ours + end + tail
