"""What can an administrator ask for over TCP (a closed table of paths and verbs)?

Each path stands for one verb of the daemon, the same that the control socket offers. `{name}` is the rest of
a path, or the part before its last segment: names of models may have slashes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

NAME = "{name}"


@dataclass(frozen=True, slots=True)
class Action:
    """A path of the API, and the verb it stands for.

    Attributes:
        method: GET, POST, PUT or DELETE.
        path: `/admin/…`, with `{name}` where the name of a thing stands.
        verb: Name of the verb.
        summary: What it does, a sentence.
        named: The argument that `{name}` is.
        others: The argument that collects the other members of the body.
        renamed: Members that other programs call otherwise: their name, and that of the argument.
        status: HTTP status of the answer.
        streams: It answers with events.
    """

    method: str
    path: str
    verb: str
    summary: str
    named: str = ""
    others: str = ""
    renamed: Mapping[str, str] | None = None
    status: int = 200
    streams: bool = False

    @property
    def prefix(self) -> str:
        """The path up to the name; the whole of it where it has none."""
        return self.path.partition(NAME)[0]

    @property
    def suffix(self) -> str:
        """The path behind the name."""
        return self.path.partition(NAME)[2]

    @property
    def changes(self) -> bool:
        """Whether it changes something, and so leaves an audit line."""
        return self.method != "GET"


_LLMSTREAM = {"model_name": "name"}

ACTIONS = (
    Action("GET", "/admin/status", "status", "Return the daemon, its models, replicas and memory."),
    Action("GET", "/admin/models", "models", "Return the models by name, with the settings of their lines."),
    Action("GET", "/admin/models/{name}", "model", "Return one model.", "name"),
    Action(
        "POST", "/admin/models", "add_model", "Add a model: written to models.toml, and served at once.",
        others="settings", renamed=_LLMSTREAM, status=201,
    ),
    Action(
        "PUT", "/admin/models/{name}", "change_model",
        "Change settings of a model of models.toml; null takes one back.",
        "name", others="settings",
    ),
    Action(
        "DELETE", "/admin/models/{name}", "remove_model",
        "Remove a model of models.toml; its requests are finished first.", "name",
    ),
    Action("POST", "/admin/models/{name}/load", "load", "Load a model, and wait for it.", "model"),
    Action("POST", "/admin/models/{name}/unload", "unload", "Remove a model from memory.", "target"),
    Action("POST", "/admin/models/{name}/pin", "pin", "Keep a model in memory once it is loaded.", "model"),
    Action("POST", "/admin/models/{name}/unpin", "unpin", "Let other models take its place again.", "model"),
    Action("POST", "/admin/replicas/{name}/start", "start", "Start a replica, and wait for it.", "target"),
    Action("POST", "/admin/replicas/{name}/stop", "stop_replicas", "Stop a replica.", "target"),
    Action("POST", "/admin/replicas/{name}/drain", "drain", "Stop a replica after its requests.", "target"),
    Action("POST", "/admin/replicas/{name}/restart", "restart", "Restart a replica.", "target"),
    Action("GET", "/admin/upstreams", "upstreams", "Return servers elsewhere, and what each serves."),
    Action(
        "POST", "/admin/upstreams", "add_upstream",
        "Add a server elsewhere: written to models.toml, and followed.", others="settings", status=201,
    ),
    Action("DELETE", "/admin/upstreams/{name}", "remove_upstream", "Remove one of models.toml.", "name"),
    Action(
        "POST", "/admin/upstreams/{name}/test", "test_upstream",
        "Have an upstream, a node or a worker answer one token.", "name",
    ),
    Action("GET", "/admin/nodes", "nodes", "Return the machines of this hub, and the hubs of this one."),
    Action("POST", "/admin/nodes", "invite_node", "Invite a machine: once, for 15 minutes.", status=201),
    Action("DELETE", "/admin/nodes/{name}", "remove_node", "Take a node's token back; cut it off.", "node"),
    Action("POST", "/admin/nodes/{name}/drain", "drain_node", "Give a node no new requests.", "node"),
    Action("POST", "/admin/nodes/{name}/undrain", "undrain_node", "Give a node requests again.", "node"),
    Action("GET", "/admin/workers", "workers", "Return what works on requests, in ModelRelay's form."),
    Action("GET", "/admin/stats", "stats", "Return queues, and counts of requests, tokens and seconds."),
    Action("GET", "/admin/placement", "placement", "Return what runs where, and what each part takes."),
    Action("POST", "/admin/reload", "reload", "Follow the configuration anew, or return what that changes."),
    Action("GET", "/admin/requests", "requests", "Return the requests that run or wait."),
    Action(
        "GET", "/admin/requests/{name}/why", "why", "Return what of a prompt was reused, and why no more.",
        "request",
    ),
    Action("POST", "/admin/requests/{name}/cancel", "cancel", "End a request.", "request"),
    Action("DELETE", "/admin/requests/{name}", "cancel", "End a request.", "request"),
    Action("GET", "/admin/keys", "admin_keys", "Return the keys, without their secrets."),
    Action(
        "POST", "/admin/keys", "admin_create_key", "Make a key; its secret is in this answer only.",
        others="rights", status=201,
    ),
    Action(
        "PUT", "/admin/keys/{name}", "admin_change_key", "Change what a key may do; what is left out stays.",
        "key",
    ),
    Action(
        "POST", "/admin/keys/{name}/rotate", "admin_rotate_key", "Replace the secret of a key.", "key"
    ),
    Action("DELETE", "/admin/keys/{name}", "admin_revoke_key", "Take a key back.", "key", status=204),
    Action("GET", "/admin/logs", "logs", "Return lines of a log, and follow it.", streams=True),
    Action("GET", "/admin/now", "now", "Return the daemon as it is: status, rates, requests, attention."),
    Action("GET", "/admin/history", "history", "Return the figures of the last hour and the last 24 hours."),
    Action("GET", "/admin/hardware", "hardware", "Return the machine as `relayd hardware --json` prints it."),
    Action("GET", "/admin/catalog", "catalog", "Return the models on this disk, and those of the catalogue."),
    Action("GET", "/admin/recommend", "recommend", "Recommend models for this machine, with the reasons."),
    Action("GET", "/admin/pulls", "pulls", "Return the models that are fetched, and how far they are."),
    Action("POST", "/admin/pulls", "pull", "Begin to fetch a model."),
    Action("DELETE", "/admin/pulls/{name}", "end_pull", "Interrupt a pull; another goes on there.", "model"),
    Action(
        "POST", "/admin/batches/gc", "collect_batches", "Remove batches and files that are older than `days`."
    ),
    Action("GET", "/admin/usage", "usage", "Return what keys used of models, by day."),
    Action("GET", "/admin/live", "live", "Return the same, and then what changes in it.", streams=True),
    Action("GET", "/admin/events", "events", "Return what changes, as it happens.", streams=True),
)  # fmt: skip
"""Everything that can be asked for."""
