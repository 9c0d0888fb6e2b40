"""Mail."""

import asyncio
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from pydantic import SecretStr

from chassis import email
from chassis.email import Email, FolderMailer, SilentMailer, SmtpMailer
from chassis.errors import DependencyUnavailable
from chassis.settings import EmailSettings

MAIL = Email("eva@example.org", "Grüße", "Hallo Eva", "<p>Hallo Eva</p>")


class SmtpServer(asyncio.Protocol):
    """As much of SMTP as handing over a mail takes."""

    def __init__(self, received: list[bytes]) -> None:
        self._received = received
        self._data: bytearray | None = None
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 test\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n" in self._buffer:
            line, _, rest = bytes(self._buffer).partition(b"\r\n")
            self._buffer = bytearray(rest)
            self._line(line)

    def _line(self, line: bytes) -> None:
        if self._data is None:
            if line.upper() == b"DATA":
                self._data = bytearray()
                self._transport.write(b"354 go on\r\n")
            else:
                self._transport.write(b"221 bye\r\n" if line.upper() == b"QUIT" else b"250 ok\r\n")
        elif line == b".":
            self._received.append(bytes(self._data))
            self._data = None
            self._transport.write(b"250 ok\r\n")
        else:
            self._data += line + b"\r\n"


class TestMailers:
    async def test_settings_choose(self, tmp_path: Path) -> None:
        assert isinstance(email.from_settings(EmailSettings(smtp_host="localhost")), SmtpMailer)
        assert isinstance(email.from_settings(EmailSettings(folder=tmp_path)), FolderMailer)
        assert isinstance(email.from_settings(EmailSettings(smtp_password=SecretStr("x"))), SilentMailer)
        await SilentMailer().send(MAIL)

    async def test_a_folder_holds_what_mail_programs_read(self, tmp_path: Path) -> None:
        mailer = FolderMailer(tmp_path / "outbox", sender="Definable <no-reply@example.org>")
        await mailer.send(MAIL)
        await mailer.send(Email("a@example.org", "Second", "text"))

        first, second = sorted((tmp_path / "outbox").iterdir())
        read = message_from_bytes(first.read_bytes(), policy=policy.default)
        assert (read["To"], read["Subject"]) == ("eva@example.org", "Grüße")
        assert read.get_body(("plain",)).get_content().strip() == "Hallo Eva"  # type: ignore[union-attr]  # it has one
        assert b"Second" in second.read_bytes()

    @pytest.mark.parametrize("recipient", ["a@example.org\nBcc: b@example.org", "a@example.org\r\nX: y"])
    async def test_nobody_adds_headers(self, tmp_path: Path, recipient: str) -> None:
        with pytest.raises(ValueError, match=r"[Hh]eader"):
            await FolderMailer(tmp_path, sender="x@example.org").send(Email(recipient, "s", "t"))

    async def test_smtp_hands_over(self) -> None:
        received: list[bytes] = []
        server = await asyncio.get_running_loop().create_server(lambda: SmtpServer(received), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        await SmtpMailer(EmailSettings(smtp_host="127.0.0.1", smtp_port=port, smtp_starttls=False)).send(MAIL)

        assert message_from_bytes(received[0])["To"] == "eva@example.org"
        server.close()

    async def test_a_server_that_is_away_is_a_dependency(self) -> None:
        mailer = SmtpMailer(EmailSettings(smtp_host="127.0.0.1", smtp_port=1, smtp_starttls=False))

        with pytest.raises(DependencyUnavailable) as caught:
            await mailer.send(MAIL)

        assert caught.value.metadata == {"dependency": "smtp"}
