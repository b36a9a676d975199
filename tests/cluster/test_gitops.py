"""Rendered manifests that another tool applies, as the guide of GitOps has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from platform_kit import Platform, files


@pytest.fixture(scope="module")
def platform(platform_of: Callable[[str, str], Platform]) -> Platform:
    """One team."""
    platform = platform_of("air-gitops", "compact")
    platform.team("alpha").commit(files("alpha"))
    platform.write()
    return platform


def _sync(platform: Platform) -> Path:
    """What the tool does at each commit: all files, in the order of their names, with their owner's word for it."""
    manifests = platform.folder / "manifests"
    platform.run("render", "-o", str(manifests))
    platform.cluster.kubectl("apply", "--server-side", "--field-manager=argocd", "-R", "-f", str(manifests))
    return manifests


def test_kubectl_alone_brings_up_what_was_rendered(platform: Platform) -> None:
    assert "made 5 Secrets" in platform.run("apply", "--secrets-only")
    assert "are there" in platform.run("apply", "--secrets-only")
    platform.volume()
    _sync(platform)
    platform.secrets()  # pods wait for them
    platform.until(platform.answers, "the UI's API answers", 240)
    platform.until(lambda: platform.api.dag("alpha_main"), "the team is live")
    platform.succeeds("alpha_main")
    assert "nothing to change" in platform.run("apply", "--dry-run")


def test_a_team_comes_with_a_commit(platform: Platform) -> None:
    platform.team("beta", ssh=True).commit(files("beta"))
    platform.write()
    _sync(platform)
    platform.secrets()
    platform.until(lambda: platform.answers() and platform.api.dag("beta_main"), "the new team is live", 240)
    for team in ("alpha", "beta"):
        platform.succeeds(f"{team}_main")
