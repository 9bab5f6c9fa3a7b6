"""Is what a model's file states known soon after it is asked for, and never assumed?"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.daemon.modelfacts import KnownFacts
from relayd.desired.demo import demo_model
from relayd.gguf import read_metadata
from relayd.gguf.facts import UNKNOWN, FileFacts, facts_of, record_of
from tests.ggufs import TINY, make_model

pytestmark = pytest.mark.system


async def known(file: Path, cache: Path | None = None) -> tuple[FileFacts, FileFacts, int]:
    times: list[int] = []
    facts = KnownFacts(cache)
    facts.on_known(lambda: times.append(1))
    first = facts.of(str(file))
    await facts.known()
    return first, facts.of(str(file)), len(times)


async def test_what_a_file_states_is_read_aside(tmp_path: Path) -> None:
    file = make_model(tmp_path / "m.gguf", TINY)

    first, stated, times = await known(file)

    assert (UNKNOWN, 1) == (first, times)
    assert ("llama", file.stat().st_size, TINY.n_context, TINY.n_embd) == (
        stated.architecture, stated.size, stated.trained_context, stated.embedding_length,
    )  # fmt: skip
    assert len("<0x00>") == stated.longest_token
    assert stated.parameters > stated.vocabulary > 0


ALL_THREE = ("fim_pre", "fim_suf", "fim_mid")


@pytest.mark.parametrize(
    ("names", "expected"),
    [(ALL_THREE, True), (("prefix", "suffix", "middle"), True), (ALL_THREE[2:], False), ((), False)],
)
def test_a_model_fills_in_between_texts_only_with_all_tokens_for_that(
    tmp_path: Path, names: tuple[str, ...], expected: bool
) -> None:
    metadata = read_metadata(make_model(tmp_path / "m.gguf", TINY))
    more = {f"tokenizer.ggml.{name}_token_id": 3 for name in names}

    assert expected == facts_of(replace(metadata, values={**metadata.values, **more})).fills_in


async def test_a_file_that_cannot_be_read_states_nothing(tmp_path: Path) -> None:
    assert (UNKNOWN, UNKNOWN, 0) == await known(tmp_path / "none.gguf")


async def test_the_demo_model_has_a_template() -> None:
    _, stated, _ = await known(Path(demo_model().file))

    assert "messages" in stated.template


async def test_what_was_read_is_remembered_as_long_as_the_file_stays_the_same(tmp_path: Path) -> None:
    file, cache = make_model(tmp_path / "m.gguf", TINY), tmp_path / "cache" / "facts.json"
    _, stated, _ = await known(file, cache)
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    with file.open("r+b") as stream:
        stream.write(bytes(64))  # a header that nothing can read
    os.utime(file, ns=times)
    _, recalled, _ = await known(file, cache)
    os.utime(file, ns=(times[0], times[1] + 1))
    _, anew, _ = await known(file, cache)

    assert stated == recalled != UNKNOWN
    assert UNKNOWN == anew


@pytest.mark.parametrize("content", ["", "{", '{"schema": 99, "files": {"a": 1}}', '{"files": 7}'])
async def test_a_damaged_file_of_facts_is_no_obstacle(tmp_path: Path, content: str) -> None:
    file, cache = make_model(tmp_path / "m.gguf", TINY), tmp_path / "facts.json"
    cache.write_text(content)
    _, stated, _ = await known(file, cache)

    assert "llama" == stated.architecture
    assert (stated, 1) == (await known(file, cache))[1:]


async def test_many_files_are_read_one_after_another(tmp_path: Path) -> None:
    model = make_model(tmp_path / "m.gguf", TINY)
    files = [tmp_path / f"{number}.gguf" for number in range(20)]
    for file in files:
        shutil.copyfile(model, file)
    facts = KnownFacts(tmp_path / "facts.json")
    for file in files:
        facts.of(str(file))
    waiting = repr(facts)
    await facts.known()

    assert "<KnownFacts known=0 waiting=20>" == waiting
    assert {"llama"} == {facts.of(str(file)).architecture for file in files}


async def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    file, cache = make_model(tmp_path / "m.gguf", TINY), tmp_path / "facts.json"
    other = make_model(tmp_path / "other.gguf", TINY)
    await known(file, cache)
    file.unlink()
    await known(other, cache)

    assert str(other) in cache.read_text()
    assert str(file) not in cache.read_text()


async def test_what_a_plan_has_read_is_not_read_again_unless_the_file_changed(tmp_path: Path) -> None:
    file, cache = make_model(tmp_path / "m.gguf", TINY), tmp_path / "facts.json"
    planned = record_of(file, read_metadata(file))
    assert planned is not None
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    with file.open("r+b") as stream:
        stream.write(bytes(64))  # a header that nothing can read
    os.utime(file, ns=times)
    facts = KnownFacts(cache)
    facts.learn({str(file): planned})
    facts.of(str(file))
    await facts.known()
    recalled = (await known(file, cache))[1]
    os.utime(file, ns=(times[0], times[1] + 1))
    facts.forget()
    facts.of(str(file))
    await facts.known()

    assert planned[1].architecture == recalled.architecture == "llama"
    assert UNKNOWN == facts.of(str(file))
