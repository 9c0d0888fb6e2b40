"""`python -m gateway serve` answers requests; `python -m gateway openapi` prints what it answers."""

import argparse
import asyncio
import sys
from importlib.metadata import version

import orjson


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="gateway", description="The front of the fleet.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("serve", help="serve HTTP until SIGTERM")
    verbs.add_parser("check", help="check the settings and the contracts, and exit")
    verbs.add_parser("openapi", help="print openapi.json of the packaged contracts")
    verb: str = parser.parse_args().verb
    {"serve": _serve, "check": _check, "openapi": _print_openapi}[verb]()
    return 0


def _serve() -> None:
    import uvloop

    from chassis import telemetry
    from chassis.settings import load
    from gateway.server import Gateway
    from gateway.settings import GatewaySettings

    settings = load(GatewaySettings)
    telemetry.current_service.set(settings.name)
    telemetry.configure_logging(settings)
    telemetry.configure_tracing(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(Gateway, settings))


async def _run(kind: type, settings: object) -> None:
    # Channels belong to the loop that they are made in.
    await kind(settings).serve()


def _check() -> None:
    from chassis.settings import load
    from gateway.settings import GatewaySettings

    load(GatewaySettings)
    _description()


def _print_openapi() -> None:
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    sys.stdout.buffer.write(orjson.dumps(_description(), option=options))


def _description() -> object:
    from chassis.rpc.descriptors import packaged
    from gateway.openapi import describe
    from gateway.operations import Table

    return describe(Table(packaged()), version=version("definable-gateway"))


if __name__ == "__main__":
    sys.exit(main())
