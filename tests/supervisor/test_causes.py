"""What an exit code and the engine's last words mean."""

import signal

import pytest

from relayd.supervisor.causes import Cause, classify, may_be_oom

pytestmark = pytest.mark.pure

WORDS = {
    "couldn't bind HTTP server socket, hostname: x\nexiting due to HTTP server error": Cause.ADDRESS_IN_USE,
    "error: invalid argument: --nope": Cause.REFUSED,
    "the argument has been removed. use --spec-draft-n-max": Cause.REFUSED,
    "llama_model_load: error loading model: invalid magic characters: 'XXXX'": Cause.REFUSED,
    "data is not within the file bounds, model is corrupted or incomplete": Cause.REFUSED,
    "unknown model architecture: 'mystery'": Cause.REFUSED,
    "allocating 9000 MiB on device 0: cudaMalloc failed: out of memory\n"
    "exiting due to model loading error": Cause.DEVICE_OOM,
    "failed to allocate buffer for kv cache\nexiting due to model loading error": Cause.DEVICE_OOM,
    "failed to allocate compute pp buffers": Cause.DEVICE_OOM,
    "something else": Cause.CRASH,
}


@pytest.mark.parametrize(("words", "cause"), WORDS.items())
def test_the_engines_last_words_tell_the_cause(words: str, cause: Cause) -> None:
    assert cause is classify(1, words).cause


def test_a_refusal_is_hopeless_and_repeats_the_engines_words() -> None:
    found = classify(1, "0.00.1 E error: invalid argument: --nope\n")

    assert found.hopeless
    assert "invalid argument: --nope" == found.message
    assert "args" in found.remedy


def test_a_chat_template_that_the_engine_cannot_read_is_named_with_its_fault_and_the_remedy() -> None:
    found = classify(
        1,
        "0.00.892.356 E common_chat_templates_init: error: Unknown statement: bogus\n"
        "0.00.892.399 E common_chat_templates_init: failed to initialize chat template\n"
        "0.00.892.453 E srv          init: init: chat template parsing error: std::exception\n"
        "0.00.900.331 E srv  llama_server: exiting due to model loading error\n",
    )

    assert found.hopeless
    assert "the engine cannot read the model's chat template: Unknown statement: bogus" == found.message
    assert "--chat-template" in found.remedy


def test_a_template_of_the_operator_that_the_engine_does_not_know_is_named() -> None:
    found = classify(1, "error: the supplied chat template is not supported: mystery\n")

    assert "the engine cannot read the model's chat template" == found.message


def test_r24_a_port_that_is_taken_is_worth_another_try() -> None:
    assert not classify(1, "couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 1").hopeless


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (0, Cause.CLEAN),
        (-signal.SIGSEGV, Cause.CRASH),
        (-signal.SIGABRT, Cause.CRASH),
        (-signal.SIGKILL, Cause.KILLED),
        (-signal.SIGILL, Cause.WRONG_CPU),
        (7, Cause.CRASH),
        (None, Cause.VANISHED),
    ],
)
def test_an_exit_code_tells_the_cause_when_there_are_no_words(code: int | None, cause: Cause) -> None:
    assert cause is classify(code, "").cause


def test_running_out_of_host_memory_counts_double() -> None:
    found = classify(-signal.SIGKILL, "failed to allocate CUDA0 buffer", out_of_memory=True)

    assert (Cause.HOST_OOM, 2) == (found.cause, found.weight)
    assert 1 == classify(-signal.SIGKILL, "").weight
    assert 1 == classify(-signal.SIGSEGV, "").weight


def test_only_a_kill_or_an_unknown_end_may_be_the_kernels() -> None:
    codes = [None, -signal.SIGKILL, 137, -signal.SIGSEGV, 1, 0]

    assert [None, -signal.SIGKILL, 137] == [code for code in codes if may_be_oom(code)]


@pytest.mark.parametrize(
    "words",
    [
        "error loading model: a slot file",
        "failed to open GGUF file 'x'",
        "invalid argument: stoi",
        "chat template parsing error",
        "cudaMalloc failed: out of memory" + "\nanother request" * 30,
    ],
)
@pytest.mark.parametrize("code", [-signal.SIGSEGV, -signal.SIGKILL, 1, None])
def test_what_a_request_left_in_the_log_is_no_cause_of_a_later_exit(words: str, code: int | None) -> None:
    assert classify(code, "") == classify(code, words, loaded=True)
    assert not classify(code, words, loaded=True).hopeless


def test_a_device_whose_memory_ends_as_a_replica_serves_is_named() -> None:
    words = "a request\ncudaMalloc failed: out of memory\nGGML_ABORT"

    assert Cause.DEVICE_OOM is classify(-signal.SIGABRT, words, loaded=True).cause
    assert Cause.KILLED is classify(-signal.SIGKILL, words, loaded=True).cause
