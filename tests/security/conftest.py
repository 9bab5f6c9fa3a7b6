"""The doors of `tests/api`, for requests that attack them."""

from tests.api.conftest import doors

__all__ = ["doors"]
