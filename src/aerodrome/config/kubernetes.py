"""What ``aerodrome.yaml`` says for Kubernetes only: checked everywhere, used by ``render`` and ``apply``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from aerodrome import __version__
from aerodrome.config.values import (
    HOST,
    DnsLabel,
    DnsName,
    EnvName,
    EnvValue,
    LabelKey,
    Quantity,
    Setting,
    Size,
    written,
)


class Part(BaseModel):
    """A part of the configuration: frozen, every key known, defaults written as a user would write them."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=False, populate_by_name=False
    )


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError("must be a mapping of keys to values")
    return value


def _patch(value: object) -> dict[str, Any]:
    patch = _object(value)
    metadata = patch.get("metadata")
    if not isinstance(patch.get("kind"), str) or not isinstance(metadata, dict) or "name" not in metadata:
        raise ValueError(
            "must say what it changes: kind and metadata.name (and metadata.namespace where two share a name)"
        )
    return patch


# Kubernetes' own structures are passed on as they are: the API server checks them better than a copy of its types.
KubernetesObject = Annotated[dict[str, Any], PlainValidator(_object), WithJsonSchema({"type": "object"})]
Patch = Annotated[
    dict[str, Any],
    PlainValidator(_patch),
    WithJsonSchema(
        {
            "type": "object",
            "required": ["kind", "metadata"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object", "required": ["name"]},
            },
        }
    ),
]
Image = Annotated[str, Field(pattern=r"^[a-z0-9][A-Za-z0-9._/:@-]*$")]


class Resources(Part):
    """Resources of a container, as in Kubernetes."""

    requests: dict[str, Quantity] = Field({}, description="What is reserved, for example {cpu: 500m, memory: 512Mi}.")
    limits: dict[str, Quantity] = Field({}, description="What it may use at most.")


class Toleration(Part):
    """A toleration, as in Kubernetes."""

    key: str | None = Field(None, description="The taint's key; left out: every key.")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="How the value is compared.")
    value: Setting | None = Field(None, description="The taint's value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="The taint's effect; left out: every effect."
    )
    tolerationSeconds: int | None = Field(None, ge=0, description="Seconds that NoExecute is borne.")  # noqa: N815


class Component(Part):
    """How one component of the platform runs."""

    replicas: int | None = Field(None, ge=0, le=20, description="Number of pods; default: what the topology says.")
    resources: Resources | None = Field(None, description="Resources of its container; default: measured ones.")
    node_selector: dict[LabelKey, Setting] = Field({}, description="Labels that its nodes must have.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints that it bears.")
    annotations: dict[LabelKey, Setting] = Field({}, description="Annotations of its pods.")
    service_account_annotations: dict[LabelKey, Setting] = Field(
        {}, description="Annotations of its service account (identities of clouds)."
    )


class Components(Part):
    """The components of the platform."""

    platform: Component = Field(default_factory=Component, description="The one pod of the compact topology.")
    api_server: Component = Field(default_factory=Component, description="Airflow's UI and API.")
    task_api: Component = Field(default_factory=Component, description="The API that tasks talk to (split topology).")
    scheduler: Component = Field(default_factory=Component, description="Airflow's scheduler.")
    sync: Component = Field(default_factory=Component, description="Fetches the repositories.")
    processor: Component = Field(default_factory=Component, description="Parses and judges; one a team.")
    triggerer: Component = Field(default_factory=Component, description="Waits for deferred tasks; one a team.")
    database: Component = Field(default_factory=Component, description="The embedded database.")
    jobs: Component = Field(default_factory=Component, description="Migration and other jobs that end.")


class Ingress(Part):
    """The way from outside to Airflow's UI."""

    host: str = Field(pattern=HOST, description="Host name of the UI. Must be given.")
    ingress_class: str | None = Field(None, alias="class", description="Ingress class; default: the cluster's.")
    tls_secret: DnsName | None = Field(None, description="Kubernetes Secret with the host's certificate.")
    annotations: dict[LabelKey, Setting] = Field({}, description="Annotations of the Ingress.")
    webhook_host: str | None = Field(
        None, pattern=HOST, description="Host name of sync's webhook; default: no way from outside."
    )


