"""XMP packets of other programs: what is not ours survives to the byte."""

from __future__ import annotations

import time
from xml.etree import ElementTree

import pytest

from pix2color.photo import xmp

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
SPACES = 'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"'


def packet(description: str, *, rdf: str = "rdf") -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta '
        f'xmlns:x="adobe:ns:meta/"><{rdf}:RDF xmlns:{rdf}="{RDF}" {SPACES}>{description}'
        f'</{rdf}:RDF></x:xmpmeta>{" " * 2000}<?xpacket end="w"?>'
    ).encode()


def mark_of(text: bytes) -> list[str]:
    """The versions in our namespace, by another parser."""
    tree = ElementTree.fromstring(text.decode().rstrip("\0"))
    return [v for e in tree.iter() for k, v in e.attrib.items() if k.endswith("1.0:}version")]


@pytest.mark.parametrize(
    ("turn", "before", "after"),
    [
        (6, '<rdf:Description tiff:Orientation="6"/>', '<rdf:Description tiff:Orientation="1"/>'),
        (
            8,
            "<rdf:Description tiff:Orientation = ' 8 '/>",
            "<rdf:Description tiff:Orientation = ' 1 '/>",
        ),
        (
            3,
            "<rdf:Description><tiff:Orientation> 3 </tiff:Orientation></rdf:Description>",
            "<rdf:Description><tiff:Orientation> 1 </tiff:Orientation></rdf:Description>",
        ),
        (
            5,
            '<rdf:Description xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Orientation="5"/>',
            '<rdf:Description xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Orientation="1"/>',
        ),
        # Text that only looks like the property stays.
        (1, '<!-- tiff:Orientation="6" -->', '<!-- tiff:Orientation="6" -->'),
        (
            1,
            "<rdf:Description dc:title='set tiff:Orientation=\"6\" here'/>",
            "<rdf:Description dc:title='set tiff:Orientation=\"6\" here'/>",
        ),
    ],
)
def test_every_form_of_orientation_is_read_and_reset(turn: int, before: str, after: str) -> None:
    assert xmp.reset_orientation(packet(before)) == packet(after)
    assert xmp.orientation(packet(before)) == turn and xmp.orientation(packet(after)) == 1


def test_provenance_changes_no_other_bytes() -> None:
    description = '<!-- a comment --><rdf:Description dc:title="a &amp; b" dc:x=\'"&gt;>"\'/>\n'
    source = packet(description)
    once = xmp.set_properties(source, {"version": "1"})
    start = once.index(b"<rdf:Description rdf:about=")
    end = once.index(b"/>", start) + 3
    assert once[:start] + once[end:] == source
    assert mark_of(once) == ["1"]
    twice = xmp.set_properties(once, {"version": "2"})
    assert mark_of(twice) == ["2"] and len(twice) == len(once)


def test_old_provenance_merged_with_other_data_is_removed_alone() -> None:
    merged = (
        f'<rdf:Description xmlns:pix2color="{xmp.NAMESPACE}" dc:title="kept" '
        'pix2color:version="0" tiff:Make="kept too"/>'
    )
    result = xmp.set_properties(packet(merged), {"version": "1"})
    assert mark_of(result) == ["1"]
    assert b'dc:title="kept"' in result and b'tiff:Make="kept too"' in result
    elements = (
        f'<rdf:Description xmlns:p="{xmp.NAMESPACE}"><p:version>0</p:version>'
        "<dc:title>kept</dc:title></rdf:Description>"
    )
    result = xmp.set_properties(packet(elements), {"version": "1"})
    assert mark_of(result) == ["1"] and b"p:version>" not in result
    assert b"<dc:title>kept</dc:title>" in result


def test_rdf_may_have_any_prefix() -> None:
    result = xmp.set_properties(
        packet('<r:Description dc:title="kept"/>', rdf="r"), {"version": "1"}
    )
    assert mark_of(result) == ["1"] and b'<r:Description dc:title="kept"/>' in result


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "utf-32-be"])
def test_a_packet_in_another_encoding_keeps_its_content(encoding: str) -> None:
    text = packet('<rdf:Description dc:title="Zo\xeb" tiff:Orientation="6"/>').decode()
    result = xmp.set_properties(xmp.reset_orientation(text.encode(encoding)), {"version": "1"})
    assert mark_of(result) == ["1"]
    assert '<rdf:Description dc:title="Zo\xeb" tiff:Orientation="1"/>'.encode() in result


@pytest.mark.parametrize(
    "text",
    [
        b"<x>not RDF</x>",
        b"<rdf:RDF>cut off",
        b"\xff\xfe\x00",
        packet("<rdf:Description/>").replace(b"<x:xmpmeta", b"<!DOCTYPE x><x:xmpmeta"),
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + packet("&b;"),
        b"<a>" * 100_000,
        b'<r:RDF xmlns:r="' + RDF.encode() + b'"/>',
    ],
)
def test_data_that_is_not_a_packet_is_unchanged(text: bytes) -> None:
    assert xmp.set_properties(text, {"version": "1"}) == text
    assert xmp.reset_orientation(text) == text


@pytest.mark.parametrize("text", [None, b"", b" \0\0"])
def test_without_a_packet_there_is_a_new_one(text: bytes | None) -> None:
    assert mark_of(xmp.set_properties(text, {"version": "1"})) == ["1"]


def test_nul_bytes_after_the_packet_are_ignored() -> None:
    source = packet('<rdf:Description dc:title="kept"/>') + b"\0" * 50
    result = xmp.set_properties(source, {"version": "1"})
    assert mark_of(result) == ["1"] and result.endswith(b"\0" * 50)


def test_many_provenances_in_a_large_packet_are_fast() -> None:
    one = f'<rdf:Description xmlns:p="{xmp.NAMESPACE}" p:version="0" tiff:Orientation="6"/>'
    source = packet(one * 20_000)
    start = time.process_time()
    result = xmp.set_properties(xmp.reset_orientation(source), {"version": "1"})
    assert time.process_time() - start < 20
    assert mark_of(result) == ["1"] and b'"6"' not in result
