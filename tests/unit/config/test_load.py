from __future__ import annotations

from pathlib import Path

import pytest

from aerodrome.config import Config, GithubApp, SecretPlace, SshKey, Token, load, parse
from aerodrome.errors import AerodromeError, ConfigError, UsageError

WHOLE = Path(__file__).with_name("whole.yaml")


def mistakes(text: str) -> list[tuple[int, str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [(m.line, m.where, m.what, m.remedy) for m in caught.value.mistakes]


def of_team(yaml: str, repo: str = "https://git.example.com/x.git") -> str:
    return f"teams:\n  - name: payments\n    repo: {repo}\n    {yaml}\n"


def the_mistake(text: str) -> str:
    found = mistakes(text)
    assert len(found) == 1, found
    _, where, what, remedy = found[0]
    return f"{where}: {what} ({remedy})"


def test_a_newcomers_five_mistakes_are_one_report(tmp_path: Path) -> None:
    path = tmp_path / "aerodrome.yaml"
    path.write_text(
        "stor: s3://bucket\n"  # 1
        "sync: {poll: 10}\n"  # 2
        "teams:\n"
        "  - name: Payments\n"  # 3
        "    repo: https://git.example.com/payments.git\n"
        "    credentials: {token: ghp_0123456789}\n"  # 4
        "    gate:\n"
        "      timout: 10s\n"  # 5
    )
    with pytest.raises(ConfigError) as caught:
        load(path)
    found = caught.value.mistakes
    assert [m.line for m in found] == [1, 2, 4, 6, 8]
    assert [m.where for m in found] == [
        "stor",
        "sync.poll",
        "teams[0].name",
        "teams[0].credentials.token",
        "teams[0].gate.timout",
    ]
    assert "did you mean 'store'?" in found[0].remedy
    assert "10s" in found[1].what
    assert "lower-case" in found[2].what
    assert "{env: NAME}" in found[3].what
    assert "did you mean 'timeout'?" in found[4].remedy
    assert "ghp_" not in str(caught.value), "what may be a secret is not repeated"
    assert caught.value.exit_code == 2


def test_the_whole_contract_is_read() -> None:
    config = load(WHOLE)
    team = config.team("payments")
    assert (config.name, config.store, config.sync.poll) == ("airflow", "s3://bucket/prefix", 10.0)
    assert config.store_options == {"region": "eu-west-1", "server_side_encryption": "aws:kms"}
    assert config.database.url == SecretPlace(secret="airflow-db", key="url")
    assert config.airflow == {"core": {"parallelism": "64"}}
    assert config.kubernetes.ingress and config.kubernetes.ingress.ingress_class == "nginx"
    assert team.dags == "dags" and team.imports == ("", "dags") and team.paths == ("dags", "lib", "sql")
    assert team.gate.timeout == 60.0 and team.gate.memory == 1 << 30 and team.reparse is None
    assert isinstance(team.credentials, Token) and team.credentials.token == SecretPlace(env="PAYMENTS_TOKEN")
    assert team.ca == SecretPlace(file=str(WHOLE.parent / "ca.pem"))
    assert team.quota.cpu == "20" and team.worker.delete_pods == "on-success"
    assert dict(config.places())["teams.payments.ca"] == team.ca


def test_defaults() -> None:
    config = parse("sync: {poll: 3s}\nteams:\n- {name: team-a, repo: r, dags: d/}\n- {name: team-b, repo: r, poll: 1m}")
    a, b = config.teams
    assert (config.name, config.store, config.logs.segment) == ("airflow", None, 1.0)
    assert a.airflow_name == "team_a" and a.namespace == "airflow-team-a"
    assert (a.poll, b.poll) == (3.0, 60.0)
    assert (a.dags, a.imports, b.dags, b.imports) == ("d", ("", "d"), "", ("",))
    assert (a.ref, a.paths, a.reparse, a.submodules, a.triggerer) == (None, None, None, False, True)
    assert a.gate.timeout == 60.0 and a.limits.fetch == 300.0
    assert a.worker.standby == 0 and a.worker.tasks_per_pod == 1 and a.worker.delete_pods == "always"
    assert [(user.name, user.role) for user in config.auth.simple.users] == [("admin", "admin")]


def test_an_empty_file_is_an_installation_without_teams() -> None:
    assert parse("") == parse("# nothing yet\n") == parse("{}") == Config()


def test_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse("").name = "other"  # type: ignore[misc]


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "aerodrome.yaml").write_text(
        "teams: [{name: aaa, repo: dags.git}, {name: bbb, repo: /srv/x.git}, {name: ccc, repo: 'git@h:x.git'}]"
    )
    config = load(tmp_path / "aerodrome.yaml")
    assert [team.repo for team in config.teams] == [str(tmp_path / "dags.git"), "/srv/x.git", "git@h:x.git"]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no configuration") as caught:
        load(tmp_path / "aerodrome.yaml")
    assert "aerodrome init" in caught.value.remedy
    with pytest.raises(UsageError, match="can not be read"):
        load(tmp_path)


def test_the_nearest_team() -> None:
    config = parse("teams: [{name: payments, repo: r}, {name: risk, repo: r}]")
    with pytest.raises(AerodromeError) as caught:
        config.team("paymets")
    assert caught.value.remedy == "Did you mean 'payments'?"
    with pytest.raises(AerodromeError, match="The teams are: payments, risk"):
        config.team("zzz")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1\nb: 2", 2, "not YAML"),
        ("teams:\n\t- x", 2, "spaces, not with tabs"),
        ("name: a: b", 1, "quotes"),
        ("name: one\nsync: {}\nname: two", 3, "stands twice, first in line 1"),
        ("sync:\n  poll: 1s\n  poll: 2s", 3, "sync.poll"),
        ("- a", 1, "must be a mapping"),
        ("text", 1, "must be a mapping"),
        ("name: !!python/object:os.system x", 1, "python/object"),
        ("? [a]\n: b", 1, "a key must be text"),
        ("sync: &a\n  limits: *a", 2, "must not hold itself"),
        ("a: 1\n---\nb: 2", 2, "not YAML"),
        ("name: \x00", 1, "not YAML"),
        (
            "\n".join(
                ["a0: &a0 [x, x, x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
            ),
            1,
            "too much",
        ),
        ("sync: *gone", 1, "undefined alias"),
    ],
)
def test_what_is_no_yaml(text: str, line: int, words: str) -> None:
    found = mistakes(text)
    assert any(m[0] == line and words in f"{m[1]} {m[2]} {m[3]}" for m in found), found


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "aerodrome.yaml"
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(path)


