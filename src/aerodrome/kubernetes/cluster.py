"""The door to the cluster: few requests, plain dicts, every failure in words.

Of the ``kubernetes`` package only kubeconfig, logins and transport are used. Server-side apply is the API server's own:
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aerodrome.errors import AerodromeError, Temporary
from aerodrome.kubernetes.objects import Object

MANAGER = "aerodrome"
"""Field manager of everything that is applied."""

_TIMEOUT = (10, 60)
_PAGE = 500

# plural, whether it lies in a namespace
KINDS: dict[str, tuple[str, str, bool]] = {
    "ConfigMap": ("v1", "configmaps", True),
    "CronJob": ("batch/v1", "cronjobs", True),
    "Deployment": ("apps/v1", "deployments", True),
    "Event": ("v1", "events", True),
    "Ingress": ("networking.k8s.io/v1", "ingresses", True),
    "Job": ("batch/v1", "jobs", True),
    "LimitRange": ("v1", "limitranges", True),
    "Namespace": ("v1", "namespaces", False),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies", True),
    "Node": ("v1", "nodes", False),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims", True),
    "Pod": ("v1", "pods", True),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets", True),
    "PriorityClass": ("scheduling.k8s.io/v1", "priorityclasses", False),
    "ResourceQuota": ("v1", "resourcequotas", True),
    "Role": ("rbac.authorization.k8s.io/v1", "roles", True),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings", True),
    "Secret": ("v1", "secrets", True),
    "SelfSubjectAccessReview": ("authorization.k8s.io/v1", "selfsubjectaccessreviews", False),
    "Service": ("v1", "services", True),
    "ServiceAccount": ("v1", "serviceaccounts", True),
    "StatefulSet": ("apps/v1", "statefulsets", True),
    "StorageClass": ("storage.k8s.io/v1", "storageclasses", False),
}


class Refused(AerodromeError):
    """The API server said no. ``reason`` is its own word: Forbidden, Invalid, Conflict, ..."""

    def __init__(self, what: str, remedy: str, *, status: int, reason: str) -> None:
        super().__init__(what, remedy)
        self.status = status
        self.reason = reason


class Unreachable(Temporary):
    """The API server did not answer."""


@dataclass(frozen=True)
class Ref:
    """Which object: what its path is made of."""

    kind: str
    name: str
    namespace: str | None = None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Ref:
        """The reference of an object."""
        return cls(entry["kind"], entry["metadata"]["name"], entry["metadata"].get("namespace"))

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.name}"


class Cluster:
    """A connection to one cluster, as the user of the kubeconfig.

    Args:
        context: of the kubeconfig; default: its current one, or the pod's own service account inside a cluster.

    Raises:
        AerodromeError: there is no cluster to talk to.
    """

    def __init__(self, context: str | None = None) -> None:
        try:
            import kubernetes.client
            import kubernetes.config
            import kubernetes.config.config_exception
            import urllib3.exceptions
        except ImportError:
            raise AerodromeError(
                "the Kubernetes client is not installed", "Install it: pip install 'aerodrome[deploy]'."
            ) from None
        # retries of single connections are no news: what fails in the end is said
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        configuration = kubernetes.client.Configuration()
        configuration.retries = 3
        try:
            if context is None and "KUBERNETES_SERVICE_HOST" in os.environ and not os.environ.get("KUBECONFIG"):
                kubernetes.config.load_incluster_config(configuration)
            else:
                kubernetes.config.load_kube_config(context=context, client_configuration=configuration)
        except (kubernetes.config.config_exception.ConfigException, OSError) as error:
            raise AerodromeError(
                f"there is no cluster to talk to: {_line(str(error))}", "Set KUBECONFIG, or name one with --context."
            ) from None
        self._client = kubernetes.client.ApiClient(configuration)
        self._api_error: type[Exception] = kubernetes.client.ApiException
        self._transport_error: type[Exception] = urllib3.exceptions.HTTPError
        self.server = str(configuration.host)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, ref: Ref) -> Object | None:
        """The object, or None when there is none.

        Raises:
            Refused, Unreachable
        """
        try:
            found: Object = self._json("GET", self._path(ref.kind, ref.namespace, ref.name), f"read {ref}")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        return found

    def list(self, kind: str, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> list[Object]:
        """All objects of `kind`, in `namespace` or anywhere, that have `labels`."""
        return list(self._items(kind, namespace, labels or {}))

    def _items(self, kind: str, namespace: str | None, labels: Mapping[str, str]) -> Iterator[Object]:
        where = f" in {namespace}" if namespace else ""
        query: dict[str, Any] = {"limit": _PAGE}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" if value else key for key, value in labels.items())
        while True:
            page = self._json("GET", self._path(kind, namespace), f"list {kind} objects{where}", query=query)
            for item in page["items"]:
                yield {"kind": kind, "apiVersion": KINDS[kind][0], **item}
            if not page["metadata"].get("continue"):
                return
            query["continue"] = page["metadata"]["continue"]

    def apply(self, entry: Object, *, dry_run: bool = False) -> Object:
        """Server-side apply; fields that others changed become ours again. Returns the object as it is now."""
        ref = Ref.of(entry)
        query = {"fieldManager": MANAGER, "force": "true", **({"dryRun": "All"} if dry_run else {})}
        now: Object = self._json(
            "PATCH",
            self._path(ref.kind, ref.namespace, ref.name),
            f"apply {ref}",
            query=query,
            body=entry,
            content="application/apply-patch+yaml",
        )
        return now

    def annotate(self, ref: Ref, annotations: Mapping[str, str | None]) -> None:
        """Set annotations; None removes one."""
        self._json(
            "PATCH",
            self._path(ref.kind, ref.namespace, ref.name),
            f"annotate {ref}",
            query={"fieldManager": MANAGER},
            body={"metadata": {"annotations": dict(annotations)}},
            content="application/merge-patch+json",
        )

    def delete(self, ref: Ref, *, wait_for_dependents: bool = False) -> bool:
        """Delete the object; what it owns goes after it, or with `wait_for_dependents` before it.

        Returns:
            False when there was none.
        """
        policy: Literal["Foreground", "Background"] = "Foreground" if wait_for_dependents else "Background"
        try:
            self._json(
                "DELETE",
                self._path(ref.kind, ref.namespace, ref.name),
                f"delete {ref}",
                body={"propagationPolicy": policy},
            )
        except Refused as refused:
            if refused.status == 404:
                return False
            raise
        return True

    def may(self, verb: str, kind: str, namespace: str | None, subresource: str = "") -> bool:
        """Whether this user may do `verb` to objects of `kind`."""
        api_version, plural, _ = KINDS[kind]
        group = api_version.rpartition("/")[0]
        attributes = {"verb": verb, "group": group, "resource": plural, "namespace": namespace or ""}
        if subresource:
            attributes["subresource"] = subresource
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = self._json("POST", self._path("SelfSubjectAccessReview", None), "ask for rights", body=review)
        return bool(answer["status"]["allowed"])

    def log(self, namespace: str, pod: str, container: str, *, lines: int = 50, previous: bool = False) -> str:
        """The last lines that a container said."""
        query = {"container": container, "tailLines": lines, **({"previous": "true"} if previous else {})}
        path = f"{self._path('Pod', namespace, pod)}/log"
        return self._send("GET", path, f"read the log of {pod}", query=query).decode(errors="replace")

    def run(self, namespace: str, pod: str, container: str, argv: Sequence[str]) -> str:
        """What a program prints that is run in a container.

        Raises:
            Refused: this user may not do that.
        """
        import kubernetes.client
        import kubernetes.stream

        try:
            # the client's own way: a websocket on a connection of its own
            said = kubernetes.stream.stream(
                kubernetes.client.CoreV1Api(
                    kubernetes.client.ApiClient(self._client.configuration)
                ).connect_get_namespaced_pod_exec,
                pod,
                namespace,
                container=container,
                command=list(argv),
                stderr=False,
                stdout=True,
                _preload_content=False,
                _request_timeout=_TIMEOUT[1],
            )
            said.run_forever(timeout=_TIMEOUT[1])
            return str(said.read_stdout() if said.peek_stdout() else "")
        except self._api_error as error:
            raise self._refusal(error, f"run a program in {pod}") from None

    def version(self) -> tuple[int, int]:
        """Major and minor version of the API server."""
        found = self._json("GET", "/version", "ask for the version")
        return int(found["major"]), int("".join(sign for sign in found["minor"] if sign.isdigit()))

    @staticmethod
    def _path(kind: str, namespace: str | None, name: str | None = None) -> str:
        api_version, plural, namespaced = KINDS[kind]
        parts = ["/api" if "/" not in api_version else "/apis", api_version]
        if namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(plural)
        if name:
            parts.append(name)
        return "/".join(parts)

    def _json(self, method: str, path: str, doing: str, **request: Any) -> Any:
        return json.loads(self._send(method, path, doing, **request))

    def _send(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: object = None,
        content: str = "application/json",
    ) -> bytes:
        try:
            response = self._client.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params={"Content-Type": content, "Accept": "application/json, */*"},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=_TIMEOUT,
            )
            data: bytes = response.data
            return data
        except self._api_error as error:
            raise self._refusal(error, doing) from None
        except (self._transport_error, OSError) as error:
            raise Unreachable(
                f"the cluster at {self.server} does not answer: {_line(str(error))}",
                "Look at the kubeconfig's server and at the network, and try again.",
            ) from None

    def _refusal(self, error: Any, doing: str) -> AerodromeError:
        status = int(error.status or 0)
        try:
            answer = json.loads(error.body or "{}")
        except (ValueError, TypeError):
            answer = {}
        reason = str(answer.get("reason") or error.reason or status)
        message = _line(str(answer.get("message") or error.reason or ""))
        if status == 0:
            return Unreachable(
                f"the cluster at {self.server} does not answer: {message}", "Look at its certificate and address."
            )
        if status == 401:
            return Refused(
                "the cluster does not know who you are", "Log in again.", status=status, reason="Unauthorized"
            )
        remedy = _REMEDIES.get(reason, "Look at what the cluster said.")
        return Refused(f"could not {doing}: {message}", remedy, status=status, reason=reason)


_REMEDIES = {
    "Forbidden": "Ask the cluster's owner for that right; 'aerodrome doctor' lists all that are missing.",
    "Invalid": "A value of aerodrome.yaml (or of kubernetes.patches) is not what Kubernetes takes there.",
    "NotFound": "It does not exist.",
    "Conflict": "Somebody else changes it at the same time: try again.",
    "AlreadyExists": "It exists already.",
}


def _line(text: str) -> str:
    return " ".join(text.split())
