"""OrganizationService: founding, listing, renaming and leaving organizations."""

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.testing import refused
from definable.options.v1.options_pb2 import Rank
from definable.org.v1.events_pb2 import MemberAdded, MemberRemoved, OrganizationCreated, OrganizationUpdated
from definable.org.v1.member_service_pb2 import ListMembersRequest
from definable.org.v1.organization_service_pb2 import (
    CreateOrganizationRequest,
    GetOrganizationRequest,
    LeaveOrganizationRequest,
    ListOrganizationsRequest,
    Organization,
    UpdateOrganizationRequest,
)

from .running import Org, a_name, found  # noqa: TID252


class TestCreateOrganization:
    async def test_makes_the_caller_its_owner_and_announces_both(self, org: Org) -> None:
        home = await found(org)

        created = await org.organizations(home.owner).CreateOrganization(
            CreateOrganizationRequest(organization=Organization(display_name="Second & Co"))
        )

        assert created.caller_role == "owner"
        assert created.slug.startswith("second-co")
        there = org.caller_in(created.id, home.owner)
        members = await org.members(there).ListMembers(ListMembersRequest())
        assert [(member.user_id, member.role) for member in members.members] == [(home.owner_id, "owner")]
        assert (await org.announced(OrganizationCreated)).organization_id == created.id
        assert (await org.announced(MemberAdded)).user_id == home.owner_id

    async def test_keeps_the_slug_that_was_asked_for(self, org: Org) -> None:
        home, slug = await found(org), a_name("slug")

        created = await org.organizations(home.owner).CreateOrganization(
            CreateOrganizationRequest(organization=Organization(display_name="Any", slug=slug))
        )

        assert created.slug == slug

    async def test_refuses_a_slug_that_is_taken(self, org: Org) -> None:
        home, slug = await found(org), a_name("slug")
        request = CreateOrganizationRequest(organization=Organization(display_name="Any", slug=slug))
        await org.organizations(home.owner).CreateOrganization(request)

        with refused("ORGANIZATION_SLUG_TAKEN"):
            await org.organizations((await found(org)).owner).CreateOrganization(request)

    async def test_lets_many_have_one_name(self, org: Org) -> None:
        home = await found(org)
        request = CreateOrganizationRequest(organization=Organization(display_name=a_name("Same Name")))

        created = await asyncio.gather(*(org.organizations(home.owner).CreateOrganization(request) for _ in range(5)))

        assert len({organization.slug for organization in created}) == 5

    async def test_repeated_with_its_key_is_one_organization(self, org: Org) -> None:
        home = await found(org)
        request = CreateOrganizationRequest(organization=Organization(display_name="Once"))
        key = (("idempotency-key", a_name("key")),)

        first = await org.organizations(home.owner).CreateOrganization(request, metadata=key)
        second = await org.organizations(home.owner).CreateOrganization(request, metadata=key)

        assert first == second
        listed = await org.organizations(home.owner).ListOrganizations(ListOrganizationsRequest())
        assert len(listed.organizations) == 2

    async def test_is_not_for_api_keys(self, org: Org) -> None:
        home = await found(org)
        key = org.api_key_of(home)

        with refused("USER_CREDENTIAL_REQUIRED"):
            await org.organizations(key).CreateOrganization(
                CreateOrganizationRequest(organization=Organization(display_name="Any"))
            )

    @pytest.mark.parametrize(
        "organization",
        [
            Organization(),
            Organization(display_name="x" * 101),
            Organization(display_name="x", slug="With Spaces"),
            Organization(display_name="x", slug="-a"),
            Organization(display_name="x", slug="a" * 64),
        ],
        ids=["no name", "long name", "spaces", "hyphen", "long slug"],
    )
    async def test_refuses_names_and_slugs_that_are_none(self, org: Org, organization: Organization) -> None:
        home = await found(org)

        with refused("VALIDATION_FAILED"):
            await org.organizations(home.owner).CreateOrganization(CreateOrganizationRequest(organization=organization))


class TestListOrganizations:
    async def test_lists_the_callers_own_and_pages(self, org: Org) -> None:
        home = await found(org)
        await found(org)
        for name in ("b", "c"):
            await org.organizations(home.owner).CreateOrganization(
                CreateOrganizationRequest(organization=Organization(display_name=name))
            )

        first = await org.organizations(home.owner).ListOrganizations(ListOrganizationsRequest(page_size=2))
        rest = await org.organizations(home.owner).ListOrganizations(
            ListOrganizationsRequest(page_size=2, page_token=first.next_page_token)
        )

        names = [organization.display_name for organization in [*first.organizations, *rest.organizations]]
        assert names == [home.display_name, "b", "c"]
        assert rest.next_page_token == ""
        assert {organization.caller_role for organization in first.organizations} == {"owner"}

    async def test_refuses_the_token_of_somebody_else(self, org: Org) -> None:
        home, other = await found(org), await found(org)
        await org.organizations(home.owner).CreateOrganization(
            CreateOrganizationRequest(organization=Organization(display_name="b"))
        )
        page = await org.organizations(home.owner).ListOrganizations(ListOrganizationsRequest(page_size=1))

        with refused("PAGE_TOKEN_INVALID"):
            await org.organizations(other.owner).ListOrganizations(
                ListOrganizationsRequest(page_size=1, page_token=page.next_page_token)
            )