def test_anchors_and_merges() -> None:
    config = parse(
        "teams:\n"
        "- &base {name: aaa, repo: r, dags: d, gate: {timeout: 5s}}\n"
        "- {<<: *base, name: bbb}\n"
        "- {<<: [{name: ccc}, *base], dags: e}\n"
    )
    assert [(t.name, t.dags, t.gate.timeout) for t in config.teams] == [
        ("aaa", "d", 5),
        ("bbb", "d", 5),
        ("ccc", "e", 5),
    ]


def test_credentials() -> None:
    key = parse(of_team("credentials: {ssh_key: {env: K}, known_hosts: {file: /kh}}", "git@h:x")).teams[0].credentials
    app = (
        parse(of_team("credentials: {github_app: {app_id: 1, installation_id: 2, private_key: {env: K}}}"))
        .teams[0]
        .credentials
    )
    assert isinstance(key, SshKey) and key.known_hosts.file == "/kh"
    assert isinstance(app, GithubApp) and app.github_app.app_id == 1


@pytest.mark.parametrize(
    ("yaml", "repo", "words"),
    [
        ("credentials: {token: {env: T}}", "git@h.example:x.git", "a token is for https://, and the repo is ssh://"),
        ("credentials: {token: {env: T}}", "http://h.example/x.git", "would cross the network readable"),
        ("credentials: {token: {env: T}}", "./dags", "a path of this machine (remove credentials)"),
        ("credentials: {ssh_key: {env: T}, known_hosts: {env: K}}", "https://h/x.git", "an SSH key is for ssh://"),
        ("credentials: {ssh_key: {env: T}}", "git@h:x.git", "known_hosts: must be given"),
        ("credentials: {tokn: {env: T}}", "https://h/x.git", "did you mean 'token'?"),
        ("credentials: {token: {env: T}, usrname: x}", "https://h/x.git", "did you mean 'username'?"),
        ("credentials: {token: {env: T}, ssh_key: {env: T}}", "https://h/x.git", "must be one of"),
        ("credentials: {token: {evn: T}}", "https://h/x.git", "did you mean 'env'?"),
        ("credentials: {token: {env: T, file: x}}", "https://h/x.git", "exactly one place"),
        ("credentials: {token: {secret: x}}", "https://h/x.git", "needs both"),
        ("credentials: {token: {env: 5}}", "https://h/x.git", "must be text"),
        ("credentials: secret-value", "https://h/x.git", "must be one of"),
        ("ca: {file: ca.pem}", "git@h:x.git", "is for https://"),
        ("dags: /dags", "r", "must be relative"),
        ("dags: a/../../b", "r", "must not hold .."),
        ("dags: 'a\\b'", "r", "written with /"),
        ("dags: .git/x", "r", ".git is never part"),
        ("imports: dags", "r", "must be a list"),
        ("imports: [a, ../b]", "r", "must not hold .."),
        ("{dags: dags, paths: [lib]}", "r", "dags is not under paths"),
        ("{imports: [other], paths: [lib]}", "r", "other is not under paths"),
        ("paths: []", "r", "nothing would be in the snapshot"),
        ("ref: 1.0", "r", 'put it in quotes, "1.0"'),
        ("ref: a..b", "r", "can not be the name"),
        ("ref: -x", "r", "can not be the name"),
        ("ref: 'a b'", "r", "can not be the name"),
        ("ref: x.lock", "r", "can not be the name"),
        (f"ref: {'AB' * 20}", "r", "lower case"),
        ("poll: 0.5s", "r", "at least 1s"),
        ("reparse: 5s", "r", "at least 30s"),
        ("reparse: nevr", "r", "must be a duration"),
        ("gate: {timeout: 100ms}", "r", "at least 1s"),
        ("gate: {memory: 64Mi}", "r", "at least 256Mi"),
        ("gate: {memory: 64}", "r", "must be a size with a unit"),
        ("gate: {require: [ownr]}", "r", "did you mean 'owner'?"),
        ("submodules: maybe", "r", "must be true or false"),
        ("triggerer:", "r", "nothing was written"),
        ("namespace: kube-system", "r", "of Kubernetes itself"),
        ("namespace: Payments", "r", "must be a Kubernetes name"),
        ("quota: {cpu: lots}", "r", "must be a Kubernetes quantity"),
        ("quota: {pods: 0}", "r", "must be 1 or more"),
        ("quota: {pods: 1.5}", "r", "must be a whole number"),
        ("worker: {delete_pods: on-succes}", "r", "did you mean 'on-success'?"),
        ("worker: {env: {A: {env: B}}}", "r", "a worker has no environment"),
        ("worker: {env: {'A-B': x}}", "r", "is not a name that can stand here"),
        ("worker: {volumes: [{name: d, mount: data, source: {}}]}", "r", "mount"),
        ("limits: {file: 2Gi, snapshot: 1Gi}", "r", "file is larger than snapshot"),
        ("report: {github: {token: ghp_x}}", "r", "a secret is never written"),
        ("nme: x", "r", "did you mean 'name'?"),
    ],
)
def test_mistakes_of_a_team(yaml: str, repo: str, words: str) -> None:
    text = of_team(yaml, repo)
    if yaml.startswith("{"):
        text = f"teams:\n  - {{name: payments, repo: {repo}, {yaml[1:]}\n"
    assert words in the_mistake(text)


