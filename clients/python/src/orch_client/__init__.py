"""orch from Python: `Orch` for runs, streams, topics and the lake, `LakehouseClient` for published queries.

`AsyncOrch` and `AsyncLakehouseClient` have the same methods, to be awaited.
"""

from .errors import OrchError
from .orch import AsyncOrch, Orch
from .serving import AsyncLakehouseClient, LakehouseClient, LakehouseError

__all__ = ["AsyncLakehouseClient", "AsyncOrch", "LakehouseClient", "LakehouseError", "Orch", "OrchError"]
