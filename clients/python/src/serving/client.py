"""The name under which the document imports the client."""

from orch_client import AsyncLakehouseClient, LakehouseClient, LakehouseError

__all__ = ["AsyncLakehouseClient", "LakehouseClient", "LakehouseError"]
