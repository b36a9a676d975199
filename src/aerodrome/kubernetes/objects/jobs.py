"""Jobs: what changes the database and ends."""

from __future__ import annotations

import json
from collections.abc import Sequence

from aerodrome.kubernetes.objects.components import program
from aerodrome.kubernetes.objects.containers import placement, pod_spec
from aerodrome.kubernetes.objects.plan import DATABASE_CLIENT, Object, Plan, digest, limited


def prepare(plan: Plan) -> Object:
    """Schema, teams and the whole list of bundles, before anything of a new version or list of teams starts."""
    return _job(plan, "prepare", "aerodrome.airflow.prepare")


def forget(plan: Plan, teams: Sequence[str]) -> Object:
    """Removes what teams that are no longer in the configuration have left in the database."""
    return _job(plan, "forget", "aerodrome.airflow.removal", *teams)


def _job(plan: Plan, name: str, *command: str) -> Object:
    """A Job can not be changed: its name says what it does."""
    settings = plan.component("jobs")
    metadata: Object = {"labels": {**plan.labels("jobs"), DATABASE_CLIENT: "true"}}
    if settings.annotations:
        metadata["annotations"] = dict(sorted(settings.annotations.items()))
    part = program(plan, name, *command)
    pod = pod_spec(plan, [part], account=plan.name("jobs"), grace=30, restartPolicy="Never", **placement(settings))
    template = {"metadata": metadata, "spec": pod}
    full = limited(f"{plan.name(name)}-{digest(json.dumps(template, sort_keys=True))}", 63)
    spec = {"backoffLimit": 4, "activeDeadlineSeconds": 3600, "template": template}
    return plan.object("batch/v1", "Job", full, "jobs", spec=spec)
