"""Objects as files: one YAML document a file, stable names, byte-identical for the same configuration."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from aerodrome.config import Config
from aerodrome.errors import AerodromeError
from aerodrome.kubernetes import iam
from aerodrome.kubernetes.checks import refuse
from aerodrome.kubernetes.objects import Object, objects

_CLUSTER = "00-cluster"
_MARK = "# Rendered by aerodrome from "
_SHORT = {
    "Namespace": "namespace",
    "PriorityClass": "priority",
    "NetworkPolicy": "network",
    "PodDisruptionBudget": "disruption",
    "PersistentVolumeClaim": "claim",
    "ServiceAccount": "account",
    "RoleBinding": "binding",
    "ResourceQuota": "quota",
    "LimitRange": "limits",
    "ConfigMap": "config",
}


def render(config: Config, source: str) -> dict[str, str]:
    """The files of `config`: path below the output folder to text.

    Args:
        source: name of the configuration, for the first line of each file.

    Raises:
        AerodromeError: the configuration can not run on Kubernetes; each reason.
    """
    refuse(config)
    files: dict[str, str] = {}
    for entry in objects(config):
        files[_path(entry)] = f"{_MARK}{source}; change that, and render again.\n{document(entry)}"
    for name, policy in iam.policies(config).items():
        # no .json: whoever applies the whole folder must not take it for an object
        files[f"iam/{name}.policy"] = json.dumps(policy, indent=2) + "\n"
    return files


def document(entry: Object) -> str:
    """One object as YAML."""
    return yaml.dump(entry, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=120, allow_unicode=True)


def write(files: dict[str, str], folder: Path) -> list[Path]:
    """Make `folder` hold `files`; what an earlier render wrote and is no more is removed, other files stay.

    Returns:
        The files that changed.

    Raises:
        AerodromeError: the folder can not be written.
    """
    changed = []
    try:
        for old in _rendered(folder):
            if str(old.relative_to(folder)) not in files:
                old.unlink()
                changed.append(old)
                with contextlib.suppress(OSError):
                    old.parent.rmdir()
        for name, text in files.items():
            path = folder / name
            if path.is_file() and path.read_text() == text:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            changed.append(path)
    except OSError as error:
        raise AerodromeError(
            f"{error.filename or folder} can not be written: {error.strerror}", "Name another folder: -o DIR."
        ) from None
    return sorted(changed)


def stream(files: Iterable[str]) -> str:
    """All documents as one text, for ``kubectl apply -f -``."""
    return "---\n".join(files)


def _path(entry: Object) -> str:
    metadata = entry["metadata"]
    # files are applied by name: what namespaces are in comes after them
    folder = metadata.get("namespace") or _CLUSTER
    name = metadata["name"]
    if entry["kind"] == "Job":
        # its name changes with what it does, its file does not
        name = name.rpartition("-")[0]
    kind = _SHORT.get(entry["kind"], entry["kind"].lower())
    return f"{folder}/{kind}-{name}.yaml"


def _rendered(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*/*.yaml")):
        with path.open() as file:
            if file.readline().startswith(_MARK):
                yield path
    if (folder / "iam").is_dir():
        yield from sorted((folder / "iam").glob("*.policy"))


class _Dumper(yaml.SafeDumper):
    """Several lines as a block, as people write them; the same object twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
