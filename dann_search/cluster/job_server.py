"""A client of a cluster's job server, which guards the user's token and sorts out failures.

Import it only where a job server is asked: it imports Ray.
"""

import ipaddress
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import requests
from ray.job_submission import JobSubmissionClient

from dann_search.errors import InputError
from dann_search.search.authentication import MODE
from dann_search.search.ray_private import own_token, use_own_token

CONNECT_S = 10.0
ANSWER_S = 60.0
UPLOAD_S = 1800.0
"""Limit on a whole upload, of up to 400 MiB over a slow line."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 15.0
MARK = "submission"
"""Key in a job's metadata that tells one submission from another."""

Answer = TypeVar("Answer")


class NoAnswer(Exception):
    """The server was not reached, failed, or gave no valid answer: worth another try."""


class Refused(Exception):
    """The server refuses the request: another try is no use."""

    def __init__(self, status: int, text: str):
        super().__init__(f"HTTP {status}: {last_line(text)}")
        self.status = status


class JobServer(JobSubmissionClient):
    """Ray's client, restricted to one address, which tells lost connections from refusals.

    Args:
        address: its URL.
        named: whether the user named the address. An address that was read from a file gets the
            token only if it is on this machine, as the end of a tunnel.
    """

    def __init__(self, address: str, *, named: bool):
        for room in ("dashboard_sdk", "job.sdk"):  # do not list what is uploaded
            logging.getLogger(f"ray.dashboard.modules.{room}").setLevel(logging.ERROR)
        self.shows_token = named or is_loopback(address)
        if self.shows_token:
            use_own_token()
        # Skip JobSubmissionClient's own, which prefers $RAY_ADDRESS to the address it is given.
        super(JobSubmissionClient, self).__init__(address)
        if not self.shows_token:
            self._headers: dict[str, str] = {}

    def check(self) -> None:
        """Check that a job server answers.

        Raises:
            NoAnswer: it does not answer.
            InputError: it refuses this user.
        """
        with _sense():
            response = self._do_request("GET", "/api/version")
            if response.status_code != 200:
                raise NoAnswer(f"HTTP {response.status_code} to /api/version")
            self._server_ray_version = str(response.json()["ray_version"])

    def jobs_of(self, experiment: str) -> list[Any]:
        """Return Ray's details of an experiment's jobs; raises like ``check``."""
        with _sense():
            return [
                job
                for job in self.list_jobs()
                if job.submission_id and (job.metadata or {}).get("experiment") == experiment
            ]

    def details(self, job_id: str) -> Any | None:
        """Return Ray's details of a job; None if there is no such job. Raises like ``check``."""
        with _sense():
            try:
                return self.get_job_info(job_id)
            except Refused as exc:
                if exc.status == 404:
                    return None
                raise

    def start(self, job_id: str, mark: str, **request: Any) -> bool:
        """Submit a job, and return whether it is the submission with this ``mark``.

        Safe to repeat after a lost answer: Ray accepts an id once, so no second job starts.

        Raises:
            NoAnswer: it is unknown whether the job was submitted.
            Refused: the job was not submitted.
            InputError: the server refuses this user.
        """
        metadata = {**request.pop("metadata", {}), MARK: mark}
        try:
            with _sense():
                self.submit_job(submission_id=job_id, metadata=metadata, **request)
            return True
        except (NoAnswer, Refused):
            there = self.details(job_id)
            if there is None:
                raise
            return bool((there.metadata or {}).get(MARK) == mark)

    def _do_request(
        self,
        method: str,
        endpoint: str,
        *,
        data: bytes | None = None,
        json_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> requests.Response:
        try:
            response = requests.request(
                method,
                f"{self._address}{endpoint}",
                headers=self._headers,
                data=data,
                json=json_data,
                verify=self._verify,
                # A redirect would pass code, settings and token on to another server.
                allow_redirects=False,
                timeout=UPLOAD_S if data else (CONNECT_S, ANSWER_S),
                **kwargs,
            )
        except requests.RequestException as exc:
            raise NoAnswer(_reason(exc)) from None
        if response.status_code in (401, 403):
            raise InputError(self._token_message(response.status_code))
        if 300 <= response.status_code < 400:
            raise InputError(
                f"--address {self._address}: redirects to {response.headers.get('Location')}, "
                "which is not followed; if that is the cluster, name it with --address"
            )
        if response.status_code >= 500:
            raise NoAnswer(f"HTTP {response.status_code}: {last_line(response.text)}")
        return response

    def _raise_error(self, r: requests.Response) -> NoReturn:
        raise Refused(r.status_code, r.text)

    def _token_message(self, status: int) -> str:
        where = f"--address {self._address} (HTTP {status})"
        if not self.shows_token:
            return (
                f"{self._address} (HTTP {status}): requires a token, which is sent only to an "
                f"address that you name; if this is your cluster, add --address {self._address}"
            )
        if status == 403:
            return (
                f"{where}: refuses this machine's token; put the cluster's in ~/.ray/auth_token "
                "(`ray get-auth-token` on its head prints it), and make sure that neither "
                "RAY_AUTH_TOKEN nor RAY_AUTH_TOKEN_PATH names another one"
            )
        if "authorization" not in {name.lower() for name in self._headers} and own_token():
            return f"{where}: requires a token, but {MODE} turns it off: unset {MODE}"
        return (
            f"{where}: requires a token, and this machine has none; put the cluster's in "
            "~/.ray/auth_token (`ray get-auth-token` on its head prints it), or set "
            "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        )


def is_loopback(address: str) -> bool:
    """Whether a URL leads to this machine."""
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def patiently(
    ask: Callable[[], Answer], limit_s: float, lost: Callable[[NoAnswer], object] = lambda _: None
) -> Answer:
    """Call ``ask`` until it answers, with growing pauses; call ``lost`` on the first failure.

    Raises:
        NoAnswer: there was still none after ``limit_s``.
    """
    until, pause = 0.0, FIRST_PAUSE_S
    while True:
        try:
            return ask()
        except NoAnswer as exc:
            if not until:
                until = time.monotonic() + limit_s
                lost(exc)
            if time.monotonic() >= until:
                raise
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)


@contextmanager
def _sense() -> Iterator[None]:
    """Treat an answer that the client cannot parse as no answer of a job server."""
    try:
        yield
    except requests.RequestException as exc:  # of ``response.json()``
        raise NoAnswer(f"not the answer of a Ray job server: {_reason(exc)}") from None
    except (ValueError, TypeError, LookupError, AttributeError) as exc:
        raise NoAnswer(f"not the answer of a Ray job server: {last_line(str(exc))}") from None


def last_line(text: str) -> str:
    """Return the last line of an error: Ray's server answers with whole tracebacks."""
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else "no text"


def _reason(exc: Exception) -> str:
    """Return the operating system's message, without urllib3's account of its retries."""
    if isinstance(exc, requests.Timeout):
        return "no answer in time"
    text = last_line(str(exc))
    return text.rsplit("] ", 1)[-1].rstrip("'\")") if "] " in text else text