class Kubernetes(Part):
    """How the platform runs on Kubernetes."""

    topology: Literal["compact", "split"] = Field(
        "compact", description="compact: one platform pod and sync; split: a Deployment for each component."
    )
    image: Image = Field(f"aerodrome:{__version__}", description="Image of the platform, and of teams that name none.")
    sync_image: Image | None = Field(
        None, description="Image of sync, the only one with git; default: that of image, its tag with -sync after it."
    )
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        "IfNotPresent", description="When nodes pull images."
    )
    image_pull_secrets: tuple[DnsName, ...] = Field((), description="Kubernetes Secrets with logins of registries.")
    components: Components = Field(
        default_factory=Components, description="Resources, replicas and places of each component."
    )
    ingress: Ingress | None = Field(None, description="The way from outside to Airflow's UI; default: none.")
    cloud_metadata: Literal["blocked", "gke", "eks-pod"] = Field(
        "blocked", description="Whether workers may reach the cloud's metadata address, which some identities need."
    )
    patches: tuple[Patch, ...] = Field(
        (), description="Strategic-merge patches on any rendered object, for what has no key of its own."
    )

    @property
    def image_of_sync(self) -> str:
        """The image that sync runs in."""
        if self.sync_image is not None:
            return self.sync_image
        name, colon, tag = self.image.rpartition(":")
        if "@" in self.image or not colon or "/" in tag:
            return self.image  # a digest, or no tag: whoever names an image so, names both, or one with git
        return f"{name}:{tag}-sync"


class Quota(Part):
    """What all pods of a team may use together; tasks wait when it is full."""

    cpu: Quantity | None = Field(None, description="Sum of the CPU requests, for example 20.")
    memory: Quantity | None = Field(None, description="Sum of the memory requests, for example 64Gi.")
    pods: int | None = Field(None, ge=1, description="Number of pods, standby pods included.")


class Volume(Part):
    """A volume of the team's workers."""

    name: DnsLabel = Field(description="Its name. Must be given.")
    mount: str = Field(pattern=r"^/[^:]*$", description="Where it appears in the container. Must be given.")
    read_only: bool = Field(False, description="Whether tasks can only read it.")
    source: KubernetesObject = Field(
        description="The volume as in Kubernetes: {persistentVolumeClaim: {claimName: data}}. Must be given."
    )


class SnapshotVolume(Part):
    """Where a worker unpacks its snapshot."""

    medium: Literal["memory", "disk"] = Field("memory", description="Memory is faster and counts as the pod's memory.")
    size: Size = Field(written("256Mi"), description="Largest size of the unpacked files.")


class Worker(Part):
    """The pods that run a team's tasks."""

    resources: Resources | None = Field(None, description="Resources of the task's container; default: measured ones.")
    service_account: DnsName | None = Field(None, description="Service account of the pods; default: a bare one.")
    service_account_annotations: dict[LabelKey, Setting] = Field(
        {}, description="Annotations of that service account (identities of clouds)."
    )
    node_selector: dict[LabelKey, Setting] = Field({}, description="Labels that the nodes must have.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints that the pods bear.")
    annotations: dict[LabelKey, Setting] = Field({}, description="Annotations of the pods.")
    env: dict[EnvName, EnvValue] = Field(
        {}, description="Environment variables: text, or {secret: NAME, key: KEY} of the team's namespace."
    )
    volumes: tuple[Volume, ...] = Field((), description="Volumes of the pods.")
    delete_pods: Literal["always", "on-success", "never"] = Field(
        "always",
        description=(
            "Which finished pods are deleted. on-success keeps those that could not start or were killed; "
            "a task that fails ends its pod well, and its log is in the store."
        ),
    )
    standby: int = Field(0, ge=0, le=100, description="Pods that are started in advance and wait for a task.")
    tasks_per_pod: int = Field(1, ge=1, le=1000, description="Tasks that share one standby pod, one after the other.")
    snapshots: SnapshotVolume = Field(
        default_factory=SnapshotVolume, description="Where the snapshot of a task is unpacked."
    )
