"""python -m auth serve | bootstrap | migrate | replay | check."""

from auth.main import build
from auth.settings import AuthSettings
from chassis import cli

if __name__ == "__main__":
    cli.main("auth", AuthSettings, build)
