"""What `relayd bench --requests` sends requests to, and how it shows what came back."""

from collections.abc import Iterator, Mapping
from functools import partial
from urllib.parse import urlsplit

from relayd.cli.support.control import daemon_client
from relayd.cli.support.conversation import choose_model, connection_to
from relayd.client.benchmark import prompts
from relayd.client.load import LoadResult, Percentiles, Target
from relayd.errors import FetchError, UsageError
from relayd.fetch import fetch_json
from relayd.secret import Secret
from relayd.units import MIB

_LIST_BYTES = 8 * MIB


def aimed(
    url: str, model: str | None, body: Mapping[str, object], words: int, environ: Mapping[str, str]
) -> tuple[Target, str]:
    """Return what requests are sent to, and what it is called.

    Args:
        url: An OpenAI address; "" for the running daemon.
        model: The model; None for the only one.
        body: What every request has.
        words: Length of every prompt.
        environ: Where the key for an address is.

    Raises:
        NoDaemonError: No daemon runs, and no address was given.
        UsageError: It is not an address, or which model is not clear.
    """
    prompt = next(prompts(words)).partition(" ")[2]
    if not url:
        client = daemon_client()
        report, given = client.status(), client.configuration()
        name = choose_model(model, report)
        connect = partial(connection_to, report.url, given.certificate)
        path, key = "/v1/chat/completions", Secret(given.key)
    else:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"{url!r} is not a valid address", remedy="Write http://HOST:PORT.")
        key = Secret(environ.get("RELAYD_API_KEY") or environ.get("OPENAI_API_KEY") or "")
        base = parts.path.rstrip("/")
        path = f"{base if base.endswith('/v1') else base + '/v1'}/chat/completions"
        connect = partial(connection_to, parts._replace(path="", query="").geturl())
        name = model or _first_model(
            parts._replace(path=path.replace("chat/completions", "models")).geturl(), key
        )
    return Target(connect, path, {"model": name, **body}, prompt, key), name


def _first_model(url: str, key: Secret) -> str:
    """Return the model that an address lists first.

    Raises:
        UsageError: It lists none.
    """
    headers = {"Authorization": f"Bearer {key.reveal()}"} if key else {}
    try:
        listed = fetch_json(url, _LIST_BYTES, headers=headers)["data"]
        return str(listed[0]["id"])
    except (FetchError, LookupError, TypeError) as error:
        why = error.message if isinstance(error, FetchError) else "its list is empty"
        raise UsageError(f"{url} names no model: {why}", remedy="Name it: `relayd bench MODEL …`.") from error


def shown(result: LoadResult) -> Iterator[str]:
    """Yield the lines of a result."""
    yield (
        f"{result.answered} of {result.requests} answered in {result.seconds:.1f} s: "
        f"{result.requests_per_second:.1f} requests/s"
        + (f", {result.tokens_per_second:.1f} tokens/s" if result.tokens_per_second else "")
    )
    if result.first_byte and result.whole:
        yield "                  half       95 %       99 %    longest"
        yield _row("first byte", result.first_byte)
        yield _row("whole answer", result.whole)
    for failure, count in result.failures.items():
        yield f"failed  {count:6}  {failure}"


def _row(name: str, times: Percentiles) -> str:
    return f"{name:12}" + "".join(
        f"{1000 * one:8.0f} ms" for one in (times.p50, times.p95, times.p99, times.most)
    )
