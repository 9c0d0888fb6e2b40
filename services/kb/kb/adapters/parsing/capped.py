"""A parser that gives each file a process of its own, and ends it when it wants too much."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import cast

from kb.adapters.parsing import plain
from kb.adapters.parsing.child import PARSERS, Limits
from kb.domain.errors import (
    DocumentUnusable,
    EmptyDocument,
    FileCorrupt,
    ParseMemory,
    ParseTimeout,
    TextTooLarge,
    UnsupportedType,
)
from kb.domain.media_types import TEXT
from kb.domain.parsed import Heading, ParsedText

_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
# JSON writes a character in twelve bytes at the most.
_BYTES_A_CHARACTER = 12
_LANDMARK_BYTES = 16 * 1024 * 1024
_FAILURES: dict[str, type[DocumentUnusable]] = {
    failure.reason: failure for failure in (FileCorrupt, ParseMemory, ParseTimeout, TextTooLarge, UnsupportedType)
}


class CappedParser:
    """Parses each file in a child with caps on processor time, memory, wall time and output.

    Plain text, which takes one pass, is decoded in a thread here: a process a document would cost more than the rest of
    its ingest.
    """

    def __init__(self, *, limits: Limits, timeout: timedelta) -> None:
        self._limits = limits
        self._timeout = timeout

    async def parse(self, path: Path, *, media_type: str) -> ParsedText:
        """Return the text of a file.

        Raises FileCorrupt, ParseTimeout, ParseMemory, UnsupportedType, EmptyDocument or TextTooLarge.
        """
        if media_type not in PARSERS:
            raise UnsupportedType(media_type=media_type)
        parsed = await (self._parse_plain(path) if media_type == TEXT else self._parse_apart(path, media_type))
        if not _LETTER_OR_DIGIT.search(parsed.text):
            raise EmptyDocument
        return parsed

    async def _parse_plain(self, path: Path) -> ParsedText:
        return await asyncio.to_thread(self._read_plain, path)

    def _read_plain(self, path: Path) -> ParsedText:
        limit = self._limits.text_characters
        # At most four bytes a character, so a longer file is too large whatever its encoding.
        if path.stat().st_size > 4 * limit or len((parsed := plain.parse(path.read_bytes())).text) > limit:
            raise TextTooLarge(limit_characters=limit)
        return parsed

    async def _parse_apart(self, path: Path, media_type: str) -> ParsedText:
        limits = json.dumps(asdict(self._limits))
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "kb.adapters.parsing.child", media_type, str(path), limits),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                output = await self._output(cast("asyncio.StreamReader", child.stdout))
                status = await child.wait()
        except TimeoutError:
            raise ParseTimeout(limit_seconds=self._timeout.total_seconds()) from None
        finally:
            await _end(child)
        return _parsed(output, status)

    async def _output(self, output: asyncio.StreamReader) -> bytes:
        room = self._limits.text_characters * _BYTES_A_CHARACTER + _LANDMARK_BYTES
        pieces = []
        while piece := await output.read(1 << 20):
            pieces.append(piece)
            room -= len(piece)
            if room < 0:
                raise TextTooLarge(limit_characters=self._limits.text_characters)
        return b"".join(pieces)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()


def _parsed(output: bytes, status: int) -> ParsedText:
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        raise ParseTimeout
    try:
        outcome = json.loads(output)
    except ValueError as error:
        # It ended without a word: a crash in native code, for which only the file can be blamed.
        raise FileCorrupt from error
    if "failed" in outcome:
        raise _FAILURES.get(outcome["failed"], FileCorrupt)
    headings = [Heading(**heading) for heading in outcome["headings"]]
    return ParsedText(outcome["text"], outcome["page_starts"], headings)
