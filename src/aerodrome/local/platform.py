"""The platform on one machine: which components it has, in which order they start, what a changed file changes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aerodrome.config import Team
from aerodrome.config.installation import Installation
from aerodrome.errors import AerodromeError
from aerodrome.local import http
from aerodrome.local.environment import LIVE, Environments
from aerodrome.local.keys import ensure_passwords
from aerodrome.local.ports import LOOPBACK, Ports, is_free
from aerodrome.local.postgres import Postgres
from aerodrome.local.processes import Processes, Report, Spec
from aerodrome.local.state import State, write_private

USUAL_PORT = 8080
_READY_WITHIN = 180.0
_HOPELESS_AFTER = 3


class Platform:
    """One platform, from its start to its end.

    Args:
        installation: the configuration and its places.
        report: is told what happens, as mappings ready for JSON.
        everyone_is_admin: no login, for a demonstration.
    """

    def __init__(self, installation: Installation, report: Report, *, everyone_is_admin: bool = False) -> None:
        self.installation = installation
        self.state = State(installation.state)
        self._open = everyone_is_admin
        self._report = report
        self._ports = Ports(self.state.ports)
        self.port = self._ports.choose("api-server", USUAL_PORT)
        self.processes = Processes(self.state.logs, installation.path.parent, report)
        self.is_ready = False

    @property
    def url(self) -> str:
        """Where the UI is."""
        return f"http://localhost:{self.port}"

    async def start(self) -> None:
        """Start everything; return when it works.

        Raises:
            AerodromeError: a component does not come up. The rest runs: call :meth:`stop`.
        """
        began = time.monotonic()
        self._prepare_files()
        self.state.prepared.unlink(missing_ok=True)
        specs = self._specs(self.installation)
        # What needs no database starts beside it: the api-server is as slow to import as the database is to set up.
        for name in ("sync", "api-server"):
            if name in specs:
                self.processes.start(specs.pop(name))
        await self._start_database()
        await self._prepare_database()
        triggerers = {name: spec for name, spec in specs.items() if name.startswith("triggerer ")}
        for name, spec in specs.items():
            if name not in triggerers:
                self.processes.start(spec)
        # The triggerers come last: nothing waits for them yet, and a start is all CPU.
        await self._all_ready()
        for spec in triggerers.values():
            self.processes.start(spec)
        await self._all_ready()
        self.is_ready = True
        self._report({"event": "ready", "url": self.url, "seconds": round(time.monotonic() - began, 1)})

    async def apply(self, installation: Installation) -> list[str]:
        """Make the running platform that of `installation`, a newer state of the same file. Returns what was done."""
        before, after = self.processes.specs(), self._specs(installation)
        old_live, self.installation = Environments(self.installation, port=self.port).live(), installation
        self._prepare_files()
        done = []
        live = Environments(installation, port=self.port).live()
        core_changed = [
            name
            for name in ("api-server", "scheduler")
            if name in before and _without_live(before[name]) != _without_live(after[name])
        ]
        for name in [name for name in before if name not in after and name != "database"]:
            await self.processes.stop(name)
            self._ports.forget(name)
            done.append(f"{name} stopped")
        if live != old_live or core_changed:
            await self._prepare_database()
        for name in ("api-server", "scheduler"):
            if name not in before:
                continue
            self.processes.replace_spec(after[name])
            if name in core_changed:
                await self.processes.stop(name)
                self.processes.start(after[name])
                done.append(f"{name} restarted with its new settings")
            elif live != old_live:
                self.processes.signal(name, signal.SIGHUP)
        for name, spec in after.items():
            if name in ("database", "api-server", "scheduler"):
                continue
            if name not in before:
                self.processes.start(spec)
                done.append(f"{name} started")
            elif _without_live(before[name]) != _without_live(spec):
                await self.processes.stop(name)
                self.processes.start(spec)
                done.append(f"{name} restarted")
            else:
                self.processes.replace_spec(spec)  # of the list of teams a processor needs its own
        await self._all_ready()
        return done

    async def stop(self, *, now: bool = False) -> None:
        """Stop everything, what uses a component before it.

        Args:
            now: do not wait for running tasks.
        """
        self.is_ready = False
        running = list(self.processes.specs())
        per_team = [name for name in running if name.startswith(("processor ", "triggerer "))]
        for names in (["sync"], ["scheduler"], per_team, ["api-server"], ["database"]):
            await asyncio.gather(
                *(self.processes.stop(name, now=now and name != "database") for name in names if name in self.processes)
            )
        self._ports.close()

    def rows(self) -> list[dict[str, Any]]:
        """All components, for status."""
        return self.processes.rows()

    def _prepare_files(self) -> None:
        self.state.make()
        if not self._open and self.installation.config.auth.manager is None:
            ensure_passwords(self.state, [user.name for user in self.installation.config.auth.simple.users])
        config = self.state.airflow / "airflow.cfg"
        if not config.exists():
            # Airflow writes one with keys of its own where there is none.
            config.write_text("# Settings come from aerodrome.yaml (section airflow) through the environment.\n")
        write_private(self.state.settings, json.dumps(Environments(self.installation, port=self.port).live()))

    async def _start_database(self) -> None:
        if self.installation.config.database.url is not None:
            return
        postgres = Postgres(self.state.database, self.state.sockets)
        postgres.prepare_folders()
        environments = self._environments(self.installation)
        setup = postgres.initialization()
        if setup is not None:
            argv, identity = setup
            self._report({"event": "step", "name": "database", "state": "setting up"})
            spec = Spec("initdb", tuple(argv), environments.basic(), identity=identity)
            if await self.processes.run(spec) != 0:
                raise self._failure("PostgreSQL can not be set up", "initdb")
            postgres.initialized()
        postgres.forget_dead_server()

        async def ready() -> bool:
            return postgres.is_ready()

        spec = Spec(
            "database",
            tuple(postgres.argv()),
            environments.basic(),
            ready=ready,
            identity=postgres.identity(),
            stop=signal.SIGINT,  # a fast shutdown; SIGTERM waits for all clients
            death=signal.SIGINT,
            grace=30.0,
        )
        self.processes.start(spec)
        await self._ready("database")

    async def _prepare_database(self) -> None:
        began = time.monotonic()
        self._report({"event": "step", "name": "schema", "state": "starting"})
        spec = Spec(
            "schema",
            (sys.executable, "-m", "aerodrome.airflow.prepare"),
            self._environments(self.installation).preparation(),
        )
        if await self.processes.run(spec) != 0:
            raise self._failure("Airflow's database can not be prepared", "schema")
        self.state.prepared.touch()
        seconds = round(time.monotonic() - began, 2)
        self._report({"event": "step", "name": "schema", "state": "ready", "seconds": seconds})

    def _environments(self, installation: Installation) -> Environments:
        return Environments(installation, port=self.port, everyone_is_admin=self._open)

    def _specs(self, installation: Installation) -> dict[str, Spec]:
        """All components but the database, in the order in which they start."""
        environments = self._environments(installation)
        here = ("-c", str(installation.path), "--state", str(installation.state))
        teams = installation.config.teams
        pokes = {team.name: self._ports.choose(f"processor {team.name}", udp=True) for team in teams}
        airflow = (sys.executable, "-m", "aerodrome.airflow.component")
        specs = [
            Spec(
                "sync",
                (
                    *(sys.executable, "-m", "aerodrome", "sync", *here),
                    *(part for name, port in pokes.items() for part in ("--poke", f"{name}={LOOPBACK}:{port}")),
                ),
                environments.sync(),
                version=_digest(
                    installation.config.sync.model_dump(mode="json"),
                    [_of_sync(team) for team in teams],
                    installation.store_url,
                    installation.store_places,
                ),
            ),
            Spec(
                "api-server",
                (*airflow, "api-server", "--host", LOOPBACK, "--port", str(self.port)),
                environments.airflow("api-server"),
                ready=self._api_server_is_ready,
                grace=5.0,
            ),
            Spec(
                "scheduler",
                (*airflow, "scheduler", "--skip-serve-logs"),
                environments.airflow("scheduler"),
                ready=self._healthy("scheduler"),
            ),
        ]
        for team in teams:
            version = _digest(team.model_dump(mode="json"), installation.store_url)
            specs.append(
                Spec(
                    f"processor {team.name}",
                    (
                        *(sys.executable, "-m", "aerodrome.airflow.processor", "--team", team.name, *here),
                        *("--listen", f"{LOOPBACK}:{pokes[team.name]}"),
                    ),
                    environments.airflow("processor", team),
                    announces=True,
                    version=version,
                )
            )
        for team in teams:
            if team.triggerer:
                version = _digest(team.model_dump(mode="json"), installation.store_url)
                argv = (sys.executable, "-m", "aerodrome.airflow.triggerer", "--team", team.name, *here)
                specs.append(
                    Spec(
                        f"triggerer {team.name}",
                        argv,
                        environments.airflow("triggerer", team),
                        announces=True,
                        version=version,
                    )
                )
        return {spec.name: spec for spec in specs}

    async def _api_server_is_ready(self) -> bool:
        return await http.get(self.port, "/api/v2/version") is not None

    def _healthy(self, part: str) -> Callable[[], Awaitable[bool]]:
        began = time.time()

        async def ready() -> bool:
            body = await http.get(self.port, "/api/v2/monitor/health")
            with contextlib.suppress(ValueError, AttributeError, TypeError):
                health = json.loads(body or "{}").get(part) or {}
                beat = health.get(f"latest_{part}_heartbeat")
                return health.get("status") == "healthy" and beat is not None and http.timestamp(beat) >= began
            return False

        return ready

    async def _all_ready(self) -> None:
        await asyncio.gather(*(self._ready(name) for name in self.processes.specs()))

    async def _ready(self, name: str) -> None:
        component = self.processes[name]
        before = component.restarts
        deadline = time.monotonic() + _READY_WITHIN
        while not component.is_ready.is_set():
            waits = {
                asyncio.ensure_future(component.is_ready.wait()),
                asyncio.ensure_future(component.ended.wait()),
            }
            await asyncio.wait(waits, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if component.is_ready.is_set():
                return
            if component.ended.is_set():
                if name == "api-server" and not is_free(self.port):
                    raise AerodromeError(
                        f"port {self.port} was taken by another program while the platform started",
                        "Run the command again: a free one will be chosen.",
                    )
                if component.restarts - before >= _HOPELESS_AFTER:
                    raise self._failure(f"{name} ends again and again", name)
                await asyncio.sleep(0.1)
            if time.monotonic() > deadline:
                raise self._failure(f"{name} is not ready after {_READY_WITHIN:.0f} s", name)

    def _failure(self, what: str, name: str) -> AerodromeError:
        log = self.state.logs / f"{name.replace(' ', '-')}.log"
        said = self.processes[name].complaint() if name in self.processes else _last_line(log)
        return AerodromeError(f"{what}{': ' + said if said else ''}", f"Its log is {log}.")


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[:300] if lines else ""
    return ""


def _without_live(spec: Spec) -> Spec:
    env = {name: value for name, value in spec.env.items() if name not in LIVE}
    return Spec(spec.name, spec.argv, env, version=spec.version)


def _of_sync(team: Team) -> dict[str, Any]:
    keys = {"name", "repo", "ref", "paths", "poll", "submodules", "limits", "credentials", "ca"}
    return team.model_dump(mode="json", include=keys)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
