"""Run a flow of Packmaster through the Prefect API, with nothing but Python's standard library.

    export PREFECT_API_URL=http://127.0.0.1:4200/api PREFECT_API_AUTH_STRING=admin:password
    python run_flow.py verify-platform \\
        '{"platform": {"$ref": {"block_document_slug": "packmaster-platform/blog"}}}'

Blocks are named, never sent. A third argument is an idempotency key: with the same one, the same run.
"""

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

API = os.environ["PREFECT_API_URL"]
LOGIN = os.environ.get("PREFECT_API_AUTH_STRING", "")
CLIENT = str(uuid.uuid4())
FOLLOW_SECONDS = 7200
BUSY_SECONDS = 60
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def ask(method: str, path: str, body: Any = None, token: str = "") -> Any:
    """What the API answers; urllib.error.HTTPError when it refuses.

    A server that is busy (503) or restarting is asked again for a minute: with its key, a run is made once.
    """
    headers = {"Content-Type": "application/json"}
    if LOGIN:
        headers["Authorization"] = "Basic " + base64.b64encode(LOGIN.encode()).decode()
    if token:
        headers |= {"Prefect-Csrf-Client": CLIENT, "Prefect-Csrf-Token": token}
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(API + path, data, headers, method=method)
    ends = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except OSError as problem:  # urllib's errors are OSErrors
            refused = isinstance(problem, urllib.error.HTTPError) and problem.code != 503
            if refused or time.monotonic() > ends:
                raise
        time.sleep(1)


def find_token() -> str:
    """What shows the server that a change is meant; empty where it does not ask for that."""
    try:
        return str(ask("GET", f"/csrf-token?client={CLIENT}")["token"])
    except urllib.error.HTTPError as refused:
        if refused.code == 422:
            return ""
        raise


def follow(run: str) -> dict[str, str]:
    """The state that the run ended in."""
    ends = time.monotonic() + FOLLOW_SECONDS
    while time.monotonic() < ends:
        state: dict[str, str] = ask("GET", f"/flow_runs/{run}")["state"]
        if state["type"] in ENDED:
            return state
        time.sleep(1)
    sys.exit(f"the run {run} did not end within {FOLLOW_SECONDS} s")


def main(flow: str, parameters: str, key: str = "") -> int:
    """Create the run, follow it, and print how it ended and what its tables say."""
    try:
        token = find_token()
        deployment = ask("GET", f"/deployments/name/{flow}/{flow}")["id"]
        wanted = {"parameters": json.loads(parameters), "idempotency_key": key or str(uuid.uuid4())}
        run = ask("POST", f"/deployments/{deployment}/create_flow_run", wanted, token)
    except urllib.error.HTTPError as refused:
        print(f"refused with {refused.code}: {refused.read().decode()}", file=sys.stderr)
        return 1
    print("run", run["id"])
    state = follow(run["id"])
    print(f"{state['name']}: {state['message']}")
    mine = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}, "type": {"any_": ["table"]}}}
    for table in ask("POST", "/artifacts/filter", mine, token):
        for row in json.loads(table["data"]):
            print(table["key"], *row.values(), sep="\t")
    return 0 if state["type"] == "COMPLETED" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
