"""Packmaster's flows as another system triggers them: with nothing but HTTP."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tasks.errors import PackmasterError

RUN_SECONDS = 900
BUSY_SECONDS = 60
ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class Api:
    """What another system does: look a deployment up, create a run, follow it."""

    client: httpx.Client
    ui: str
    say: Callable[[str], None]

    def reference(self, block_type: str, name: str) -> dict[str, Any]:
        """A block as a run parameter: named, never sent."""
        answer = self._ask("GET", f"/block_types/slug/{block_type}/block_documents/name/{name}")
        return {"$ref": {"block_document_id": answer.json()["id"]}}

    def fields(self, block_type: str, name: str) -> dict[str, Any]:
        """What a block is registered with, secrets hidden; nothing where there is none of that name."""
        listed = {
            "block_types": {"slug": {"any_": [block_type]}},
            "block_documents": {"name": {"any_": [name]}},
        }
        found = self._ask("POST", "/block_documents/filter", listed).json()
        return dict(found[0]["data"]) if found else {}

    def run(self, flow: str, parameters: Mapping[str, Any]) -> str:
        """Trigger a deployment and follow the run to its end; its message, or PackmasterError."""
        return self.finish(flow, self.start(flow, parameters))

    def start(self, flow: str, parameters: Mapping[str, Any]) -> str:
        """Trigger a deployment; the run's id."""
        deployment = self._ask("GET", f"/deployments/name/{flow}/{flow}").json()
        # With a key of its own, a request that has to be repeated still makes one run.
        wanted = {"parameters": dict(parameters), "idempotency_key": str(uuid.uuid4())}
        run = self._ask("POST", f"/deployments/{deployment['id']}/create_flow_run", wanted).json()
        self.say(f"{flow}: {self.ui}/runs/flow-run/{run['id']}")
        return str(run["id"])

    def finish(self, flow: str, run_id: str) -> str:
        """Follow a run to its end; its message, or PackmasterError."""
        state = self._follow(run_id)
        if state["type"] != "COMPLETED":
            raise PackmasterError(f"{flow} ended as {state['name']}: {state['message']}")
        self.say(f"    {state['message']}")
        return str(state["message"])

    def approve(self, run_id: str, answer: Mapping[str, Any], seconds: float) -> None:
        """Wait until a run asks for approval, and give it, as a person does with its form in the UI.

        Raises PackmasterError when it does not ask within `seconds`, or ends before.
        """
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            state = self._ask("GET", f"/flow_runs/{run_id}").json()["state"]
            if state["type"] in ENDED:
                raise PackmasterError(f"the run {run_id} asked for no approval: {state['message']}")
            if state["type"] == "PAUSED" and self._resume(run_id, answer):
                return
            time.sleep(0.5)
        raise PackmasterError(f"the run {run_id} did not ask for approval within {seconds:.0f} s")

    def _resume(self, run_id: str, answer: Mapping[str, Any]) -> bool:
        # It is paused a moment before its form is there.
        said = self.client.post(f"/flow_runs/{run_id}/resume", json={"run_input": dict(answer)})
        return said.is_success and said.json()["status"] == "ACCEPT"

    def headline(self, key: str) -> str:
        """What stands above the latest table artifact of a key."""
        return str(self._ask("GET", f"/artifacts/{key}/latest").json()["description"]).replace("**", "")

    def table(self, key: str) -> list[dict[str, str]]:
        """The rows of the latest table artifact of a key."""
        rows: list[dict[str, str]] = json.loads(self._ask("GET", f"/artifacts/{key}/latest").json()["data"])
        return rows

    def _follow(self, run_id: str) -> dict[str, Any]:
        shown = ""
        ends = time.monotonic() + RUN_SECONDS
        while time.monotonic() < ends:
            state: dict[str, Any] = self._ask("GET", f"/flow_runs/{run_id}").json()["state"]
            if state["name"] != shown:
                shown = state["name"]
                self.say(f"    {shown.lower()}")
            if state["type"] in ENDED:
                return state
            time.sleep(1)
        raise PackmasterError(f"the run {run_id} did not end within {RUN_SECONDS} s")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        """One answer of the API; a server that is busy (503) or restarting is asked again for a while."""
        ends = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                answer = self.client.request(method, path, json=body)
                if answer.status_code != 503:
                    break
                problem = "it is busy"
            except httpx.TransportError as silent:
                problem = str(silent)
            if time.monotonic() > ends:
                raise PackmasterError(f"the Prefect server gave no answer in {BUSY_SECONDS} s: {problem}")
            time.sleep(1)
        if answer.is_error:
            raise PackmasterError(f"{method} {path} was refused with {answer.status_code}: {answer.text}")
        return answer
