"""All objects of an installation: a pure function of the configuration, in the order in which they are applied."""

from __future__ import annotations

from aerodrome.config import Config
from aerodrome.kubernetes.objects import components, database, deployments, documents, jobs, namespaces, network, rbac
from aerodrome.kubernetes.objects import worker as workers
from aerodrome.kubernetes.objects.patches import patched
from aerodrome.kubernetes.objects.plan import Object, Plan
from aerodrome.kubernetes.objects.settings import API_PORT

__all__ = ["Object", "Plan", "objects"]


def objects(config: Config) -> list[Object]:
    """The objects of `config`, the user's patches included, in the order in which they are applied.

    What others stand on comes first: namespaces, accounts, policies, the database, the Job that prepares it, then the
    configuration of what runs, and what runs. Generated Secrets (:mod:`aerodrome.kubernetes.generated`) are not among
    them.

    Raises:
        AerodromeError: a patch fits no object.
    """
    plan = Plan(config)
    found = [
        namespaces.namespace(plan),
        *(namespaces.namespace(plan, team) for team in config.teams),
        *namespaces.priority_classes(plan),
        *_team_rules(plan),
        *_accounts(plan),
        *_network(plan),
        *database.objects(plan),
        jobs.prepare(plan),
        *_configuration(plan),
        *_running(plan),
    ]
    return patched(found, config.kubernetes.patches)


def _team_rules(plan: Plan) -> list[Object]:
    compact = plan.config.kubernetes.topology == "compact"
    found = []
    for team in plan.config.teams:
        found += [namespaces.quota(plan, team), namespaces.limit_range(plan, team)]
        found += rbac.team_accounts(plan, team)
        found += rbac.roles(
            plan,
            team,
            scheduler=plan.name("platform" if compact else "scheduler"),
            triggerer=(plan.name("triggerer", team) if compact else plan.name("processor", team))
            if team.triggerer
            else None,
        )
        found.append(network.team_policy(plan, team))
    return found


def _accounts(plan: Plan) -> list[Object]:
    teams = plan.config.teams
    found = [rbac.default_account(plan), rbac.platform_account(plan, "jobs"), rbac.platform_account(plan, "sync")]
    if plan.config.database.url is None:
        found.append(rbac.platform_account(plan, "database"))
    if plan.config.kubernetes.topology == "compact":
        found.append(rbac.platform_account(plan, "platform"))
        found += [rbac.platform_account(plan, "triggerer", team) for team in teams if team.triggerer]
    else:
        found += [rbac.platform_account(plan, component) for component in ("api-server", "task-api", "scheduler")]
        found += [rbac.platform_account(plan, "processor", team) for team in teams]
    return found


def _network(plan: Plan) -> list[Object]:
    compact = plan.config.kubernetes.topology == "compact"
    ui = plan.selector("platform" if compact else "api-server")
    task_api = plan.selector("platform" if compact else "task-api")
    found = [
        *network.platform_policies(plan, ui=ui, task_api=task_api),
        network.service(plan, "api-server", ui, API_PORT),
        network.service(plan, "task-api", task_api, API_PORT),
    ]
    for index, team in enumerate(plan.config.teams):
        selector = plan.selector("platform") if compact else plan.selector("processor", team)
        target = components.POKE_PORT + (index if compact else 0)
        found.append(
            network.service(
                plan,
                "processor",
                selector,
                components.POKE_PORT,
                target=target,
                team=team,
                name="poke",
                protocol="UDP",
            )
        )
    return [*found, *network.ingress(plan)]


def _configuration(plan: Plan) -> list[Object]:
    return [
        documents.config_map(plan, "sync", documents.for_sync(plan)),
        *(documents.config_map(plan, "team", documents.for_team(plan, team), team) for team in plan.config.teams),
        workers.config_map(plan),
    ]


def _running(plan: Plan) -> list[Object]:
    compact = plan.config.kubernetes.topology == "compact"
    running = deployments.compact(plan) if compact else deployments.split(plan)
    found = [*running, deployments.sync(plan)]
    names = ["platform"] if compact else ["api-server", "task-api", "scheduler"]
    return [*found, *(deployments.disruption_budget(plan, name) for name in [*names, "sync"])]
