"""Commands that show a search in a browser: TensorBoard, optuna-dashboard, the live report."""

import sys
from typing import Annotated

import typer

from dann_search.cli.app import Experiment, Json, app, emit, err, sentence
from dann_search.errors import RunError

POLL_S = 0.1
"""Seconds between two checks whether the server ended by itself."""


@app.command()
def tensorboard(
    experiment: Experiment,
    port: Annotated[
        int, typer.Option(help="Port on the loopback; 0 for any free one.", min=0, max=65535)
    ] = 6006,
    as_json: Json = False,
) -> None:
    """Start TensorBoard on curves and hyperparameters.

    Example: dann-search tensorboard quickstart --port 6007
    """
    import subprocess
    import threading

    from dann_search.outputs.search import TensorBoard
    from dann_search.results.reader import find_experiment
    from dann_search.search.interrupts import interrupts

    opened = find_experiment(experiment)
    opened.fetch_below(opened.tensorboard)
    folder = opened.tensorboard
    port = _free_port(port)
    options = ["--logdir", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}/"
    result = TensorBoard(logdir=str(folder), url=url)
    emit(as_json, result, f"{url} shows {folder}; Ctrl-C ends it")
    sys.stdout.flush()
    # Standard output holds the one object; all else goes to standard error.
    command = [sys.executable, "-m", "tensorboard.main", *options]
    # A KeyboardInterrupt while the process starts would leave it running on the port.
    with interrupts(threading.Event()) as interrupt:
        server = subprocess.Popen(command, stdout=sys.stderr)
        while server.poll() is None and not interrupt.wait(POLL_S):
            pass
        if interrupt.is_set():
            server.kill()
            server.wait()
            raise KeyboardInterrupt
    if code := server.returncode:
        raise RunError(f"TensorBoard ended with status {code}; its output is above")


def _free_port(port: int) -> int:
    """Return the port, or a free one for 0; checked before TensorBoard starts, which is slow.

    Raises:
        RunError: the port is taken.
    """
    import socket

    try:
        with socket.create_server(("127.0.0.1", port)) as listener:
            return int(listener.getsockname()[1])
    except OSError as exc:
        raise RunError(f"port {port}: {exc.strerror}; try another with --port, or 0") from None


@app.command()
def dashboard(
    experiment: Experiment,
    port: Annotated[int, typer.Option(help="Port on the loopback.", min=1, max=65535)] = 8080,
    as_json: Json = False,
) -> None:
    """Start optuna-dashboard on the study, also while it is searched.

    Example: dann-search dashboard quickstart --port 8081
    """
    from dann_search.outputs.search import Dashboard
    from dann_search.results.loopback import serve_dashboard
    from dann_search.results.reader import find_experiment

    url = f"http://127.0.0.1:{port}/"

    def ready(study: str) -> None:
        emit(as_json, Dashboard(study=study, url=url), f"{url} shows {study}; Ctrl-C ends it")
        sys.stdout.flush()

    serve_dashboard(find_experiment(experiment), port, ready)


@app.command()
def watch(
    experiment: Experiment,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the report as it grows, for a browser.")
    ] = False,
    port: Annotated[
        int, typer.Option(help="With --serve: port on the loopback; 0 for any.", min=0, max=65535)
    ] = 8090,
    as_json: Json = False,
) -> None:
    """Watch a search until it ends: in the terminal, or as a page for a browser.

    Example: dann-search watch quickstart --serve
    """
    if not serve:
        from dann_search.cli.results import status

        status(experiment, watch=True, interval=2.0, as_json=as_json)
        return
    from dann_search.outputs.search import LivePage
    from dann_search.report.live import serve_live
    from dann_search.results.reader import open_experiment

    folder = open_experiment(experiment)

    def ready(url: str) -> None:
        shown = f"{url} shows {folder} as it grows; Ctrl-C ends it"
        emit(as_json, LivePage(experiment=str(folder), url=url), sentence(shown))
        sys.stdout.flush()

    def ended() -> None:
        err.print("no search is running; the page stays as it is until Ctrl-C", soft_wrap=True)

    serve_live(folder, port, ready, ended)
