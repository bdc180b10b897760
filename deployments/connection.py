"""The Prefect server that a command works on: one that somebody named, and no other."""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import get_current_settings

from tasks.errors import PlanRefused

NO_SERVER = "PREFECT_API_URL is not set"
NAME_ONE = "export PREFECT_API_URL=http://127.0.0.1:4200/api, or where your Prefect server answers"


def is_named() -> bool:
    """Whether environment or profile say which server it is.

    Without that, Prefect starts one for the command alone: all that is asked of it succeeds, and nobody else
    ever sees it.
    """
    return bool(get_current_settings().api.url)


def require_server() -> None:
    """Raises PlanRefused when no server is named."""
    if not is_named():
        raise PlanRefused(NO_SERVER, NAME_ONE)


def connect() -> SyncPrefectClient:
    """A client of the server that is named; raises PlanRefused when none is."""
    require_server()
    return get_client(sync_client=True)
