"""`python -m conversation serve | bootstrap | migrate | replay`."""

from chassis.cli import main
from conversation.main import build
from conversation.settings import ConversationSettings

if __name__ == "__main__":
    main("conversation", ConversationSettings, build)
