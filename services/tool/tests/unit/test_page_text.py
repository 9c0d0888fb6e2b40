"""What a reader sees of a web page."""

from tool.adapters.page_text import text_of

PAGE = b"""<!doctype html><html><head><title>The  Title</title><style>p{}</style></head>
<body><h1>Heading</h1><p>One &amp; two</p><script>var x</script><ul><li>a<li>b</ul></body></html>"""


class TestTextOf:
    def test_keeps_what_a_reader_sees(self) -> None:
        assert text_of(PAGE, content_type="text/html") == ("The Title", "Heading\nOne & two\na\nb")

    def test_leaves_plain_text_alone(self) -> None:
        assert text_of(b"a < b\n  c", content_type="text/plain") == ("", "a < b\n  c")

    def test_decodes_by_the_named_charset(self) -> None:
        assert text_of("für".encode("latin-1"), content_type="text/plain; charset=iso-8859-1") == ("", "für")
