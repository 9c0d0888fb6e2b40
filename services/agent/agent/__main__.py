"""`python -m agent serve | bootstrap | migrate | replay | check`."""

from agent.main import build
from agent.settings import AgentSettings
from chassis.cli import main

if __name__ == "__main__":
    main("agent", AgentSettings, build)
