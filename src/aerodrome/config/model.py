"""``aerodrome.yaml`` as one typed model. Its fields are the reference: each has its default and its description.

Durations are seconds (float) and sizes bytes (int) after validation; secrets are places. What belongs together across
keys is checked in :mod:`aerodrome.config.rules`, so use :func:`aerodrome.config.load` for a user's file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic import ValidationInfo as Info

from aerodrome.config.kubernetes import Image, Kubernetes, Part, Quota, Worker
from aerodrome.config.repo_url import RepoUrl
from aerodrome.config.values import (
    ClassPath,
    DnsLabel,
    DnsName,
    Duration,
    DurationOrNever,
    Folder,
    Quantity,
    Ref,
    Secret,
    Setting,
    Size,
    StoreOption,
    relative_folder,
    written,
)
from aerodrome.errors import AerodromeError
from aerodrome.names import TEAM, airflow_team, nearest
from aerodrome.secrets import SecretPlace


def _repo(value: object, info: Info) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text: https://..., ssh://..., git@host:path, file:///... or a path")
    return RepoUrl.parse(value, (info.context or {}).get("folder")).url


def _team_name(value: object) -> str:
    if not isinstance(value, str) or not TEAM.fullmatch(value) or value.endswith("-") or "--" in value:
        raise ValueError(
            "must be 3 to 40 lower-case letters, digits and single -, beginning with a letter, not ending with -"
        )
    return value


def _imports(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of folders, for example [., dags]")
    return tuple(dict.fromkeys(relative_folder(folder or ".") for folder in value))


def _setting_text(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict | list) else value


Repo = Annotated[str, PlainValidator(_repo), WithJsonSchema({"type": "string", "minLength": 1})]
TeamName = Annotated[
    str, PlainValidator(_team_name), WithJsonSchema({"type": "string", "pattern": "^[a-z][a-z0-9-]{2,39}$"})
]
Folders = Annotated[
    tuple[str, ...],
    PlainValidator(_imports),
    PlainSerializer(lambda folders: folders and [folder or "." for folder in folders], when_used="json"),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]
AirflowSetting = Annotated[
    Setting,
    BeforeValidator(_setting_text),
    WithJsonSchema({"type": ["string", "number", "boolean", "object", "array"]}),
]
SettingName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]*$")]


class EmbeddedDatabase(Part):
    """PostgreSQL that Aerodrome runs itself."""

    storage: Quantity = Field("10Gi", description="Size of its volume (Kubernetes).")
    storage_class: DnsName | None = Field(None, description="Class of its volume (Kubernetes); default: the cluster's.")


class Database(Part):
    """Airflow's database; one of the two."""

    url: Secret | None = Field(
        None,
        description="Place of the URL of a PostgreSQL that you run: postgresql://USER:PASSWORD@HOST/NAME, with "
        "parameters of libpq as in ?sslmode=verify-full&sslrootcert=FILE where needed.",
    )
    embedded: EmbeddedDatabase = Field(
        default_factory=EmbeddedDatabase, description="PostgreSQL that Aerodrome runs itself (default)."
    )


class Webhook(Part):
    """What tells sync of a push."""

    secret: Secret = Field(description="Place of the secret shared with the forge. Must be given.")


class Limits(Part):
    """A snapshot beyond these is refused."""

    files: int = Field(50_000, ge=1, description="Number of files.")
    file: Size = Field(written("100Mi"), description="Size of the largest file.")
    snapshot: Size = Field(written("1Gi"), description="Size of all files together.")
    fetch: Duration = Field(written("5m"), description="Time of one fetch.")


class Sync(Part):
    """How repositories are watched; defaults for all teams."""

    poll: Duration = Field(written("10s"), description="How often each repository is asked for news; at least 1s.")
    fetches: int = Field(4, ge=1, le=64, description="Fetches that run at once.")
    webhook: Webhook | None = Field(None, description="Webhook of the forges; default: polling alone.")
    limits: Limits = Field(default_factory=Limits, description="Limits of a snapshot.")


class Logs(Part):
    """The logs of tasks."""

    segment: Duration = Field(
        written("1s"), description="How often a running task's log reaches the store: what a kill can lose."
    )


class User(Part):
    """A user of Airflow's simple auth manager."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$", description="Login name. Must be given.")
    role: Literal["viewer", "user", "op", "admin"] = Field(
        "user", description="viewer reads; user works with DAGs; op also with connections and pools; admin does all."
    )
    teams: tuple[str, ...] | None = Field(None, description="Teams that the user sees; default: all.")


class SimpleAuth(Part):
    """Airflow's simple auth manager; passwords are generated."""

    users: tuple[User, ...] = Field(
        written([{"name": "admin", "role": "admin"}]), min_length=1, description="Who may log in."
    )


