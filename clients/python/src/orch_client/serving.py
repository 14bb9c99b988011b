"""Published queries: a method for each endpoint of the taxi lakehouse, and `rows`, `row`, `frame` for all others."""

from __future__ import annotations

import datetime
import io
import os
from typing import Any, ClassVar, Literal

from ._server import BRIEFLY, Awaited, Blocked, Blocking, Client, Server, Way, now
from .errors import OrchError

Day = datetime.date | str
Moment = datetime.datetime | str
Row = dict[str, Any]
Frames = Literal["pandas", "polars"]


class LakehouseError(OrchError):
    """The server refused a question. `detail` is what it said, with 422 of each wrong parameter."""


class AsyncLakehouseClient(Client):
    """Asks the endpoints of published queries; its methods are awaited."""

    _way: ClassVar[type[Way]] = Awaited

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        frames: Frames = "pandas",
    ) -> None:
        address = base_url or os.environ.get("ORCH_SERVING_URL") or "http://localhost:8000"
        key = api_key or os.environ.get("ORCH_API_TOKEN")
        headers = {"X-API-Key": key} if key else {}
        self._frames: Frames = frames
        self._server = Server(self._way(), address.rstrip("/"), headers=headers, timeout=timeout, error=LakehouseError)

    async def row(self, path: str, /, **params: Any) -> Row:
        """The answer of an endpoint that gives one object."""
        found: Row = await self._server.get(path, params=_params(params))
        return found

    async def rows(self, path: str, /, **params: Any) -> list[Row]:
        """The rows of an endpoint as dictionaries."""
        found: list[Row] = (await self._server.get(path, params=_params(params)))["data"]
        return found

    async def frame(self, path: str, /, **params: Any) -> Any:
        """The rows of an endpoint as a frame, with the types that it declares."""
        params = _params({**params, "format": "arrow"})
        return _frame((await self._server.answer("GET", path, params=params, patience=BRIEFLY)).content, self._frames)

    async def get_dashboard_stats(self, day: Day | None = None) -> Row:
        return await self.row("/api/v1/dashboard/stats", day=day)

    async def get_recent_trips(self, limit: int = 100, hours_back: int = 24, as_of: Moment | None = None) -> Any:
        return await self.frame("/api/v1/trips/recent", limit=limit, hours_back=hours_back, as_of=as_of)

    async def get_zone_metrics(self, start_date: Day, end_date: Day, limit: int = 50) -> Any:
        return await self.frame("/api/v1/analytics/zones", start_date=start_date, end_date=end_date, limit=limit)

    async def get_weather_impact(self, start_date: Day, end_date: Day) -> Any:
        return await self.frame("/api/v1/analytics/weather-impact", start_date=start_date, end_date=end_date)

    async def get_time_series(
        self,
        metric: Literal["trip_count", "revenue", "avg_fare"] = "trip_count",
        days_back: int = 7,
        day: Day | None = None,
    ) -> Row:
        return await self.row("/api/v1/analytics/time-series", metric=metric, days_back=days_back, day=day)

    async def get_demand_predictions(
        self, hours_ahead: int = 24, top_zones: int = 20, reference_date: Day | None = None
    ) -> Any:
        path = "/api/v1/predictions/demand"
        return await self.frame(path, hours_ahead=hours_ahead, top_zones=top_zones, reference_date=reference_date)

    async def get_real_time_activity(self, minutes_back: int = 60, as_of: Moment | None = None) -> Any:
        return await self.frame("/api/v1/realtime/activity", minutes_back=minutes_back, as_of=as_of)

    async def get_trips(self, start_date: Day, end_date: Day, limit: int = 1000, offset: int = 0) -> Any:
        return await self.frame("/api/v1/trips", start_date=start_date, end_date=end_date, limit=limit, offset=offset)

    async def export_trips(
        self, start_date: Day, end_date: Day, format: Literal["json", "csv", "parquet", "arrow"] = "json"
    ) -> Row:
        """Where the trips are as a file (`export_url`), and how many there are."""
        return await self.row("/api/v1/export/trips", start_date=start_date, end_date=end_date, format=format)


class _BlockingLakehouseClient(AsyncLakehouseClient):
    _way = Blocking


class LakehouseClient(Blocked[AsyncLakehouseClient]):
    """Asks the endpoints of published queries, one after the other."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        frames: Frames = "pandas",
    ) -> None:
        self._client = _BlockingLakehouseClient(base_url, api_key, timeout=timeout, frames=frames)

    row = now(AsyncLakehouseClient.row)
    rows = now(AsyncLakehouseClient.rows)
    frame = now(AsyncLakehouseClient.frame)
    get_dashboard_stats = now(AsyncLakehouseClient.get_dashboard_stats)
    get_recent_trips = now(AsyncLakehouseClient.get_recent_trips)
    get_zone_metrics = now(AsyncLakehouseClient.get_zone_metrics)
    get_weather_impact = now(AsyncLakehouseClient.get_weather_impact)
    get_time_series = now(AsyncLakehouseClient.get_time_series)
    get_demand_predictions = now(AsyncLakehouseClient.get_demand_predictions)
    get_real_time_activity = now(AsyncLakehouseClient.get_real_time_activity)
    get_trips = now(AsyncLakehouseClient.get_trips)
    export_trips = now(AsyncLakehouseClient.export_trips)


def _params(given: dict[str, Any]) -> dict[str, str]:
    def text(value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, datetime.date):
            return value.isoformat()
        return str(value)

    return {name: text(value) for name, value in given.items() if value is not None}


def _frame(arrow: bytes, frames: Frames) -> Any:
    if frames == "polars":
        import polars

        return polars.read_ipc_stream(io.BytesIO(arrow))
    import pyarrow.ipc

    return pyarrow.ipc.open_stream(arrow).read_pandas()
