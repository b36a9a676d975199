"""Secrets of the cluster on this machine, for one look: never written down, never shown."""

from __future__ import annotations

import base64

from aerodrome.config import Config, SecretPlace
from aerodrome.errors import AerodromeError
from aerodrome.kubernetes.cluster import Cluster, Ref
from aerodrome.store import Store


def value(cluster: Cluster, namespace: str, place: SecretPlace) -> str:
    """What stands in `place`, a Secret of `namespace`.

    Raises:
        AerodromeError: there is no such Secret or key.
    """
    assert place.secret is not None and place.key is not None
    there = cluster.get(Ref("Secret", place.secret, namespace))
    data = (there or {}).get("data", {}).get(place.key)
    if not data:
        raise AerodromeError(f"there is no {place.describe()} in {namespace}", "Make it.")
    return base64.b64decode(data).decode().rstrip("\r\n")


def open_store(cluster: Cluster, config: Config, namespace: str | None = None) -> Store:
    """The store with the keys of the cluster's Secrets: the platform's, or those of a team's namespace."""
    options = {
        name: value(cluster, namespace or config.name, option) if isinstance(option, SecretPlace) else option
        for name, option in config.store_options.items()
    }
    assert config.store is not None
    return Store(config.store, options)
