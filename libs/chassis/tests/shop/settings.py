"""The shop's settings."""

from chassis.settings import ServiceSettings


class ShopSettings(ServiceSettings):
    """Nothing of its own."""

    name: str = "shop"