class Auth(Part):
    """Who may use the UI; one of the two."""

    simple: SimpleAuth = Field(
        default_factory=SimpleAuth, description="Users in this file, passwords generated (default)."
    )
    manager: ClassPath | None = Field(
        None, description="Class path of another auth manager; its settings go into airflow."
    )


class Token(Part):
    """A token for HTTPS."""

    token: Secret = Field(description="Place of the token. Must be given.")
    username: str = Field(
        "x-access-token", pattern=r"^[^:\s]+$", description="User name that the forge expects with it."
    )


class SshKey(Part):
    """A key for SSH."""

    ssh_key: Secret = Field(description="Place of the private key. Must be given.")
    known_hosts: Secret = Field(description="Place of the host's public keys (ssh-keyscan HOST). Must be given.")


class GithubAppKey(Part):
    """An installation of a GitHub App."""

    app_id: int = Field(ge=1, description="Id of the app. Must be given.")
    installation_id: int = Field(ge=1, description="Id of its installation. Must be given.")
    private_key: Secret = Field(description="Place of its private key. Must be given.")
    api: str | None = Field(
        None, pattern=r"^https://", description="API of a GitHub Enterprise server; default: by the host of the repo."
    )


class GithubApp(Part):
    """A GitHub App for HTTPS."""

    github_app: GithubAppKey = Field(description="The app. Must be given.")


def _kind_of_credentials(value: object) -> str | None:
    keys = value if isinstance(value, dict) else type(value).model_fields if isinstance(value, BaseModel) else ()
    found = [kind for kind in ("token", "ssh_key", "github_app") if kind in keys]
    if not found and "known_hosts" in keys:
        return "<ssh_key>"
    if not found and "username" in keys:
        return "<token>"
    return f"<{found[0]}>" if len(found) == 1 else None


Credentials = Annotated[
    Annotated[Token, Tag("<token>")] | Annotated[SshKey, Tag("<ssh_key>")] | Annotated[GithubApp, Tag("<github_app>")],
    Discriminator(
        _kind_of_credentials,
        custom_error_type="credentials",
        custom_error_message="must be one of: {token: ...}, {ssh_key: ..., known_hosts: ...}, {github_app: {...}}",
    ),
]


class Gate(Part):
    """What a commit must satisfy to go live."""

    timeout: Duration = Field(written("60s"), description="Time to import one DAG file, in the gate and in Airflow.")
    memory: Size = Field(written("1Gi"), description="Memory of the process that imports one DAG file.")
    dag_id_prefix: str = Field("", pattern=r"^[A-Za-z0-9._-]*$", description="Every dag_id must begin with it.")
    require: tuple[Literal["owner", "tags", "description", "doc"], ...] = Field(
        (), description="What every DAG must have: owner (not Airflow's default), tags, description, doc."
    )
    allow: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")], ...] = Field(
        (), description="Kinds of findings that only warn."
    )


class ForgeStatus(Part):
    """Commit status at a forge."""

    token: Secret = Field(description="Place of a token that may write commit statuses. Must be given.")
    api: str | None = Field(
        None, pattern=r"^https?://", description="URL of its API; default: by the host of the repo."
    )


class ReportWebhook(Part):
    """Verdicts to an address of your own."""

    url: str = Field(pattern=r"^https?://", description="Where verdicts are posted to, as JSON. Must be given.")
    token: Secret | None = Field(None, description="Place of a bearer token for it.")


class Report(Part):
    """Where verdicts are reported to."""

    github: ForgeStatus | None = Field(None, description="Commit status at GitHub.")
    gitlab: ForgeStatus | None = Field(None, description="Commit status at GitLab.")
    gitea: ForgeStatus | None = Field(None, description="Commit status at Gitea or Forgejo.")
    webhook: ReportWebhook | None = Field(None, description="JSON to an address of your own.")


class SecretName(Part):
    """A whole Kubernetes Secret."""

    secret: DnsName = Field(description="Its name. Must be given.")


