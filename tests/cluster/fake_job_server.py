"""A server that answers like Ray's job server, with faults on request."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from ray.job_submission import JobDetails

Fault = Callable[["FakeJobServer", web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeJobServer:
    """What it was told, and how it shall fail: ``faults[METHOD /path]``, one a request.

    Attributes:
        token: asked for, if any.
        jobs: Ray's details by id.
        asked: method, path and headers of every request.
        environments: variables of every job that was submitted.
        tails: texts that each connection to a job's log prints before it breaks, but for the last.
    """

    url: str = ""
    token: str | None = None
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    environments: list[dict[str, str]] = field(default_factory=list)
    tails: list[str] = field(default_factory=list)

    def fail(self, request: str, *faults: Fault) -> None:
        self.faults.setdefault(request, []).extend(faults)

    def requests(self, start: str) -> list[str]:
        return [line for m, p, _ in self.asked if (line := f"{m} {p}").startswith(start)]

    def add(self, job_id: str, status: str, **metadata: str) -> None:
        details = JobDetails(
            type="SUBMISSION", submission_id=job_id, status=status, entrypoint="x",
            metadata=metadata,
        )  # fmt: skip
        self.jobs[job_id] = details.model_dump(mode="json")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        line = f"{request.method} {request.path}"
        self.asked.append((request.method, request.path, dict(request.headers)))
        for start, faults in self.faults.items():
            if line.startswith(start) and faults:
                return await faults.pop(0)(self, request)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            status = 403 if "Authorization" in request.headers else 401
            return web.Response(status=status, text="Unauthorized")
        return await self.served(request)

    async def served(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == "/api/version":
            return web.json_response({"version": "4", "ray_version": "2.60.0"})
        if path.startswith("/api/packages/"):
            return web.Response()
        if path == "/api/jobs/" and request.method == "POST":
            told = await request.json()
            if told["submission_id"] in self.jobs:
                text = f"Traceback\nValueError: Job {told['submission_id']} already exists."
                return web.Response(status=500, text=text)
            self.environments.append(told["runtime_env"].get("env_vars"))
            self.add(told["submission_id"], "RUNNING", **told["metadata"])
            return web.json_response({"job_id": "1", "submission_id": told["submission_id"]})
        if path == "/api/jobs/":
            return web.json_response(list(self.jobs.values()))
        job = self.jobs.get(path.split("/")[3])
        if job is None:
            return web.Response(status=404, text="does not exist")
        if path.endswith("/logs/tail"):
            return await self.tail(request, job)
        return web.json_response(job)

    async def tail(self, request: web.Request, job: dict[str, Any]) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        text = self.tails.pop(0) if self.tails else ""
        await socket.send_str(text)
        if self.tails:
            await hang_up(self, request)
        else:
            job["status"] = "SUCCEEDED"
            await socket.close()
        return socket


async def hang_up(server: FakeJobServer, request: web.Request) -> web.StreamResponse:
    assert request.transport
    request.transport.close()
    return web.Response()


async def hang_up_after(server: FakeJobServer, request: web.Request) -> web.StreamResponse:
    """Handle the request, and lose the answer."""
    await server.served(request)
    return await hang_up(server, request)


async def say_nothing(server: FakeJobServer, request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(5.0)
    return web.Response()


async def fall_silent(server: FakeJobServer, request: web.Request) -> web.StreamResponse:
    """Send no more of the log, and do not end the connection."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(server.tails.pop(0))
    await asyncio.sleep(600.0)
    return socket


def say(status: int, text: str, **headers: str) -> Fault:
    async def fault(server: FakeJobServer, request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers=headers)

    return fault


@contextmanager
def fake_job_server() -> Iterator[FakeJobServer]:
    """Run a server on the loopback, in a thread."""
    server, loop, up = FakeJobServer(), asyncio.new_event_loop(), threading.Event()

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        up.set()
        return runner

    def run() -> None:
        runner = loop.run_until_complete(serve())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert up.wait(30)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
