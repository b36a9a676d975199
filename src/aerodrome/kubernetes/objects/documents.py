"""The configuration that each service reads in the cluster: as much of the whole as concerns it, without secrets."""

from __future__ import annotations

from typing import Any

import yaml

from aerodrome.config import Team
from aerodrome.kubernetes.objects.plan import CONFIG_FILE, Object, Plan, digest

_OF_ALL = ("name", "store", "store_options", "logs")
_OF_SYNC = (
    "name",
    "repo",
    "ref",
    "forge",
    "dags",
    "imports",
    "paths",
    "poll",
    "submodules",
    "limits",
    "credentials",
    "ca",
)
# What a team's own services have no use for. What is left decides when they start anew.
_NOT_OF_TEAM = ("credentials", "ca", "poll", "limits", "quota", "worker", "namespace", "connections_from", "triggerer")


def for_sync(plan: Plan) -> str:
    """The configuration of the service that fetches all repositories."""
    whole = _written(plan)
    teams = [{key: team[key] for key in _OF_SYNC if key in team} for team in whole.get("teams", [])]
    return _text({key: whole[key] for key in (*_OF_ALL, "sync") if key in whole} | {"teams": teams})


def for_team(plan: Plan, team: Team) -> str:
    """The configuration of the services of one team."""
    whole = _written(plan.of_team(team))
    (own,) = whole["teams"]
    kept = {key: value for key, value in own.items() if key not in _NOT_OF_TEAM}
    # the image decides a verdict too: it is the environment that the commit is judged in
    kept["image"] = team.image or plan.config.kubernetes.image
    return _text({key: whole[key] for key in _OF_ALL if key in whole} | {"teams": [kept]})


def config_map(plan: Plan, component: str, text: str, team: Team | None = None) -> Object:
    """The ConfigMap with the document of a component."""
    name = plan.name(component, team)
    return plan.object("v1", "ConfigMap", name, component, team=team, data={"aerodrome.yaml": text})


def mount(plan: Plan, component: str, text: str, team: Team | None = None) -> tuple[Object, Object, dict[str, str]]:
    """How a container gets its document: mount, volume, and what stands for its content."""
    name = plan.name(component, team)
    volume = f"config-{component}" + (f"-{team.name}" if team else "")
    return (
        {"name": volume, "mountPath": CONFIG_FILE.rpartition("/")[0], "readOnly": True},
        {"name": volume, "configMap": {"name": name}},
        {name: digest(text)},
    )


def _written(plan: Plan) -> dict[str, Any]:
    return plan.config.model_dump(mode="json", exclude_unset=True, by_alias=True)


def _text(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=False, width=120, allow_unicode=True)