class Team(Part):
    """A team: one repository, one bundle, one namespace."""

    name: TeamName = Field(description="Name of the team; Airflow's is the same with _ for -. Must be given.")
    repo: Repo = Field(
        description="https://, ssh://, git@host:path, file:/// or a path (relative to this file). Must be given."
    )
    ref: Ref | None = Field(None, description="Branch, tag or full commit; default: the remote's HEAD.")
    forge: Literal["github", "gitlab", "gitea", "bitbucket"] | None = Field(
        None, description="Kind of the forge, for links to commits; default: by its host's name."
    )
    dags: Folder = Field(".", description="Folder that is scanned for DAG files; default: the repository's root.")
    imports: Folders = Field(
        (), description="Folders on sys.path wherever team code runs; default: the root and the DAG folder."
    )
    paths: Folders | None = Field(None, description="Only these are in the snapshot; default: everything.")
    poll: Duration = Field(written("10s"), description="How often it is asked for news; default: sync.poll.")
    submodules: bool = Field(False, description="Whether submodules are fetched too.")
    limits: Limits = Field(default_factory=Limits, description="Limits of a snapshot; default: sync.limits.")
    reparse: DurationOrNever = Field(
        written("never"),
        description="How often DAG files are parsed without a new commit: for DAGs that depend on other things.",
    )
    credentials: Credentials | None = Field(None, description="How sync logs in to the forge; default: not at all.")
    ca: Secret | None = Field(None, description="Place of the certificate authority of the forge (PEM); HTTPS only.")
    gate: Gate = Field(default_factory=Gate, description="What a commit must satisfy to go live.")
    triggerer: bool = Field(True, description="Whether a triggerer runs; false saves its memory where no DAG defers.")
    report: Report = Field(default_factory=Report, description="Where verdicts are reported to; default: nowhere.")
    connections_from: SecretName | None = Field(
        None, description="Kubernetes Secret with AIRFLOW_CONN__ID and AIRFLOW_VAR__KEY of this team only."
    )
    image: Image | None = Field(None, description="Image of the team (Kubernetes); default: kubernetes.image.")
    namespace: DnsLabel = Field(
        "default", description="Namespace of the team (Kubernetes); default: NAME-TEAM, NAME being the installation's."
    )
    quota: Quota = Field(default_factory=Quota, description="What the team's pods may use together (Kubernetes).")
    worker: Worker = Field(default_factory=Worker, description="The pods that run the team's tasks (Kubernetes).")

    @property
    def airflow_name(self) -> str:
        """Airflow's name of the team."""
        return airflow_team(self.name)

    @property
    def repo_url(self) -> RepoUrl:
        """The repository's URL in its parts."""
        return RepoUrl.parse(self.repo)

    @model_validator(mode="after")
    def _default_imports(self) -> Self:
        if "imports" not in self.model_fields_set:
            object.__setattr__(self, "imports", tuple(dict.fromkeys(("", self.dags))))
        return self


class Config(Part):
    """The whole of ``aerodrome.yaml``."""

    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$")] = Field(
        "airflow", description="The installation: prefix of objects and platform namespace in Kubernetes."
    )
    store: str | None = Field(
        None, description="Object store: s3://, gs://, az:// or file:///; default: a folder in the state folder."
    )
    store_options: dict[str, StoreOption] = Field(
        {}, description="Options of obstore for that store, for example {region: eu-west-1}; secrets as places."
    )
    database: Database = Field(default_factory=Database, description="Airflow's database; default: embedded.")
    sync: Sync = Field(default_factory=Sync, description="How repositories are watched; defaults for all teams.")
    logs: Logs = Field(default_factory=Logs, description="The logs of tasks.")
    auth: Auth = Field(default_factory=Auth, description="Who may use the UI; default: one admin.")
    airflow: dict[SettingName, dict[SettingName, AirflowSetting]] = Field(
        {}, description="Airflow's own settings by section; they reach every component and every worker."
    )
    kubernetes: Kubernetes = Field(default_factory=Kubernetes, description="How the platform runs on Kubernetes.")
    teams: tuple[Team, ...] = Field((), description="The teams.")

    @model_validator(mode="after")
    def _defaults_of_teams(self) -> Self:
        teams = []
        for team in self.teams:
            own = team.model_fields_set
            defaults = {
                "poll": self.sync.poll,
                "limits": self.sync.limits,
                "namespace": f"{self.name}-{team.name}",
            }
            # The set of keys that the file gave stays what it was.
            copy = team.model_copy(update={key: value for key, value in defaults.items() if key not in own})
            copy.__pydantic_fields_set__.intersection_update(own)
            teams.append(copy)
        object.__setattr__(self, "teams", tuple(teams))
        return self

    def team(self, name: str) -> Team:
        """The team called `name`.

        Raises:
            AerodromeError: there is none.
        """
        for team in self.teams:
            if team.name == name:
                return team
        names = [team.name for team in self.teams]
        guess = nearest(name, names)
        raise AerodromeError(
            f"there is no team {name!r}",
            f"Did you mean {guess!r}?" if guess else f"The teams are: {', '.join(names) or 'none yet'}.",
        )

    def places(self) -> Iterator[tuple[str, SecretPlace]]:
        """Every place of a secret with the dotted path of its key; teams by their name: ``teams.payments.ca``."""
        yield from _places("", self)


def _places(where: str, value: Any) -> Iterator[tuple[str, SecretPlace]]:
    if isinstance(value, SecretPlace):
        yield where, value
        return
    items: list[tuple[str, Any]] = []
    if isinstance(value, BaseModel):
        items = [(field, getattr(value, field)) for field in type(value).model_fields]
    elif isinstance(value, dict):
        items = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, tuple | list):
        items = [(getattr(part, "name", str(index)), part) for index, part in enumerate(value)]
    for key, part in items:
        yield from _places(f"{where}.{key}" if where else key, part)