@pytest.mark.parametrize(
    ("repo", "words"),
    [
        ("https://user:sekret@h/x.git", "must not hold a user or password"),
        ("https://sekret@h/x.git", "must not hold a user or password"),
        ("ssh://git:sekret@h/x.git", "must not hold a user or password"),
        ("ftp://h/x.git", "ftp:// is not supported"),
        ("git://h/x.git", "git:// is not supported"),
        ("ext::sh -c whoami", "remote helpers"),
        ("--upload-pack=x", "must not begin with -"),
        ("https:///x.git", "has no host"),
        ("https://h/", "has no path"),
        ("https://h:port/x", "is not a URL"),
        ("https://h/x?token=sekret", "must not hold ? or #"),
        ("file://x/y", "three slashes"),
        ("''", "must be the URL or path"),
        ("5", "must be text"),
    ],
)
def test_bad_repos(repo: str, words: str) -> None:
    found = the_mistake(f"teams: [{{name: aaa, repo: {repo!r}}}]".replace("\"''\"", "''").replace("'5'", "5"))
    assert words in found
    assert "sekret" not in found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("store: bucket/x", "is not a URL"),
        ("store: /srv/store", "file:///srv/store"),
        ("store: s4://bucket", "use s3, gs, az or file"),
        ("store: s3:///x", "names no bucket"),
        ("store: file://x/y", "three slashes"),
        ("store: memory:///", "not shared between processes"),
        ("store: s3://key:sekret@bucket/x", "must not hold a user or password"),
        ("store: s3://b?x=y", "must not hold ?"),
        ("store_options: {region: x}", "none is given"),
        ("{store: s3://b, store_options: {regoin: x}}", "did you mean 'region'?"),
        ("{store: s3://b, store_options: {aws_region: x}}", "did you mean 'region'?"),
        ("{store: s3://b, store_options: {secret_access_key: sekret}}", "never written into this file"),
        ("{store: s3://b, store_options: {conditional_put: etag}}", "set by Aerodrome itself"),
        ("{store: s3://b, store_options: {region: [x]}}", "must be text"),
        ("{store: file:///s, store_options: {region: x}}", "has no options"),
        ("sync: {poll: 999ms}", "at least 1s"),
        ("sync: {webhook: {secret: sekret}}", "a secret is never written"),
        ("sync: {limits: {file: 2Gi}}", "file is larger"),
        ("logs: {segment: 10m}", "between 100ms and 60s"),
        ("database: {url: {env: X}, embedded: {}}", "both url and embedded"),
        ("database: {url: 'postgresql://a:sekret@b'}", "a secret is never written"),
        ("auth: {manager: a.B, simple: {users: [{name: x}]}}", "both simple and manager"),
        ("auth: {manager: nodots}", "path of a class"),
        ("auth: {manager: a.fab_auth_manager.FabAuthManager}", "knows no teams"),
        ("auth: {simple: {users: [{name: x}, {name: x}]}}", "stands twice"),
        ("auth: {simple: {users: [{name: 'a:b'}]}}", "right form"),
        ("auth: {simple: {users: []}}", "must not be empty"),
        ("auth: {simple: {users: [{name: a, role: adm}]}}", "viewer, user, op or admin"),
        ("airflow: {core: {multi_team: false}}", "is set by Aerodrome"),
        ("airflow: {dag_processor: {dag_bundle_config_list: []}}", "each team has its bundle"),
        ("airflow: {core: {fernet_key: sekret}}", "never one of this file"),
        ("airflow: {core: {fernet_key_cmd: cat x}}", "never one of this file"),
        ("airflow: {database: {sql_alchemy_conn: sekret}}", "is database.url"),
        ("airflow: {kubernetes_executor: {namespace: x}}", "has no effect"),
        ("airflow: {sentry: {sentry_dsn: sekret}}", "sentry_dsn_cmd"),
        ("airflow: {celery: {broker_url: 'redis://:sekret@h/0'}}", "broker_url_cmd"),
        ("{store: s3://b, store_options: {proxy_url: 'http://u:sekret@h'}}", "never written into this file"),
        ("airflow: {secrets: {backend_kwargs: {token: sekret}}}", "looks like a secret"),
        ("airflow: {Core: {x: y}}", "is not a name that can stand here"),
        ("airflow: {core: x}", "must be a mapping"),
        ("name: Airflow", "right form"),
        ("kubernetes: {topology: big}", "must be compact or split"),
        ("kubernetes: {patches: [{kind: Pod}]}", "must say what it changes"),
        ("kubernetes: {componets: {}}", "did you mean 'components'?"),
        ("kubernetes: {ingress: {clas: x, host: h}}", "did you mean 'class'?"),
        ("kubernetes: {components: {platform: {replicas: 2}}}", "one pod"),
        ("kubernetes: {components: {sync: {resources: {requests: {cpu: much}}}}}", "Kubernetes quantity"),
        ("teams: {}", "must be a list"),
        ("teams: [x]", "must be a mapping"),
    ],
)
def test_mistakes_of_an_installation(text: str, words: str) -> None:
    found = the_mistake(text)
    assert words in found
    assert "sekret" not in found


