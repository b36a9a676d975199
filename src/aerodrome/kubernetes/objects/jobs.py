"""The Job that brings the database to what image and configuration say, before anything of a new version starts."""

from __future__ import annotations

import json

from aerodrome.kubernetes.objects.components import preparation
from aerodrome.kubernetes.objects.containers import placement, pod_spec
from aerodrome.kubernetes.objects.plan import DATABASE_CLIENT, Object, Plan, digest, limited


def prepare(plan: Plan) -> Object:
    """Schema, teams and the whole list of bundles. A Job can not be changed: its name says what it did."""
    part = preparation(plan)
    settings = plan.component("jobs")
    metadata: Object = {"labels": {**plan.labels("jobs"), DATABASE_CLIENT: "true"}}
    if settings.annotations:
        metadata["annotations"] = dict(sorted(settings.annotations.items()))
    pod = pod_spec(plan, [part], account=plan.name("jobs"), grace=30, restartPolicy="Never", **placement(settings))
    template = {"metadata": metadata, "spec": pod}
    name = limited(f"{plan.name('prepare')}-{digest(json.dumps(template, sort_keys=True))}", 63)
    spec = {"backoffLimit": 6, "activeDeadlineSeconds": 3600, "template": template}
    return plan.object("batch/v1", "Job", name, "jobs", spec=spec)
