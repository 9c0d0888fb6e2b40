"""`python -m kb serve | bootstrap | migrate [--to REV] | replay | check`."""

from chassis import cli
from kb.main import build
from kb.settings import KbSettings

if __name__ == "__main__":
    cli.main("kb", KbSettings, build)
