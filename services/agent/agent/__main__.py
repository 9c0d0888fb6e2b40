"""`python -m agent serve | bootstrap | migrate | replay | check`."""

from agent.main import build
from agent.settings import AgentSettings
from chassis import cli

if __name__ == "__main__":
    cli.main("agent", AgentSettings, build)
