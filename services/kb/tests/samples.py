"""Small real files of each format, made here so that what is in them is known."""

import io
import zipfile

import docx
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

TEXT = b"Herons stand in shallow water.\r\nThey wait for fish without moving."
MARKDOWN = b"# Birds\n\nAll of them have feathers.\n\n## Herons\n\nHerons wait for fish.\n\n```\n# no heading\n```\n"
HTML = b"""<!doctype html><html><head><title>t</title><style>p{}</style></head><body><nav>Home</nav>
<h1>Birds</h1><p>Herons <b>wait</b>   for fish &amp; frogs.</p><script>var hidden = 1</script>
<h2>Owls</h2><ul><li>They hunt at night.</li><li>They hear well.</li></ul></body></html>"""


def pdf(*pages: str, password: str | None = None) -> bytes:
    """Return a PDF with one line of text on each page, and a bookmark for each."""
    target = io.BytesIO()
    canvas = Canvas(target, pagesize=A4, encrypt=password)
    for number, text in enumerate(pages, 1):
        canvas.bookmarkPage(f"page-{number}")
        canvas.addOutlineEntry(f"Chapter {number}", f"page-{number}", level=0)
        canvas.drawString(72, 700, text)
        canvas.showPage()
    canvas.save()
    return target.getvalue()


def word_document(*blocks: tuple[str, str]) -> bytes:
    """Return a DOCX of (style, text) blocks; the style "Table" makes a table of one row, cells split at "|"."""
    document = docx.Document()
    for style, text in blocks:
        if style == "Table":
            cells = text.split("|")
            row = document.add_table(rows=1, cols=len(cells)).rows[0]
            for cell, content in zip(row.cells, cells, strict=True):
                cell.text = content
        else:
            document.add_paragraph(text, style=style)
    target = io.BytesIO()
    document.save(target)
    return target.getvalue()


def exploding_word_document(*, unpacked_bytes: int) -> bytes:
    """Return a small DOCX whose text unpacks to very much."""
    return _with_body(b"<w:p><w:r><w:t>" + b"A" * unpacked_bytes + b"</w:t></w:r></w:p>")


def crowded_word_document(*, paragraphs: int) -> bytes:
    """Return a small DOCX of so many paragraphs that reading it takes gigabytes or minutes."""
    return _with_body(b"<w:p><w:r><w:t>a</w:t></w:r></w:p>" * paragraphs)


def _with_body(body: bytes) -> bytes:
    original = zipfile.ZipFile(io.BytesIO(word_document(("Normal", "x"))))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in original.infolist():
            content = original.read(part.filename)
            if part.filename == "word/document.xml":
                begin, end = content.index(b"<w:body>") + len(b"<w:body>"), content.rindex(b"</w:body>")
                content = content[:begin] + body + content[end:]
            archive.writestr(part.filename, content)
    return target.getvalue()
