"""The command line of a service: `python -m kb serve`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from chassis import settings as fleet_settings
from chassis.messaging.relay import replay
from chassis.service import Service
from chassis.settings import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)


def main(name: str, kind: type[S], build: Callable[[S], Service], arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says; exits with 1 when that failed, with 2 when settings or arguments are wrong.

    serve: run until SIGTERM · bootstrap: make roles, database and schema · migrate: bring the schema to a revision ·
    replay: publish events again that the outbox still holds · check: say whether all that the service needs is there.
    """
    chosen = _parser(name).parse_args(arguments)
    settings = fleet_settings.load(kind)
    match chosen.verb:
        case "serve":
            _run(_serve(settings, build))
        case "bootstrap":
            _run(_bootstrap(settings))
        case "migrate":
            _run(_migrate(settings, chosen.to))
        case "replay":
            _run(_replay(settings, build, chosen.subject))
        case "check":
            sys.exit(_run(_check(settings, build)))


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("serve", help="run until SIGTERM")
    verbs.add_parser("bootstrap", help="make roles, database and schema")
    migrate = verbs.add_parser("migrate", help="bring the schema to a revision")
    migrate.add_argument("--to", default="head", metavar="REVISION", help="a number, 'base', or 'head' (default)")
    again = verbs.add_parser("replay", help="publish events again that the outbox still holds")
    again.add_argument("--subject", action="append", default=[], help="only these facts; may be given several times")
    verbs.add_parser("check", help="say whether all that the service needs is there")
    return parser


R = TypeVar("R")


def _run(work: Coroutine[Any, Any, R]) -> R:
    """Run on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


async def _bootstrap(settings: ServiceSettings) -> None:
    # Alembic is imported where it is used: a process that serves does without.
    from chassis.data import migrations

    await migrations.bootstrap(settings)


async def _migrate(settings: ServiceSettings, target: str) -> None:
    from chassis.data import migrations

    await migrations.run(settings, target=target)


async def _serve(settings: S, build: Callable[[S], Service]) -> None:
    await build(settings).serve()


async def _replay(settings: S, build: Callable[[S], Service], subjects: Sequence[str]) -> None:
    service = build(settings)
    if service.database is None:
        raise SystemExit(f"{service.name} has no outbox")
    try:
        sys.stdout.write(f"{await replay(service.database, subjects=subjects)} events will be published again\n")
    finally:
        await service.database.close()


async def _check(settings: S, build: Callable[[S], Service]) -> int:
    amiss = await build(settings).preflight()
    sys.stdout.write(json.dumps({"ready": not amiss, "amiss": dict(amiss)}) + "\n")
    return 1 if amiss else 0
