"""A configuration as the cluster sees it: the names, labels and places that all objects share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aerodrome.config import Config, Team
from aerodrome.config.installation import Installation
from aerodrome.config.kubernetes import Component

Object = dict[str, Any]
"""One Kubernetes object, as plain data."""

INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"
TEAM = "aerodrome/team"
SETTINGS = "aerodrome/settings"
"""Annotation of a pod: digest of the files that it reads at its start, so that a change of them replaces the pod."""
DATABASE_CLIENT = "aerodrome/database-client"
"""Label of the pods that may talk to the embedded database."""

STATE = "/var/lib/aerodrome"
"""Home, Airflow's home and state folder of every container; an emptyDir of its own."""
SNAPSHOTS = "/var/lib/aerodrome-snapshots"
SECRETS = "/run/aerodrome/secrets"
CONFIG_FILE = "/etc/aerodrome/aerodrome.yaml"
TEMPLATES = "/etc/aerodrome/workers"

_LONGEST = 52  # of a StatefulSet, whose pods get a label of its name and 11 more characters


@dataclass(frozen=True)
class Plan:
    """What all objects of one installation share."""

    config: Config

    @property
    def namespace(self) -> str:
        """The platform's namespace."""
        return self.config.name

    @cached_property
    def installation(self) -> Installation:
        """The configuration with its places inside a pod."""
        return Installation(self.config, Path(CONFIG_FILE), Path(STATE))

    def of_team(self, team: Team) -> Plan:
        """The same installation as if `team` were its only one: what a component of one team may know."""
        return Plan(self.config.model_copy(update={"teams": (team,)}))

    def name(self, component: str, team: Team | None = None) -> str:
        """Name of a component's objects."""
        return limited("-".join([self.config.name, component, *([team.name] if team else [])]))

    def component(self, component: str) -> Component:
        """What the configuration says of a component: ``api-server``, ``scheduler``, ..."""
        settings = getattr(self.config.kubernetes.components, component.replace("-", "_"))
        assert isinstance(settings, Component)
        return settings

    def selector(self, component: str, team: Team | None = None) -> dict[str, str]:
        """The labels by which a component's pods are found; they never change."""
        return {
            "app.kubernetes.io/name": "aerodrome",
            INSTANCE: self.config.name,
            COMPONENT: component,
            **({TEAM: team.name} if team else {}),
        }

    def labels(self, component: str, team: Team | None = None) -> dict[str, str]:
        """The labels of a component's objects."""
        return {**self.selector(component, team), MANAGED_BY: "aerodrome"}

    def object(
        self,
        api_version: str,
        kind: str,
        name: str,
        component: str,
        *,
        team: Team | None = None,
        namespace: str | None = "",
        annotations: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Object:
        """An object with its metadata.

        Args:
            namespace: "" is the platform's, None is none (an object of the whole cluster).
        """
        metadata: dict[str, Any] = {"name": name}
        if namespace is not None:
            metadata["namespace"] = namespace or self.namespace
        metadata["labels"] = self.labels(component, team)
        if annotations:
            metadata["annotations"] = dict(sorted(annotations.items()))
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def limited(name: str, longest: int = _LONGEST) -> str:
    """`name`, cut and told apart by a digest where it is longer than Kubernetes takes it."""
    if len(name) <= longest:
        return name
    return f"{name[: longest - 9].rstrip('-')}-{digest(name)}"


def digest(text: str) -> str:
    """Eight hex digits that stand for `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]
