"""The command line's entry: its commands and exit status.

Exit status: 0 done, 1 failed, 2 usage or configuration, 3 no daemon, 4 daemon silent,
5 another daemon holds the lock, 130 interrupted.
"""

import os
import sys
from typing import NoReturn

from relayd.cli.support.listed import LazyCommand
from relayd.cli.support.page import help_page
from relayd.cli.support.surroundings import discard_output, prepare
from relayd.errors import OutputError

SUMMARY = "Run llama.cpp on your own machines: plan, supervise, route."
EPILOG = (
    "Also understood: ps = status, list = models, rm = models rm, show = catalog show, help = --help. "
    "Exit status: 0 done, 1 failed, 2 usage or configuration, 3 no daemon, 4 daemon silent, "
    "5 another daemon runs, 130 interrupted."
)


def _command(place: str, summary: str) -> LazyCommand:
    module, _, attribute = place.partition(".")
    return LazyCommand(f"relayd.cli.{module}", attribute, summary)


COMMANDS = {
    "run": _command("run.run", "Run a model by its name: fetch, start, load it, and talk."),
    "serve": _command("serve.serve", "Serve models in the foreground until Ctrl-C or relayd stop."),
    "init": _command("init.init", "Set relayd up: find a model for this machine, and serve it."),
    "recommend": _command("recommend.recommend", "Recommend models for this machine, with the reasons."),
    "plan": _command("plan.plan", "Show what `relayd serve` starts, where, and what is left."),
    "pull": _command("pull.pull", "Download a model; an interrupted download is resumed."),
    "search": _command("search.search", "Find models on the Hugging Face hub, and whether they fit."),
    "status": _command("status.status", "Show the daemon, its models and every replica."),
    "top": _command("top.top", "Watch replicas, memory and requests live."),
    "requests": _command("requests.requests", "Show what runs, waits and has ended, or one request."),
    "why": _command("why.why", "Show what of a prompt was read again, why, and what it cost."),
    "ui": _command("ui.ui", "Open the dashboard, by a link that works once."),
    "chat": _command("chat.chat", "Talk with a model."),
    "bench": _command("bench.bench", "Measure how fast a running model is."),
    "batch": _command("batch.app", "Run files of requests when there is time; alone it lists."),
    "test": _command("test.try_models", "Ask models for a few words, and check what comes back."),
    "logs": _command("logs.logs", "Show the logs of replicas or of the daemon."),
    "start": _command("act.start", "Start replicas that are stopped or were given up."),
    "stop": _command("stop.stop", "Stop a model, a replica, or the daemon with all of them."),
    "drain": _command("act.drain", "Stop replicas once their requests are done, however long."),
    "restart": _command("act.restart", "Stop replicas after their requests, and start them again."),
    "load": _command("residence.load", "Load a model into memory; idle models make room for it."),
    "unload": _command("residence.unload", "Remove a model from memory; the next request loads it again."),
    "pin": _command("residence.pin", "Keep a model in memory once it is loaded."),
    "unpin": _command("residence.unpin", "Let other models take the place of a pinned one again."),
    "reload": _command("reload.reload", "Read the settings again, and apply what has changed."),
    "upgrade": _command("upgrade.upgrade", "Replace the running daemon by the relayd installed now."),
    "config": _command("config.app", "Show the settings that hold, and where each comes from."),
    "hardware": _command("hardware.hardware", "Show the CPU, the memory and the devices for models."),
    "explain": _command("explain.explain", "Show what memory a model takes, where, and why."),
    "doctor": _command("doctor.doctor", "Check this machine for known problems."),
    "version": _command("version.version", "Show the versions of relayd, its llama-server and Python."),
    "upstreams": _command("upstreams.app", "Show, add, test and remove upstreams; alone it lists."),
    "import": _command("importing.import_settings", "Take over the servers that another program had."),
    "models": _command("models.app", "Show, import, check and remove models; alone it lists them."),
    "catalog": _command("catalog.app", "Look up models: sizes, shapes, licences."),
    "engine": _command("engine.app", "Install and choose the llama-server that models run on."),
    "keys": _command("keys.app", "Make, limit and revoke API keys; alone it lists them."),
    "nodes": _command("nodes.app", "Invite, drain and remove machines; alone it lists them."),
    "bus": _command("bus.app", "Make the keys of hubs and nodes that meet on NATS."),
    "join": _command("join.join", "Make this machine a node of a hub."),
    "usage": _command("usage.usage", "Show what each key used of each model, by day."),
    "completions": _command("completions.completions", "Print the completion script for a shell."),
    "service": _command("service.app", "Run relayd from boot or login on, by systemd or launchd."),
}
"""Name -> module and function of a command, and its summary, in the order of `--help`."""

_HELP = (["--help"], ["-h"], ["help"])


def run() -> NoReturn:
    """Run the command line and exit with its status."""
    os.umask(0o077)  # files that relayd makes are private to its user
    prepare()
    status = 0
    try:
        status = _print_help() if sys.argv[1:] in _HELP else _call()
        sys.stdout.flush()
    except OutputError as error:
        discard_output()
        if not error.closed:
            status = error.exit_status
            print(f"relayd: {error.message}", file=sys.stderr)
    sys.exit(status)


def _print_help() -> int:
    """Print the page of `relayd --help` without what parses commands; where it cannot, typer does."""
    page = help_page(SUMMARY, COMMANDS, EPILOG)
    if page is None:
        return _call()
    print(page)
    return 0


def _call() -> int:
    """Run a command, and return its exit status; raises OutputError when its output cannot be written."""
    from relayd.cli.app import call

    return call()
