"""What a provider's rule changes of what its machines offer."""

from dataclasses import replace

import pytest

from relayd.remote import OfferState
from relayd.remote.providers import ProviderRule, read_rules
from tests.remote.test_capacity import OFFER, Seen, ready_of

pytestmark = pytest.mark.pure

CLOUD = replace(OFFER, provider="cloud")


def test_a_line_is_read() -> None:
    assert {
        "cloud": ProviderRule(60, 0.5, ("qwen*", "gemma")),
        "attic": ProviderRule(weight=2),
    } == read_rules(["cloud cost=60 weight=0.5 models=qwen*,gemma", "attic weight=2"])


def test_cost_and_weight_of_a_provider_are_those_of_its_machines() -> None:
    seen = Seen()
    seen.remotes.rule({"cloud": ProviderRule(60, 0.5)})
    seen.remotes.offer(replace(CLOUD, cost=2))
    ready = ready_of(seen.take())
    assert (62, 0.5) == (ready.cost, ready.weight)
    seen.remotes.rule({})  # also for what is offered already
    ready = ready_of(seen.take())
    assert (2, 1) == (ready.cost, ready.weight)


def test_a_model_that_a_provider_may_not_serve_is_not_served_until_it_may() -> None:
    seen = Seen()
    seen.remotes.rule({"cloud": ProviderRule(models=("other*",))})
    seen.remotes.offer(CLOUD)
    (known,) = seen.remotes
    assert (OfferState.GONE, True) == (known.state, "cloud" in known.reason)
    seen.remotes.rule({"cloud": ProviderRule(models=("m",))})
    assert [OfferState.READY] == [one.state for one in seen.remotes]


def test_a_machine_without_a_label_has_no_rule() -> None:
    seen = Seen()
    seen.remotes.rule({"cloud": ProviderRule(60)})
    seen.remotes.offer(OFFER)
    assert OFFER.cost == ready_of(seen.take()).cost
