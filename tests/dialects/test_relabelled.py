"""Do the figures of several replicas make one page that Prometheus reads?"""

import pytest

from relayd.dialects.relabelled import relabelled

pytestmark = pytest.mark.pure

PAGE = '# HELP llamacpp:x Count.\n# TYPE llamacpp:x counter\nllamacpp:x {}\nllamacpp:y{{le="1"}} 3\n'


def test_each_metric_is_described_once_and_each_sample_has_its_labels() -> None:
    pages = [({"model": "a", "replica": f"a#{n}"}, PAGE.format(n)) for n in (0, 1)]

    assert (
        "# HELP llamacpp:x Count.\n# TYPE llamacpp:x counter\n"
        'llamacpp:x{model="a",replica="a#0"} 0\nllamacpp:x{model="a",replica="a#1"} 1\n'
        'llamacpp:y{model="a",replica="a#0",le="1"} 3\nllamacpp:y{model="a",replica="a#1",le="1"} 3\n'
    ) == relabelled(pages)


def test_a_label_is_escaped() -> None:
    assert 'x{model="a\\"b\\\\"} 1\n' == relabelled([({"model": 'a"b\\'}, "x 1")])


def test_without_replicas_there_is_nothing() -> None:
    assert "" == relabelled([])
