"""The shop's unit of work."""

from functools import cached_property
from typing import ClassVar

from chassis.data.repository import Repository, UserRepository
from chassis.data.unit_of_work import UnitOfWork
from chassis.errors import AlreadyExists
from shop.models import Article, Preference


class ArticleNameTaken(AlreadyExists):
    """Another article has this name."""

    reason = "ARTICLE_NAME_TAKEN"


class Articles(Repository[Article]):
    model = Article


class Preferences(UserRepository[Preference]):
    model = Preference


class ShopUnitOfWork(UnitOfWork):
    constraint_errors: ClassVar = {"uq_articles_name": ArticleNameTaken}

    @cached_property
    def articles(self) -> Articles:
        return Articles(self.session, self.organization_id)

    @cached_property
    def preferences(self) -> Preferences:
        assert self.user_id is not None
        return Preferences(self.session, self.user_id)
