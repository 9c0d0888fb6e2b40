"""Founding organizations and changing what they are called."""

from collections.abc import Mapping
from uuid import UUID

from chassis.data.database import check_etag
from chassis.ids import ORGANIZATION, USER
from definable.org.v1.events_pb2 import OrganizationCreated, OrganizationUpdated
from org import models
from org.application import members
from org.domain import roles, slugs
from org.domain.errors import FieldCannotBeEmpty, OrganizationIdTaken, OrganizationNotFound, OrganizationSlugTaken
from org.unit_of_work import OrgUnitOfWork

UPDATABLE = ("display_name", "slug")


async def get(work: OrgUnitOfWork) -> models.Organization:
    """Read the organization of the unit of work. Raises OrganizationNotFound."""
    organization = await work.organizations.current()
    if organization is None:
        raise OrganizationNotFound()
    return organization


async def provision(work: OrgUnitOfWork, *, owner_id: UUID, display_name: str) -> models.Organization:
    """Found the organization of the unit of work unless that was done before.

    Raises OrganizationIdTaken when it was done for another owner.
    """
    await work.lock("provision", work.organization_id)
    existing = await work.organizations.current()
    if existing is None:
        return await found(work, owner_id=owner_id, display_name=display_name, slug="")
    if existing.provisioned_for != owner_id:
        raise OrganizationIdTaken()
    return existing


async def found(work: OrgUnitOfWork, *, owner_id: UUID, display_name: str, slug: str) -> models.Organization:
    """Create the organization of the unit of work with its first owner.

    Without a slug one is made from the name. Raises OrganizationSlugTaken when another organization has the given slug.
    """
    organization = await _insert(work, owner_id=owner_id, display_name=display_name, slug=slug)
    shown = ORGANIZATION.show(work.organization_id)
    event = OrganizationCreated(organization_id=shown, owner_user_id=USER.show(owner_id))
    work.outbox.add(event, target=shown, after=_state(organization), revision=organization.revision)
    await members.join(work, user_id=owner_id, role=roles.role_named(roles.OWNER))
    return organization


async def update(work: OrgUnitOfWork, *, changes: Mapping[str, str]) -> models.Organization:
    """Change the name, the slug or both; neither can be empty.

    Raises OrganizationNotFound, OrganizationSlugTaken, FieldCannotBeEmpty and EtagMismatch.
    """
    if not all(changes.values()):
        raise FieldCannotBeEmpty(fields=", ".join(name for name, value in changes.items() if not value))
    organization = await work.organizations.lock()
    if organization is None:
        raise OrganizationNotFound()
    check_etag(organization)
    before = _state(organization)
    organization.display_name = changes.get("display_name", organization.display_name)
    organization.update_time = work.now()
    organization.slug = changes.get("slug", organization.slug)
    await work.session.flush()
    shown = ORGANIZATION.show(work.organization_id)
    event = OrganizationUpdated(organization_id=shown, changed_fields=sorted(changes))
    work.outbox.add(event, target=shown, before=before, after=_state(organization), revision=organization.revision)
    return organization


async def _insert(work: OrgUnitOfWork, *, owner_id: UUID, display_name: str, slug: str) -> models.Organization:
    if slug:
        return await _insert_with_slug(work, owner_id=owner_id, display_name=display_name, slug=slug)
    wished = slugs.slug_from(display_name)
    try:
        return await _insert_with_slug(work, owner_id=owner_id, display_name=display_name, slug=wished)
    except OrganizationSlugTaken:
        unique = slugs.with_suffix(wished, work.organization_id.hex[-8:])
        return await _insert_with_slug(work, owner_id=owner_id, display_name=display_name, slug=unique)


async def _insert_with_slug(
    work: OrgUnitOfWork, *, owner_id: UUID, display_name: str, slug: str
) -> models.Organization:
    organization = models.Organization(
        organization_id=work.organization_id,
        display_name=display_name,
        slug=slug,
        provisioned_for=owner_id,
        create_time=work.now(),
        update_time=work.now(),
    )
    await work.organizations.insert(organization)
    return organization


def _state(organization: models.Organization) -> dict[str, str]:
    return {"display_name": organization.display_name, "slug": organization.slug}
