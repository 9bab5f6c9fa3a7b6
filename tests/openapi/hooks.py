"""What schemathesis' requests have in common: they name a model that is there, and ask for short answers."""

import os
from typing import Any

import schemathesis

MODEL = os.environ.get("RELAYD_TESTED_MODEL", "")
SHORT = {
    "max_tokens": 4,
    "n_predict": 4,
    "max_completion_tokens": 4,
    "max_output_tokens": 16,
    "n": 1,
    "n_cmpl": 1,
}


@schemathesis.check  # type: ignore[untyped-decorator]  # it has no types
def no_fault(ctx: Any, response: Any, case: Any) -> None:  # noqa: ARG001 - the names are schemathesis' own
    """Refuse a server error but those that are true: not supported by the model (501), not now (503)."""
    assert response.status_code < 500 or response.status_code in (501, 503)


@schemathesis.hook  # type: ignore[untyped-decorator]  # it has no types
def map_body(context: Any, body: Any) -> Any:  # noqa: ARG001 - the names are schemathesis' own
    """Name the model in two of three bodies, and bound what an answer may cost."""
    if not isinstance(body, dict):
        return body
    bounded: dict[str, Any] = {name: most for name, most in SHORT.items() if isinstance(body.get(name), int)}
    if MODEL and "model" in body and len(str(body)) % 3:
        bounded |= {"model": MODEL}
    return body | bounded
