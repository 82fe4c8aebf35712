"""XMP, the packet of XML that every format has room for: the mark of pictures made by a model, and our own settings."""

import re
from xml.parsers import expat
from xml.sax.saxutils import escape

from studio.metadata.raw import LIMIT, TOO_MUCH, Broken

# IPTC's term for pictures made wholly by a trained model (cv.iptc.org/newscodes/digitalsourcetype).
MADE_BY_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
OURS = "urn:x-studio128:settings/"
PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    f' xmlns:studio="{OURS}" Iptc4xmpExt:DigitalSourceType="{MADE_BY_MODEL}">'
    "{settings}</rdf:Description></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="w"?>'
)
NOT_XML = re.compile("[\ufffe\uffff\ud800-\udfff]")  # JSON escapes the control characters by itself


def packet(settings: str = "") -> str:
    """A packet with the mark and, where there are any, settings as JSON."""
    safe = escape(NOT_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", settings))
    return PACKET.format(settings=f"<studio:settings>{safe}</studio:settings>" if settings else "")


def own(data: bytes) -> str:
    """Our settings in a packet, else nothing.

    A document type is where entities come from, which grow without end or fetch files: no writer of XMP has one, and
    here it is not read. Raises Broken for it and for more than is looked at.
    """
    if OURS.encode() not in data:
        return ""
    if len(data) > LIMIT:
        raise Broken(TOO_MUCH)
    reader = _Reader()
    try:
        reader.parser.Parse(data, True)
    except expat.ExpatError:
        return ""
    return "".join(reader.text)


class _Reader:
    def __init__(self) -> None:
        self.inside, self.text = False, list[str]()
        self.parser = expat.ParserCreate("utf-8", "}")
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data

    def _refuse(self, *_: object) -> None:
        raise Broken("holds XMP with a document type of its own, which is not safe to read")

    def _start(self, name: str, _: dict[str, str]) -> None:
        self.inside = name == OURS + "}settings" and not self.text

    def _end(self, _: str) -> None:
        self.inside = False

    def _data(self, text: str) -> None:
        if self.inside:
            self.text.append(text)
