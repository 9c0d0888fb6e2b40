"""What the agent service is made of."""

from datetime import timedelta

from agent.adapters.kb_grpc import KbGrpc
from agent.adapters.org_grpc import OrgGrpc
from agent.adapters.providers.registry import ModelDiscovery, ProviderRegistry, catalogue
from agent.adapters.tail import NatsTail
from agent.adapters.tool_grpc import ToolGrpc
from agent.application.engine import PostgresRunEngine
from agent.application.journal import JournalWriter
from agent.application.publishing import PublishAgent
from agent.application.recording import Recorder
from agent.application.run_loop import RunLoop
from agent.application.watching import WatchRun
from agent.servicers.agents import Agents
from agent.servicers.models import Models
from agent.servicers.runs import Runs
from agent.settings import AgentSettings
from agent.unit_of_work import AgentUnitOfWork
from chassis.data.database import Database
from chassis.messaging.broker import Broker
from chassis.rpc.client import Peers, acting_for
from chassis.service import Service


def build(settings: AgentSettings) -> Service:
    """Wire agent: models and providers, the engine of runs, peers, servicers."""
    database = Database(settings.database, service="agent")
    acquire = AgentUnitOfWork.factory(database)
    peers = Peers(settings)
    knowledge, tools, budget = KbGrpc(peers), ToolGrpc(peers), OrgGrpc(peers)
    models, providers = catalogue(settings), ProviderRegistry(settings)
    tail = NatsTail(Broker(settings.nats, name="agent-tail"))
    journals = JournalWriter(acquire, tail)
    loop = RunLoop(
        recorder=(recorder := Recorder(acquire, journals, tail, models)),
        providers=providers,
        knowledge=knowledge,
        tools=tools,
        budget=budget,
        acting_for=acting_for,
    )
    engine = PostgresRunEngine(
        acquire, recorder=recorder, journals=journals, loop=loop, tail=tail, capacity=settings.worker.capacity,
        lease=timedelta(seconds=settings.worker.lease_seconds),
        heartbeat=timedelta(seconds=settings.worker.heartbeat_seconds),
    )  # fmt: skip
    tail.when_woken(engine.ring)
    publish = PublishAgent(acquire, models=models, knowledge=knowledge, tools=tools, acting_for=acting_for)
    return Service(
        name="agent",
        settings=settings,
        database=database,
        unit_of_work=acquire,
        peers=peers,
        servicers=[Models(models), Agents(acquire, publish), Runs(acquire, models, engine, WatchRun(acquire, tail))],
        background=[tail, engine, ModelDiscovery(settings, models)],
        readiness=[database.ping],
    )
