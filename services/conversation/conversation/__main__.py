"""`python -m conversation serve | bootstrap | migrate | replay`."""

from chassis import cli
from conversation.main import build
from conversation.settings import ConversationSettings

if __name__ == "__main__":
    cli.main("conversation", ConversationSettings, build)
