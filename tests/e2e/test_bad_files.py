"""Files that are not what they say, and uploads that are not forms: a clear problem, or a document that says why."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from fleet.demo.client import JSON, Client
from fleet.demo.samples import docx, pdf
from tests.e2e.scene import Scene
from tests.e2e.test_bad_input import none_of, wrong_with

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
ENDED_SECONDS = 150
GOOD_PDF = pdf(["Forty brass lamps stand in the northern store."])
GOOD_DOCX = docx(["Forty brass lamps", "They stand in the northern store."])


def repacked(**parts: bytes) -> bytes:
    """Return a Word document with other contents in its parts; `document` is word/document.xml."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(GOOD_DOCX)) as good, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in good.namelist():
            short = name.rpartition("/")[2].partition(".")[0]
            archive.writestr(name, parts.get(short, good.read(name)))
    return buffer.getvalue()


def bomb() -> bytes:
    """Return a Word document of some 200 KiB whose text unpacks to 200 MiB."""
    head, _, tail = zipfile.ZipFile(io.BytesIO(GOOD_DOCX)).read("word/document.xml").partition(b"Forty")
    return repacked(document=head + b"lamps " * (200 * 1024 * 1024 // 6) + tail)


def laughs() -> bytes:
    """Return a Word document whose text is an entity that multiplies by ten eight times."""
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 9))
    head, _, tail = zipfile.ZipFile(io.BytesIO(GOOD_DOCX)).read("word/document.xml").partition(b"Forty")
    declared = head.replace(b"?><", f'?><!DOCTYPE d [<!ENTITY e0 "lamps">{entities}]><'.encode(), 1)
    return repacked(document=declared + b"&e8;" + tail)


def outsider() -> bytes:
    """Return a Word document that asks for a file of the machine it is read on."""
    head, _, tail = zipfile.ZipFile(io.BytesIO(GOOD_DOCX)).read("word/document.xml").partition(b"Forty")
    declared = head.replace(b"?><", b'?><!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]><', 1)
    return repacked(document=declared + b"&e;" + tail)


