"""One upstream: a server that relayd did not start, and what may run there."""

from typing import Annotated, Literal

from msgspec import Meta

from relayd.config.schema.section import Section
from relayd.config.values import Interval, OptionalFilePath, OriginName, RemoteModelName, Seconds, UpstreamUrl
from relayd.secret import Secret


class UpstreamServer(Section, frozen=True):
    """A server with OpenAI's API: llama-server, vLLM, SGLang, Ollama, LM Studio, another relayd, a paid one.

    Attributes:
        url: Where it answers, with or without `/v1`. Its certificate is verified, no redirect is followed.
        name: What it is called in names of replicas, `MODEL@NAME`; empty makes one of the host and port.
        key: Its key, or `${ENV:NAME}`; empty where it needs none.
        key_file: A file that holds its key.
        models: Its models that are served: names, `OURS = THEIRS` as "ours=theirs", or with `*` for any
            characters; an empty list is all that it has, asked for again and again.
        slots: Requests of each model that it works on at once; 0 is what it reports, else 8.
        weight: How many requests it gets, relative to others that cost the same.
        cost: Seconds that a request rather waits for something cheaper. Replicas of ours cost nothing.
        strategy: How requests are spread where several serve a model that is not configured here.
        timeout: Seconds that an answer may make no progress.
        metrics_seconds: How often its figures are read (`/metrics` of llama.cpp, vLLM and SGLang); 0 never.
        probe_seconds: How often it is asked for its models.
    """

    url: UpstreamUrl
    name: OriginName = ""
    key: Secret = Secret("")
    key_file: OptionalFilePath = ""
    models: tuple[RemoteModelName, ...] = ()
    slots: Annotated[int, Meta(ge=0, le=4096)] = 0
    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    cost: Seconds = 0
    strategy: Literal[
        "prefix_affinity", "least_busy", "least_connection", "round_robin", "random", "real_time_metrics"
    ] = "prefix_affinity"
    timeout: Interval = 300
    metrics_seconds: Seconds = 10
    probe_seconds: Interval = 10
