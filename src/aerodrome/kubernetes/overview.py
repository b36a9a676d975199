"""What ``status`` shows of a platform in a cluster: its workloads and pods, and each team.

What the store and the database say is asked inside the cluster, in containers that may read them: this machine need
hold no key of either.
"""

from __future__ import annotations

import json
from typing import Any

from aerodrome.config import Config
from aerodrome.errors import AerodromeError
from aerodrome.kubernetes.cluster import Cluster, Ref
from aerodrome.kubernetes.diagnose import diagnose
from aerodrome.kubernetes.objects import Object, objects
from aerodrome.kubernetes.objects.plan import CONFIG_FILE, Plan
from aerodrome.kubernetes.ready import readiness
from aerodrome.kubernetes.watch import worst


def overview(config: Config, cluster: Cluster) -> dict[str, Any]:
    """The whole of it, ready for JSON.

    Raises:
        AerodromeError: the cluster does not answer, or refuses.
    """
    plan = Plan(config)
    components = [
        _component(cluster, entry) for entry in objects(config) if entry["kind"] in ("Deployment", "StatefulSet")
    ]
    running = any(component["pods"] for component in components)
    unknown: list[str] = []
    summary = ["python", "-m", "aerodrome.store.summary", CONFIG_FILE]
    stored = _asked(cluster, plan, "sync", "sync", summary, unknown) or []
    compact = config.kubernetes.topology == "compact"
    place = "platform" if compact else "scheduler"
    tasks = _asked(cluster, plan, place, "scheduler", ["python", "-m", "aerodrome.airflow.backlog"], unknown) or {}
    known = {team["name"]: team for team in stored}
    teams = [
        {
            **known.get(team.name, {"name": team.name, "repo": team.repo, "ref": team.ref, "dags": []}),
            "namespace": team.namespace,
            "pods": _phases(cluster, plan, team.namespace),
            "tasks": tasks.get(team.name, {}),
        }
        for team in config.teams
    ]
    return {
        "running": running,
        "healthy": bool(components) and all(component["state"] == "ready" for component in components),
        "server": cluster.server,
        "components": components,
        "teams": teams,
        "unknown": unknown if running else [],
    }


def _component(cluster: Cluster, entry: Object) -> dict[str, Any]:
    ref = Ref.of(entry)
    found = cluster.get(ref)
    shown: dict[str, Any] = {"name": ref.name, "state": "missing", "words": "not applied", "remedy": "", "pods": []}
    if found is None:
        return shown
    state = readiness(found)
    shown |= {"state": state.state, "words": state.words}
    trouble = worst(cluster, found) if state.state != "ready" else None
    if trouble is not None:
        shown |= {"words": f"{trouble[0]}: {trouble[1].summary}", "remedy": trouble[1].remedy}
    labels = found["spec"]["selector"]["matchLabels"]
    shown["pods"] = [_pod(pod) for pod in cluster.list("Pod", ref.namespace, labels)]
    return shown


def _pod(pod: Object) -> dict[str, Any]:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return {
        "name": pod["metadata"]["name"],
        "node": pod["spec"].get("nodeName"),
        "state": diagnose(pod).summary,
        "restarts": sum(status.get("restartCount", 0) for status in statuses),
        "since": pod["metadata"].get("creationTimestamp"),
    }


def _phases(cluster: Cluster, plan: Plan, namespace: str) -> dict[str, int]:
    """How many pods of tasks are in which phase."""
    found: dict[str, int] = {}
    for pod in cluster.list("Pod", namespace, {"kubernetes_executor": "True"}):
        phase = str(pod.get("status", {}).get("phase", "Unknown")).lower()
        found[phase] = found.get(phase, 0) + 1
    return found


def _asked(cluster: Cluster, plan: Plan, component: str, container: str, argv: list[str], unknown: list[str]) -> Any:
    """The answer of a program in a container; None, with a line in `unknown`, when there is none."""
    pods = cluster.list("Pod", plan.namespace, plan.selector(component))
    ready = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
    try:
        if not ready:
            raise AerodromeError(f"there is no pod of {component} to ask", "")
        said = cluster.run(plan.namespace, ready[0]["metadata"]["name"], container, argv)
        return json.loads(said)
    except AerodromeError as error:
        unknown.append(error.what)
    except ValueError:
        unknown.append(f"{container} in {ready[0]['metadata']['name']} gave no answer")
    return None
