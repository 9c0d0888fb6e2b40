"""python -m auth serve | bootstrap | migrate | replay | check."""

from auth.main import build
from auth.settings import AuthSettings
from chassis.cli import main

if __name__ == "__main__":
    main("auth", AuthSettings, build)
