"""What the conversation service is made of."""

from chassis.data.database import Database
from chassis.rpc.client import Peers
from chassis.service import Service
from conversation.adapters.agent_grpc import AgentGrpc
from conversation.application.answers import FinishAnswers
from conversation.application.sending import SendMessage, StartAnswer
from conversation.application.stopping import StopMessage
from conversation.consumers import StoreAnswerOfEndedRun
from conversation.domain.history import HistoryLimits
from conversation.jobs import CancelRun, StartRun
from conversation.servicers.conversations import Conversations
from conversation.servicers.messages import Messages
from conversation.settings import ConversationSettings
from conversation.unit_of_work import ConversationUnitOfWork


def build(settings: ConversationSettings) -> Service:
    """Wire conversation: the agent peer, units of work, servicers, the consumer of ended runs, jobs."""
    database = Database(settings.database, service="conversation")
    acquire = ConversationUnitOfWork.factory(database)
    peers = Peers(settings)
    agent = AgentGrpc(peers)
    finish = FinishAnswers(acquire, agent)
    limits = HistoryLimits(messages=settings.history_messages, characters=settings.history_characters)
    start = StartAnswer(acquire, agent, limits)
    return Service(
        name="conversation",
        settings=settings,
        database=database,
        unit_of_work=acquire,
        peers=peers,
        servicers=[
            Conversations(acquire),
            Messages(acquire, SendMessage(acquire, start), StopMessage(acquire, agent), finish),
        ],
        consumers=[StoreAnswerOfEndedRun(finish)],
        jobs=[StartRun(acquire, start), CancelRun(agent)],
        readiness=[database.ping],
    )
