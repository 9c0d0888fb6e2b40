"""`python -m tool serve | bootstrap | migrate | replay`."""

from chassis import cli
from tool.main import build
from tool.settings import ToolSettings

if __name__ == "__main__":
    cli.main("tool", ToolSettings, build)