class TestGetOrganization:
    async def test_is_the_credentials(self, org: Org) -> None:
        home = await found(org)
        viewer = await org.a_member(home, Rank.VIEWER)

        shown = await org.organizations(viewer).GetOrganization(GetOrganizationRequest())

        assert (shown.id, shown.display_name, shown.caller_role) == (home.id, home.display_name, "viewer")

    async def test_of_an_organization_that_is_none_is_not_found(self, org: Org) -> None:
        with refused("ORGANIZATION_NOT_FOUND"):
            await org.organizations(org.a_stranger()).GetOrganization(GetOrganizationRequest())


class TestUpdateOrganization:
    async def test_changes_what_the_mask_names(self, org: Org) -> None:
        home = await found(org)
        before = await org.organizations(home.owner).GetOrganization(GetOrganizationRequest())

        after = await org.organizations(home.owner).UpdateOrganization(
            UpdateOrganizationRequest(
                organization=Organization(display_name="New", slug="ignored"),
                update_mask=FieldMask(paths=["display_name"]),
            )
        )

        assert (after.display_name, after.slug) == ("New", before.slug)
        assert after.etag != before.etag
        event = await org.announced(OrganizationUpdated)
        assert (event.organization_id, list(event.changed_fields)) == (home.id, ["display_name"])

    async def test_refuses_a_taken_slug_and_changes_nothing(self, org: Org) -> None:
        home, other = await found(org), await found(org)
        taken = (await org.organizations(other.owner).GetOrganization(GetOrganizationRequest())).slug

        with refused("ORGANIZATION_SLUG_TAKEN"):
            await org.organizations(home.owner).UpdateOrganization(
                UpdateOrganizationRequest(organization=Organization(display_name="New", slug=taken))
            )

        shown = await org.organizations(home.owner).GetOrganization(GetOrganizationRequest())
        assert shown.display_name == home.display_name

    async def test_refuses_an_older_etag(self, org: Org) -> None:
        home = await found(org)
        request = UpdateOrganizationRequest(organization=Organization(display_name="New"))
        old = (await org.organizations(home.owner).GetOrganization(GetOrganizationRequest())).etag
        await org.organizations(home.owner).UpdateOrganization(request, metadata=(("if-match", old),))

        with refused("ETAG_MISMATCH"):
            await org.organizations(home.owner).UpdateOrganization(request, metadata=(("if-match", old),))

    @pytest.mark.parametrize("path", ["id", "create_time", "etag"])
    async def test_refuses_what_cannot_be_changed(self, org: Org, path: str) -> None:
        home = await found(org)

        with refused("VALIDATION_FAILED"):
            await org.organizations(home.owner).UpdateOrganization(
                UpdateOrganizationRequest(
                    organization=Organization(display_name="x"), update_mask=FieldMask(paths=[path])
                )
            )

    async def test_does_not_clear_the_slug(self, org: Org) -> None:
        home = await found(org)

        with refused("FIELD_CANNOT_BE_EMPTY"):
            await org.organizations(home.owner).UpdateOrganization(
                UpdateOrganizationRequest(organization=Organization(), update_mask=FieldMask(paths=["slug"]))
            )


class TestLeaveOrganization:
    async def test_ends_the_callers_membership(self, org: Org) -> None:
        home = await found(org)
        viewer = await org.a_member(home, Rank.VIEWER)

        await org.organizations(viewer).LeaveOrganization(LeaveOrganizationRequest())

        members = await org.members(home.owner).ListMembers(ListMembersRequest())
        assert [member.user_id for member in members.members] == [home.owner_id]
        assert (await org.announced(MemberRemoved)).user_id == viewer.subject

    async def test_is_refused_to_the_last_owner(self, org: Org) -> None:
        home = await found(org)
        await org.a_member(home, Rank.ADMIN)

        with refused("LAST_OWNER"):
            await org.organizations(home.owner).LeaveOrganization(LeaveOrganizationRequest())

    async def test_is_refused_to_an_api_key(self, org: Org) -> None:
        home = await found(org)

        with refused("USER_CREDENTIAL_REQUIRED"):
            await org.organizations(org.api_key_of(home)).LeaveOrganization(LeaveOrganizationRequest())
