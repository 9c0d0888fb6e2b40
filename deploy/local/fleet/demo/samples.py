"""The files of the demonstration: a handbook of a made-up observatory, one chapter a format."""

import io
import zipfile
from dataclasses import dataclass
from html import escape

TEXT = """Night shifts at the Marrow Hill Observatory

The night shift begins forty minutes after sunset and ends at nautical dawn. Two people are on duty at all times: the
observer, who runs the programme of the night, and the warden, who answers for the building.

Before the dome is opened the warden reads the anemometer.
The dome stays closed when the wind speed of gusts exceeds 62 kilometres per hour, and it is closed at once when it
rises above that during the night. Nobody may open the slit alone.

Coffee is free. The machine in the corridor is descaled on the first Monday of each month.
"""

MARKDOWN = """# Instruments

## The Aldous refractor

The Aldous refractor was built in 1911. Its objective has a diameter of 38 centimetres and a focal length of 5.7
metres. It is used for double stars and for visitors.

## The Vesper camera

The Vesper camera sits at the Cassegrain focus of the 1.2 metre reflector. Its detector is cooled to minus 95 degrees
Celsius with liquid nitrogen; a filling lasts eleven hours. A warm detector is never read out, because the amplifier
would saturate.

| filter | centre | width |
|--------|--------|-------|
| g      | 477 nm | 137 nm |
| r      | 623 nm | 137 nm |
"""

HTML = """<!doctype html>
<html><head><title>Visitors</title><style>p { margin: 1em }</style></head>
<body>
<h1>Visitors</h1>
<p>Guided tours take place on Thursday evenings. A group has at most eighteen people, and children under seven stay in
the exhibition hall.</p> <h2>Tickets</h2> <p>A ticket costs 9 crowns. Schools of the district pay nothing when they
book six weeks ahead.</p> <script>console.log("not for readers")</script> </body></html>
"""

PDF_LINES = [
    "Safety of the liquid nitrogen store",
    "",
    "The store holds two dewars of 120 litres. The oxygen alarm sounds below 19.5 percent.",
    "When the alarm sounds everybody leaves through the north door and nobody goes back",
    "for equipment. The warden calls the fire brigade of Lower Marrow.",
    "Gloves and a face shield are worn during every transfer.",
]

DOCX_PARAGRAPHS = [
    "Data policy",
    "Observations belong to their proposers for fourteen months. After that they become public in the archive.",
    "Raw frames are kept on two sites, reduced frames on one. Frames of calibration are public at once.",
    "Requests to shorten the period go to the programme committee, which meets in March and in October.",
]


@dataclass(frozen=True)
class Sample:
    """A file to upload."""

    name: str
    content_type: str
    content: bytes


def samples() -> list[Sample]:
    """Return one file of each format: text, Markdown, HTML, PDF and DOCX."""
    return [
        Sample("night-shifts.txt", "text/plain", TEXT.encode()),
        Sample("instruments.md", "text/markdown", MARKDOWN.encode()),
        Sample("visitors.html", "text/html", HTML.encode()),
        Sample("nitrogen.pdf", "application/pdf", pdf(PDF_LINES)),
        Sample(
            "data-policy.docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            docx(DOCX_PARAGRAPHS),
        ),
    ]


def pdf(lines: list[str]) -> bytes:
    """Return a PDF of one page with these lines, which must be ASCII."""
    shown = "\n".join(f"({line.replace('(', '[').replace(')', ']')}) Tj T*" for line in lines)
    stream = f"BT /F1 11 Tf 56 780 Td 16 TL\n{shown}\nET".encode("ascii")
    fonts = b"<< /F1 5 0 R >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font %s >> >>" % fonts,
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


def docx(paragraphs: list[str]) -> bytes:
    """Return a Word document with these paragraphs, the first as its heading."""
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    heading = '<w:pPr><w:pStyle w:val="Heading1"/></w:pPr>'
    body = "".join(
        f"<w:p>{heading if number == 0 else ''}<w:r><w:t>{escape(text)}</w:t></w:r></w:p>"
        for number, text in enumerate(paragraphs)
    )
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    types = (
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{office}.document.main+xml"/>'
        f'<Override PartName="/word/styles.xml" ContentType="{office}.styles+xml"/>'
    )
    styles = (
        '<w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/></w:style>'
        '<w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/></w:style>'
    )

    def relations(kind: str, target: str) -> str:
        link = f'<Relationship Id="r1" Type="{relation}/{kind}" Target="{target}"/>'
        return f'<Relationships xmlns="{package}/relationships">{link}</Relationships>'

    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">{types}</Types>',
        "_rels/.rels": relations("officeDocument", "word/document.xml"),
        "word/_rels/document.xml.rels": relations("styles", "styles.xml"),
        "word/styles.xml": f'<w:styles xmlns:w="{word}">{styles}</w:styles>',
        "word/document.xml": f'<w:document xmlns:w="{word}"><w:body>{body}</w:body></w:document>',
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>' + content)
    return buffer.getvalue()
