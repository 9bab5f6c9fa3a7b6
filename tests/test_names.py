"""Names of models and replicas, on this machine and on others."""

import pytest

from relayd.names import ReplicaName

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m", ReplicaName("m")),
        ("m#0", ReplicaName("m", 0)),
        ("org/m:Q4_K_M#12", ReplicaName("org/m:Q4_K_M", 12)),
        ("m@box", ReplicaName("m", None, "box")),
        ("org/m#1@box", ReplicaName("org/m", 1, "box")),
    ],
)
def test_a_name_says_model_replica_and_node_and_is_written_as_it_was_read(
    text: str, expected: ReplicaName
) -> None:
    assert expected == ReplicaName.parse(text)
    assert text == str(expected)


@pytest.mark.parametrize("text", ["m#", "m#x", "m#-1", "m#1#2"])
def test_what_follows_the_mark_is_a_number(text: str) -> None:
    with pytest.raises(ValueError, match="invalid replica number"):
        ReplicaName.parse(text)


def test_a_model_covers_its_replicas_on_the_same_machine() -> None:
    replica = ReplicaName("m", 1)

    assert ReplicaName("m").covers(replica)
    assert replica.covers(replica)
    assert not ReplicaName("m", 0).covers(replica)
    assert not ReplicaName("n").covers(replica)
    assert not ReplicaName("m", 1, "box").covers(replica)
