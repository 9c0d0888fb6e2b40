"""`python -m tool serve | bootstrap | migrate | replay`."""

from chassis.cli import main
from tool.main import build
from tool.settings import ToolSettings

if __name__ == "__main__":
    main("tool", ToolSettings, build)
