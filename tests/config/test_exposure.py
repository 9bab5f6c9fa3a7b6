"""Is an open door refused, and only an open one?"""

import pytest

from relayd.config.exposure import check_exposure, check_tls, resolve
from relayd.errors import ConfigError, ExposureError, ListenError
from relayd.secret import Secret, new_secret

NO_KEY = Secret("")


def resolver(host: str) -> list[str]:
    names = {
        "localhost": ["127.0.0.1", "::1"],
        "laptop": ["127.0.1.1", "192.168.1.7"],
        "nowhere": [],
    }
    return names.get(host, [host])


@pytest.mark.pure
@pytest.mark.parametrize(
    "listen", ["127.0.0.1:8080", "127.9.9.9:80", "[::1]:8080", "[::ffff:127.0.0.1]:80", "localhost:8080"]
)
def test_loopback_needs_no_key(listen: str) -> None:
    check_exposure(listen, NO_KEY, resolver=resolver)


@pytest.mark.pure
@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:80", "[::]:80", "192.168.1.7:80", "[fe80::1%lo]:80", "[::ffff:10.0.0.1]:80", "nowhere:80"],
)
def test_everything_else_needs_one(listen: str) -> None:
    with pytest.raises(ExposureError) as refused:
        check_exposure(listen, NO_KEY, resolver=resolver)

    assert refused.value.message.startswith(listen)
    assert 2 == refused.value.exit_status


@pytest.mark.pure
def test_r3_a_name_is_as_open_as_its_most_open_address() -> None:
    with pytest.raises(ExposureError, match=r"laptop:80 \(127.0.1.1, 192.168.1.7\) can be reached"):
        check_exposure("laptop:80", NO_KEY, resolver=resolver)


@pytest.mark.pure
def test_r2_the_refusal_names_four_remedies() -> None:
    with pytest.raises(ExposureError) as refused:
        check_exposure("0.0.0.0:9000", NO_KEY, resolver=resolver)

    assert 4 == len(refused.value.remedy.splitlines())
    for remedy in ("RELAYD_API_KEY=", 'require_key = "always"', "--listen 127.0.0.1:9000", "--insecure-bind"):
        assert remedy in refused.value.remedy


@pytest.mark.pure
def test_a_key_or_the_operators_word_opens_the_door() -> None:
    check_exposure("0.0.0.0:80", NO_KEY, always_keyed=True, resolver=resolver)
    check_exposure("0.0.0.0:80", new_secret(), resolver=resolver)
    check_exposure("0.0.0.0:80", NO_KEY, insecure=True, resolver=resolver)


@pytest.mark.system
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
def test_an_address_resolves_to_itself(host: str) -> None:
    assert [host] == resolve(host)


@pytest.mark.system
def test_a_name_that_cannot_be_looked_up_is_named() -> None:
    with pytest.raises(ListenError, match=r'the host "no..such" of the listening address cannot be resolved'):
        resolve("no..such")


@pytest.mark.pure
def test_r3_each_address_of_a_list_is_judged() -> None:
    with pytest.raises(ExposureError, match=r"0\.0\.0\.0:11434"):
        check_exposure(("127.0.0.1:8080", "0.0.0.0:11434"), NO_KEY, resolver=lambda host: [host])


@pytest.mark.pure
@pytest.mark.parametrize(("cert", "key", "missing"), [("c.pem", "", "tls_key"), ("", "k.pem", "tls_cert")])
def test_a_certificate_and_its_key_come_together(cert: str, key: str, missing: str) -> None:
    with pytest.raises(ConfigError, match=f"no {missing}"):
        check_tls(cert, key)


@pytest.mark.pure
@pytest.mark.parametrize(("cert", "key"), [("", ""), ("c.pem", "k.pem")])
def test_both_or_neither_is_in_order(cert: str, key: str) -> None:
    check_tls(cert, key)
