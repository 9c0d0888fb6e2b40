"""What org is made of."""

from chassis.data.database import Database
from chassis.rpc import descriptors
from chassis.rpc.client import Peers
from chassis.service import Service
from org.adapters.bell import PostgresBell
from org.adapters.event_schemas import EventSchemas
from org.adapters.user_directory import AuthUserDirectory
from org.consumers import FeedRecorder
from org.jobs import Upkeep
from org.servicers.audit import Audit
from org.servicers.budgets import Budgets
from org.servicers.events import Events
from org.servicers.jobs import Jobs
from org.servicers.members import Members
from org.servicers.memberships import Memberships
from org.servicers.organizations import Organizations
from org.servicers.roles import Roles
from org.servicers.usage import Usage
from org.settings import OrgSettings
from org.unit_of_work import OrgUnitOfWork


def build(settings: OrgSettings) -> Service:
    """Wire org: adapters, units of work, servicers, consumers and what runs by the clock."""
    database = Database(settings.database, service="org")
    acquire = OrgUnitOfWork.factory(database)
    peers = Peers(settings)
    directory = AuthUserDirectory(peers)
    bell = PostgresBell(database)
    catalogue = descriptors.catalogue()
    schemas = EventSchemas(descriptors.packaged())
    return Service(
        name="org",
        settings=settings,
        database=database,
        unit_of_work=acquire,
        peers=peers,
        servicers=[
            Organizations(acquire),
            Members(acquire, directory),
            Memberships(acquire),
            Roles(catalogue),
            Audit(acquire),
            Events(acquire, bell, catalogue),
            Jobs(acquire),
            Budgets(acquire),
            Usage(acquire),
        ],
        consumers=[FeedRecorder(acquire, schemas.fields)],
        background=[bell, Upkeep(acquire, interval=settings.upkeep_interval)],
        readiness=[database.ping],
    )
