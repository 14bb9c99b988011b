"""Asks the published queries of orch."""

from .serving import AsyncLakehouseClient, LakehouseClient, LakehouseError

__all__ = ["AsyncLakehouseClient", "LakehouseClient", "LakehouseError"]
