"""python -m auth serve | bootstrap | migrate | replay | check | rotate-keys {access,context}."""

import asyncio
import sys

from auth.domain.issuer import KeyPurpose
from auth.main import build, build_key_ring
from auth.settings import AuthSettings
from chassis.cli import main
from chassis.errors import FleetError
from chassis.settings import load

ROTATED = (KeyPurpose.ACCESS, KeyPurpose.CONTEXT)


def rotate_keys(arguments: list[str]) -> None:
    """Publish a new signing key of one set; exits with 1 when that is refused, or the arguments name no set."""
    if len(arguments) != 1 or arguments[0] not in ROTATED:
        sys.exit("usage: python -m auth rotate-keys {access,context}")
    asyncio.run(_rotate(KeyPurpose(arguments[0])))


async def _rotate(purpose: KeyPurpose) -> None:
    database, _, keys = build_key_ring(load(AuthSettings))
    try:
        sys.stdout.write(f"{await keys.rotate(purpose)} signs in five minutes\n")
    except FleetError as error:
        sys.exit(f"{error.reason}: {error.message}")
    finally:
        await database.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["rotate-keys"]:
        rotate_keys(sys.argv[2:])
    else:
        main("auth", AuthSettings, build)
