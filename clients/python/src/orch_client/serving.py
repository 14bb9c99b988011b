"""The published queries of orch over HTTP: one method for each endpoint of the taxi lakehouse, and `rows`, `row`, `frame` for all others."""

from __future__ import annotations

import datetime
import io
import os
from collections.abc import Awaitable, Mapping
from typing import Any, Generic, Literal, TypeVar

import httpx

Day = datetime.date | str
Moment = datetime.datetime | str
Row = dict[str, Any]
Frames = Literal["pandas", "polars"]

OneT = TypeVar("OneT")
FrameT = TypeVar("FrameT")
RowsT = TypeVar("RowsT")


class LakehouseError(Exception):
    """The server refused a question. `detail` is what it said: a text, or with 422 a list of the wrong parameters."""

    def __init__(self, status: int, detail: Any) -> None:
        self.status = status
        self.detail = detail
        if isinstance(detail, list):
            detail = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in detail)
        super().__init__(f"{status}: {detail}")


def _params(given: Mapping[str, Any]) -> dict[str, str]:
    def text(value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, datetime.date):
            return value.isoformat()
        return str(value)

    return {name: text(value) for name, value in given.items() if value is not None}


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.text
    raise LakehouseError(response.status_code, detail)


def _frame(arrow: bytes, frames: Frames) -> Any:
    if frames == "polars":
        import polars

        return polars.read_ipc_stream(io.BytesIO(arrow))
    import pyarrow.ipc

    return pyarrow.ipc.open_stream(arrow).read_pandas()


class _Endpoints(Generic[OneT, RowsT, FrameT]):
    """What both clients can be asked."""

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
        self._frames: Frames = frames
        self._settings: dict[str, Any] = {
            "base_url": address.rstrip("/"),
            "headers": {"X-API-Key": key} if key else {},
            "timeout": timeout,
        }

    def row(self, path: str, **params: Any) -> OneT:
        """The answer of an endpoint that gives one object."""
        raise NotImplementedError

    def rows(self, path: str, **params: Any) -> RowsT:
        """The rows of an endpoint as dictionaries."""
        raise NotImplementedError

    def frame(self, path: str, **params: Any) -> FrameT:
        """The rows of an endpoint as a frame, with the types that it declares."""
        raise NotImplementedError

    def get_dashboard_stats(self, day: Day | None = None) -> OneT:
        return self.row("/api/v1/dashboard/stats", day=day)

    def get_recent_trips(self, limit: int = 100, hours_back: int = 24, as_of: Moment | None = None) -> FrameT:
        return self.frame("/api/v1/trips/recent", limit=limit, hours_back=hours_back, as_of=as_of)

    def get_zone_metrics(self, start_date: Day, end_date: Day, limit: int = 50) -> FrameT:
        return self.frame("/api/v1/analytics/zones", start_date=start_date, end_date=end_date, limit=limit)

    def get_weather_impact(self, start_date: Day, end_date: Day) -> FrameT:
        return self.frame("/api/v1/analytics/weather-impact", start_date=start_date, end_date=end_date)

    def get_time_series(
        self,
        metric: Literal["trip_count", "revenue", "avg_fare"] = "trip_count",
        days_back: int = 7,
        day: Day | None = None,
    ) -> OneT:
        return self.row("/api/v1/analytics/time-series", metric=metric, days_back=days_back, day=day)

    def get_demand_predictions(
        self, hours_ahead: int = 24, top_zones: int = 20, reference_date: Day | None = None
    ) -> FrameT:
        path = "/api/v1/predictions/demand"
        return self.frame(path, hours_ahead=hours_ahead, top_zones=top_zones, reference_date=reference_date)

    def get_real_time_activity(self, minutes_back: int = 60, as_of: Moment | None = None) -> FrameT:
        return self.frame("/api/v1/realtime/activity", minutes_back=minutes_back, as_of=as_of)

    def get_trips(self, start_date: Day, end_date: Day, limit: int = 1000, offset: int = 0) -> FrameT:
        return self.frame("/api/v1/trips", start_date=start_date, end_date=end_date, limit=limit, offset=offset)

    def export_trips(
        self, start_date: Day, end_date: Day, format: Literal["json", "csv", "parquet", "arrow"] = "json"
    ) -> OneT:
        """Where the trips are as a file (`export_url`), and how many there are."""
        return self.row("/api/v1/export/trips", start_date=start_date, end_date=end_date, format=format)


class LakehouseClient(_Endpoints[Row, list[Row], Any]):
    """Asks one question after the other."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._http = httpx.Client(**self._settings)

    def _get(self, path: str, params: Mapping[str, Any]) -> httpx.Response:
        return _checked(self._http.get(path, params=_params(params)))

    def row(self, path: str, **params: Any) -> Row:
        return self._get(path, params).json()

    def rows(self, path: str, **params: Any) -> list[Row]:
        return self._get(path, params).json()["data"]

    def frame(self, path: str, **params: Any) -> Any:
        return _frame(self._get(path, {**params, "format": "arrow"}).content, self._frames)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> LakehouseClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncLakehouseClient(_Endpoints[Awaitable[Row], Awaitable[list[Row]], Awaitable[Any]]):
    """The same, with answers to be awaited."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._http = httpx.AsyncClient(**self._settings)

    async def _get(self, path: str, params: Mapping[str, Any]) -> httpx.Response:
        return _checked(await self._http.get(path, params=_params(params)))

    async def row(self, path: str, **params: Any) -> Row:
        return (await self._get(path, params)).json()

    async def rows(self, path: str, **params: Any) -> list[Row]:
        return (await self._get(path, params)).json()["data"]

    async def frame(self, path: str, **params: Any) -> Any:
        return _frame((await self._get(path, {**params, "format": "arrow"})).content, self._frames)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> AsyncLakehouseClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