FAILING: dict[str, tuple[str, str, bytes | Callable[[], bytes]]] = {
    "a PDF cut in half": ("a.pdf", "application/pdf", GOOD_PDF[: len(GOOD_PDF) // 2].replace(b"endobj", b"endzzz")),
    "a PDF of noise": ("b.pdf", "application/pdf", b"%PDF-1.7\n" + bytes(range(256)) * 50),
    "a PDF without text": ("c.pdf", "application/pdf", pdf([" "])),
    "a PDF whose pages are their own parents": (
        "d.pdf",
        "application/pdf",
        GOOD_PDF.replace(b"/Kids [3 0 R]", b"/Kids [2 0 R]"),
    ),
    "a DOCX cut in half": ("a.docx", DOCX, GOOD_DOCX[: len(GOOD_DOCX) // 2]),
    "a DOCX that is another archive": ("b.docx", DOCX, b"PK\x03\x04" + b"\0" * 500),
    "a DOCX without its parts": ("c.docx", DOCX, repacked(document=b"", styles=b"")),
    "a DOCX that is no XML": ("d.docx", DOCX, repacked(document=b"<w:document>")),
    "a DOCX that unpacks to 200 MiB": ("e.docx", DOCX, bomb),
    "a DOCX of a hundred million lamps": ("f.docx", DOCX, laughs),
    "a DOCX nested 100,000 deep": ("g.docx", DOCX, repacked(document=b"<w:p>" * 100_000 + b"</w:p>" * 100_000)),
    "a picture": ("a.png", "image/png", b"\x89PNG\r\n\x1a\n" + b"\0" * 200),
    "a program": ("a.bin", "application/octet-stream", b"\x7fELF\x02\x01\x01" + b"\0" * 200),
    "a picture that says it is text": ("b.txt", "text/plain", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4),
    "only spaces": ("c.txt", "text/plain", b" \n\t" * 100),
    "only NULs": ("d.txt", "text/plain", b"\0" * 4096),
    "text with NULs in it": ("e.txt", "text/plain", b"Forty\0 brass\0 lamps in the northern store"),
    "HTML without text": ("a.html", "text/html", b"<html><script>alert(1)</script></html>"),
}
READY: dict[str, tuple[str, str, bytes]] = {
    "HTML that is never closed": ("b.html", "text/html", b"<html><div><p>Forty brass lamps" + b"<b>" * 500),
    "HTML nested 50,000 deep": ("c.html", "text/html", b"<div>" * 50_000 + b"Forty brass lamps"),
    "text that is not UTF-8": ("e.txt", "text/plain", "Förty bräss lämps in the störe".encode("latin-1")),
    "text in UTF-16": ("g.txt", "text/plain", "Forty brass lamps".encode("utf-16")),
    "a PDF that says it is Word": ("h.docx", DOCX, GOOD_PDF),
    "one long word": ("i.txt", "text/plain", b"lamp" * 50_000),
    "Markdown of brackets": ("j.md", "text/markdown", b"[" * 20_000 + b" forty brass lamps"),
    "a name with folders": ("../../etc/passwd.txt", "text/plain", b"Forty brass lamps"),
}


def made(content: bytes | Callable[[], bytes]) -> bytes:
    """Return the content of a file, made now when it is too large to keep."""
    return content if isinstance(content, bytes) else content()


@pytest.fixture(scope="module")
def documents(scene: Scene) -> Iterator[dict[str, JSON]]:
    """All of these files as documents, after their ingest has ended."""
    owner, base = scene.owner, scene.make("knowledge_base")
    path = f"/v1/knowledge-bases/{base}/documents:upload"
    waiting = {
        name: str(owner.upload(path, name=file_name, content_type=media_type, content=made(content))["id"])
        for name, (file_name, media_type, content) in {**FAILING, **READY}.items()
    }
    ended: dict[str, JSON] = {}
    until = time.monotonic() + ENDED_SECONDS
    while waiting and time.monotonic() < until:
        for name, document_id in list(waiting.items()):
            document = owner.get(f"/v1/documents/{document_id}")
            if document["state"] in ("ready", "failed"):
                ended[name] = document
                del waiting[name]
        time.sleep(0.3)
    assert not waiting, f"the ingest of these ended: {waiting}"
    yield ended
    owner.delete(f"/v1/knowledge-bases/{base}")


class TestDocuments:
    @pytest.mark.parametrize("name", FAILING)
    def test_one_that_cannot_be_read_fails_with_its_reason(self, documents: dict[str, JSON], name: str) -> None:
        document = documents[name]

        assert document["state"] == "failed", document
        assert document["failure_reason"] in {
            "FILE_CORRUPT", "UNSUPPORTED_TYPE", "EMPTY_DOCUMENT", "TEXT_TOO_LARGE", "PARSE_TIMEOUT", "PARSE_MEMORY",
        }, document  # fmt: skip
        assert document["failure_message"]

    @pytest.mark.parametrize("name", READY)
    def test_one_that_is_merely_odd_is_read(self, documents: dict[str, JSON], name: str) -> None:
        assert documents[name]["state"] == "ready", documents[name]

    def test_a_name_keeps_no_folders(self, documents: dict[str, JSON]) -> None:
        assert documents["a name with folders"]["file_name"] == "passwd.txt"

    def test_a_document_reads_nothing_of_its_machine(self, scene: Scene) -> None:
        path = f"/v1/knowledge-bases/{scene.ids['knowledge_base']}/documents:upload"
        document_id = str(scene.owner.upload(path, name="x.docx", content_type=DOCX, content=outsider())["id"])
        until = time.monotonic() + ENDED_SECONDS
        while (document := scene.owner.get(f"/v1/documents/{document_id}"))["state"] not in ("ready", "failed"):
            assert time.monotonic() < until
            time.sleep(0.2)
        if document["state"] == "ready":
            assert "root:" not in scene.owner.get(f"/v1/documents/{document_id}/text")["text"]


BOUNDARY = "frontier"


def form(*parts: tuple[str, bytes], end: bool = True) -> bytes:
    """Return a form of parts, each of a disposition and its content."""
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"
        for disposition, content in parts
    )
    return body + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


A_FILE = ('name="file"; filename="a.txt"', b"Forty brass lamps.")
FORMS: dict[str, tuple[bytes, str, tuple[int, ...]]] = {
    "no file": (form(('name="title"', b"x")), BOUNDARY, (422,)),
    "no part": (form(), BOUNDARY, (400, 422)),
    "nothing": (b"", BOUNDARY, (400, 422)),
    "no boundary": (form(A_FILE), "", (400,)),
    "another boundary": (form(A_FILE), "elsewhere", (400, 422)),
    "cut": (form(A_FILE, end=False)[:-6], BOUNDARY, (400,)),
    "two files": (form(A_FILE, A_FILE), BOUNDARY, (422,)),
    "a field after the file": (form(A_FILE, ('name="title"', b"x")), BOUNDARY, (422,)),
    "21 parts": (form(*[('name="title"', b"x")] * 21, A_FILE), BOUNDARY, (422,)),
    "an unknown field": (form(('name="no_such_field"', b"x"), A_FILE), BOUNDARY, (422,)),
    "a field that the path gives": (form(('name="knowledge_base_id"', b"x"), A_FILE), BOUNDARY, (422,)),
    "a field twice": (form(('name="title"', b"x"), ('name="title"', b"y"), A_FILE), BOUNDARY, (422,)),
    "a part without a name": (form(("filename=a", b"x")), BOUNDARY, (422,)),
    "a name that is not UTF-8": (form(A_FILE).replace(b"a.txt", b"\xff.txt"), BOUNDARY, (400,)),
    "a field that is not UTF-8": (form(('name="title"', b"\xff"), A_FILE), BOUNDARY, (400,)),
    "U+0000 in a field": (form(('name="title"', b"a\0b"), A_FILE), BOUNDARY, (422,)),
    "a long field": (form(('name="title"', b"x" * 70_000), A_FILE), BOUNDARY, (422,)),
    "a long header": (form(('name="' + "x" * 9000 + '"', b"x"), A_FILE), BOUNDARY, (400, 422)),
    "a long file name": (form(('name="file"; filename="' + "x" * 300 + '"', b"x")), BOUNDARY, (422,)),
    "no bytes": (form(('name="file"; filename="a.txt"', b"")), BOUNDARY, (422,)),
    "another hash": (form(('name="sha256"', b"0" * 64), A_FILE), BOUNDARY, (422,)),
    "no hash": (form(('name="sha256"', b"nonsense"), A_FILE), BOUNDARY, (422,)),
    "a folder that is none": (form(('name="folder_id"', b"nonsense"), A_FILE), BOUNDARY, (422,)),
    "metadata that is no JSON": (form(('name="metadata"', b"{"), A_FILE), BOUNDARY, (422,)),
    "metadata that is no object": (form(('name="metadata"', b"[]"), A_FILE), BOUNDARY, (422,)),
    "metadata with U+0000": (form(('name="metadata"', b'{"a": "\\u0000"}'), A_FILE), BOUNDARY, (422,)),
    "metadata that is deep": (form(('name="metadata"', b'{"a":' + b"[" * 50_000), A_FILE), BOUNDARY, (422,)),
    "metadata with a rounded number": (
        form(('name="metadata"', b'{"a": 1000000000000000000000}'), A_FILE),
        BOUNDARY,
        (422,),
    ),
    "metadata of 60 KiB": (form(('name="metadata"', b'{"a": "' + b"x" * 60_000 + b'"}'), A_FILE), BOUNDARY, (422,)),
}


class TestUploads:
    @pytest.mark.parametrize("target", ["documents", "files"])
    def test_forms_that_are_none_are_refused(self, scene: Scene, target: str) -> None:
        documents = f"/v1/knowledge-bases/{scene.ids['knowledge_base']}/documents:upload"
        path, wrong = {"documents": documents, "files": "/v1/files"}[target], {}
        for name, (body, boundary, statuses) in FORMS.items():
            media_type = "multipart/form-data" + (f"; boundary={boundary}" if boundary else "")
            reply = scene.owner.request("POST", path, content=body, headers={"Content-Type": media_type})
            wrong[name] = wrong_with(reply, *statuses)
        none_of(wrong)

    def test_a_body_that_is_the_file_needs_a_name(self, scene: Scene) -> None:
        def sent(**options: Any) -> str:
            return wrong_with(scene.owner.request("POST", "/v1/files", content=b"Forty", **options), 422)

        none_of(
            {
                "nothing": sent(),
                "an empty name": sent(params={"file_name": ""}),
                "a long name": sent(params={"file_name": "x" * 256}),
                "two names": sent(params=[("file_name", "a"), ("file_name", "b")]),
                "an unknown field": sent(params={"file_name": "a", "no_such_field": "x"}),
                "U+0000": sent(params={"file_name": "a\0.txt"}),
            }
        )

    def test_a_file_that_is_too_large_is_refused_before_it_is_sent(self, scene: Scene) -> None:
        key = str(scene.owner.post("/v1/api-keys", {"display_name": "large", "scopes": ["*"]})["secret"])
        address = urlsplit(scene.owner.base_url)
        connection = HTTPConnection(str(address.hostname), address.port, timeout=10)
        connection.putrequest("POST", "/v1/files?file_name=a.txt")
        for name, value in (("Content-Length", str(300 * 1024 * 1024)), ("X-Api-Key", key)):
            connection.putheader(name, value)
        connection.endheaders()
        reply = connection.getresponse()

        assert (reply.status, json.loads(reply.read())["reason"]) == (413, "BODY_TOO_LARGE")
        connection.close()


def test_what_is_downloaded_never_runs(scene: Scene, anonymous: Client) -> None:
    """A browser saves what somebody uploaded, whatever it says it is."""
    page = scene.owner.upload(
        "/v1/files", name='a"\r\nX-Injected: 1.html', content_type="text/html", content=b"<script>alert(1)</script>"
    )
    reply = scene.owner.request("GET", f"/v1/files/{page['id']}:download")

    assert reply.status_code == 200
    assert reply.headers["content-disposition"].startswith("attachment")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert (
        "sandbox" in reply.headers["content-security-policy"]
        or "default-src 'none'" in reply.headers["content-security-policy"]
    )
    assert "x-injected" not in reply.headers