def test_secrets_of_the_store_are_places() -> None:
    config = parse("{store: s3://b, store_options: {secret_access_key: {env: K}, allow_http: true, timeout: 5s}}")
    assert config.store_options == {"secret_access_key": SecretPlace(env="K"), "allow_http": "true", "timeout": "5s"}


def test_rules_across_teams_come_with_other_mistakes() -> None:
    found = mistakes(
        "auth: {simple: {users: [{name: bob, teams: [paymets, risk]}]}}\n"  # 1
        "teams:\n"
        "  - {name: payments, repo: r, dgs: x}\n"  # 3
        "  - {name: risk, repo: r, namespace: airflow-payments}\n"  # 4
        "  - {name: risk}\n"  # 5, twice
        "  - {name: data, repo: 'git@h:x', credentials: {token: {env: T}}, namespace: airflow}\n"  # 6, twice
        "  - 7\n"  # 7
    )
    assert [(line, where) for line, where, _, _ in found] == [
        (1, "auth.simple.users[0].teams[0]"),
        (3, "teams[0].dgs"),
        (4, "teams[1].namespace"),
        (5, "teams[2].repo"),
        (5, "teams[2].name"),
        (6, "teams[3].namespace"),
        (6, "teams[3].credentials"),
        (7, "teams[4]"),
    ]
