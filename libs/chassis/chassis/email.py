"""Mail that the fleet sends: over SMTP, or into a folder while developing."""

import asyncio
import smtplib
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Protocol

from chassis import telemetry
from chassis.boundary import entering_network
from chassis.errors import DependencyUnavailable
from chassis.ids import new_id
from chassis.settings import EmailSettings

_SECONDS = 20.0

log = telemetry.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Email:
    """A mail to one person, as text and, if there is one, as HTML."""

    recipient: str
    subject: str
    text: str
    html: str = ""


class Mailer(Protocol):
    """How mail leaves."""

    async def send(self, email: Email) -> None:
        """Hand a mail over. Raises ValueError on line breaks in a header, DependencyUnavailable when it must wait."""
        ...


def from_settings(settings: EmailSettings) -> Mailer:
    """Return what the settings ask for: SMTP, a folder, or nothing but a line in the log."""
    if settings.smtp_host:
        return SmtpMailer(settings)
    return FolderMailer(settings.folder, sender=settings.sender) if settings.folder else SilentMailer()


class SmtpMailer:
    """Sends over SMTP, a connection a mail."""

    def __init__(self, settings: EmailSettings) -> None:
        self._settings = settings

    async def send(self, email: Email) -> None:
        """Hand a mail to the server. Raises DependencyUnavailable when it doesn't take it now."""
        entering_network("smtp")
        message = _message(email, sender=self._settings.sender)
        try:
            await asyncio.to_thread(self._send, message)
        except (smtplib.SMTPException, OSError) as error:
            raise DependencyUnavailable(dependency="smtp") from error

    def _send(self, message: EmailMessage) -> None:
        settings = self._settings
        with smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=_SECONDS) as server:
            if settings.smtp_starttls:
                server.starttls()
            if settings.smtp_user:
                server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
            server.send_message(message)


class FolderMailer:
    """Writes each mail as a file that mail programs open, the newest with the highest name."""

    def __init__(self, folder: Path, *, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, email: Email) -> None:
        """Write a mail."""
        await asyncio.to_thread(self._write, bytes(_message(email, sender=self._sender)))

    def _write(self, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{new_id()}.eml"
        partial = path.with_suffix(".partial")
        partial.write_bytes(content)
        partial.rename(path)


class SilentMailer:
    """Sends nothing and says so: what is in a mail, a token above all, is not for logs."""

    async def send(self, email: Email) -> None:
        """Log that a mail was not sent."""
        log.warning("email_not_sent", subject=email.subject, hint="set EMAIL__SMTP_HOST or EMAIL__FOLDER")


def _message(email: Email, *, sender: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, email.recipient, email.subject
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2].strip(">"))
    message.set_content(email.text)
    if email.html:
        message.add_alternative(email.html, subtype="html")
    return message
