"""Is HOST:PORT read as people write it, and nothing else?"""

import pytest

from relayd.config.listen import (
    ListenAddress,
    parse_addresses,
    parse_listen,
    parse_network,
    parse_ports,
    show_addresses,
)
from relayd.errors import ConfigError

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("localhost:65535", "localhost", 65535),
        ("[::1]:8080", "::1", 8080),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
    ],
)
def test_a_host_and_a_port_are_read_and_written_back(text: str, host: str, port: int) -> None:
    address = parse_listen(text)

    assert ListenAddress(host, port) == address
    assert text == str(address)


@pytest.mark.parametrize(
    "text",
    [
        "", "8080", ":8080", "localhost", "localhost:", "localhost:http", "localhost:65536", "localhost:-1",
        "::1:8080", "[::1]", "[localhost]:80", "http://localhost:8080", "a b:80", "localhost:80\n",
        "user@host:80",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match="is not HOST:PORT") as refused:
        parse_listen(text)

    assert "127.0.0.1:8080" in refused.value.remedy


def test_a_range_of_ports_includes_both_ends() -> None:
    assert range(8100, 8200) == parse_ports("8100-8199")
    assert range(80, 81) == parse_ports("80-80")


def test_ports_with_commas_may_have_gaps() -> None:
    assert [8081, 8083] == parse_ports("8081,8083")
    assert [8081, 8082, 9090] == parse_ports("8081-8082, 9090")


@pytest.mark.parametrize("text", ["8083,8081", "8081,8081", "8081-8083,8082"])
def test_ports_twice_or_not_in_order_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="names a port twice, or not in rising order"):
        parse_ports(text)


@pytest.mark.parametrize("text", ["", "8100", "8100-", "a-b", "8100..8199", "8100 - 8199", "²-³"])
def test_a_range_that_is_not_two_numbers_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not FIRST-LAST"):
        parse_ports(text)


@pytest.mark.parametrize("text", ["8199-8100", "0-10", "1-65536"])
def test_ports_out_of_order_or_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"'{text}' is not a range of ports"):
        parse_ports(text)


def test_one_address_or_a_list_is_read_and_each_counts_once() -> None:
    one, other = ListenAddress("127.0.0.1", 8080), ListenAddress("127.0.0.1", 11434)

    assert (one,) == parse_addresses("127.0.0.1:8080")
    assert (one, other) == parse_addresses(["127.0.0.1:8080", "127.0.0.1:11434", "127.0.0.1:8080"])
    assert "127.0.0.1:8080, 127.0.0.1:11434" == show_addresses(["127.0.0.1:8080", "127.0.0.1:11434"])


def test_a_list_without_addresses_is_refused() -> None:
    with pytest.raises(ConfigError, match="no address"):
        parse_addresses([])


@pytest.mark.parametrize(
    ("text", "network"), [("10.0.0.1", "10.0.0.1/32"), ("10.1.2.3/8", "10.0.0.0/8"), ("::1", "::1/128")]
)
def test_an_address_is_a_network_of_one(text: str, network: str) -> None:
    assert network == str(parse_network(text))


@pytest.mark.parametrize("text", ["", "proxy", "10.0.0.0/33", "10.0.0", "1.2.3.4, 5.6.7.8"])
def test_what_is_no_network_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_network(text)

    assert "10.0.0.0/8" in refused.value.remedy
