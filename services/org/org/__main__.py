"""python -m org serve | bootstrap | migrate | replay | check."""

from chassis.cli import main
from org.main import build
from org.settings import OrgSettings

if __name__ == "__main__":
    main("org", OrgSettings, build)
