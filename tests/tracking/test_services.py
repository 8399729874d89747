"""Weights & Biases and MLflow get what TensorBoard gets, and can spoil nothing."""

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest

from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.tracking import services
from dann_search.tracking.services import (
    FAILURES,
    Service,
    ServiceObserver,
    check_services,
    without_secrets,
)
from dann_search.tracking.tensorboard import TAGS, scalars
from dann_search.training.result import EpochResult


class Remembers:
    """Remembers what it is told; ``broken`` methods raise."""

    def __init__(self, broken: str = "", known: int = 0) -> None:
        self.broken, self.known = broken, known
        self.calls: list[tuple[Any, ...]] = []

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if call[0] == self.broken:
            raise ConnectionError("no answer from https://me:hidden@host, key=abcdef123")

    def start(self, number: int, params: Mapping[str, Any]) -> int:
        self._note("start", number, dict(params))
        return self.known

    def log(self, number: int, step: int, values: Mapping[str, float]) -> None:
        self._note("log", number, step, dict(values))

    def end(self, number: int, state: str) -> None:
        self._note("end", number, state)


def history(epochs: int) -> list[dict[str, Any]]:
    fields: dict[str, Any] = {name: 0.25 for name in TAGS}
    return [
        asdict(EpochResult(**{"epoch": number, **fields, "f1_macro_val": number / 10}))
        for number in range(1, epochs + 1)
    ]


def observe(service: Service, space: Space, recipe: TrialConfig, epochs: int = 3) -> list[str]:
    told: list[str] = []
    observer = ServiceObserver("service", service, space, "f1_macro", told.append)
    observer.trial_started(7, recipe, [])
    for done in range(1, epochs + 1):
        observer.epochs_done(7, history(done), done - 1)
    observer.trial_ended(7, "completed", None)
    observer.close()
    assert not observer.thread.is_alive()
    return told


def test_a_service_gets_the_parameters_and_every_epoch_once(
    space: Space, recipe: TrialConfig
) -> None:
    service = Remembers()
    assert observe(service, space, recipe) == []
    assert service.calls == [
        ("start", 7, space.active(recipe.model_dump())),
        *(("log", 7, n, scalars(history(n), "f1_macro")) for n in (1, 2, 3)),
        ("end", 7, "completed"),
    ]


def test_of_a_resumed_trial_only_new_epochs_are_sent(space: Space, recipe: TrialConfig) -> None:
    service = Remembers(known=2)
    observe(service, space, recipe)
    assert [call[2] for call in service.calls if call[0] == "log"] == [3]


def test_a_failing_service_is_told_of_once_without_secrets_and_then_left(
    space: Space, recipe: TrialConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_API_KEY", "abcdef123")
    service = Remembers(broken="log")
    first, last = observe(service, space, recipe, epochs=9)
    assert first.startswith("service: ConnectionError: no answer from https://***@host, key=***;")
    assert last == f"service: failed {FAILURES} times in a row; nothing more is sent to it"
    assert [call[0] for call in service.calls].count("log") == FAILURES


def test_a_service_that_hangs_keeps_no_search_from_ending(
    space: Space, recipe: TrialConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    hangs = threading.Event()
    monkeypatch.setattr(services, "CLOSE_S", 0.01)
    service, told = Remembers(), list[str]()
    monkeypatch.setattr(service, "start", lambda number, params: hangs.wait() and 0)
    observer = ServiceObserver("service", service, space, "f1_macro", told.append)
    observer.trial_started(7, recipe, [])
    observer.close()
    hangs.set()
    assert "did not answer" in told[0]


def test_a_message_of_another_value_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hidden-value")
    text = "404 at https://host/a?b: hidden-value"
    assert without_secrets(text) == "404 at https://host/a?b: ***"


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'dann-search\[mlflow\]'"):
        check_services(["mlflow"])
