"""Which of what an earlier daemon left running is still what is wanted?"""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from relayd.config import Allocation
from relayd.endpoint import TcpAddress, UnixAddress
from relayd.engine import Features, command
from relayd.engine.commandline import same_process
from relayd.errors import EngineError
from relayd.planner import Basis, Lora, Planned, ReplicaSpec
from relayd.planner.plan import to_document
from relayd.store import Record
from relayd.supervisor.adoption import address_of, running_plan
from relayd.supervisor.child import Files
from relayd.supervisor.sizing import Reduction
from relayd.units import Bytes

pytestmark = pytest.mark.pure

ENGINE = "/bin/llama-server b11434"
LINE = ReplicaSpec("m", 0, Path("/m.gguf"))
PLACED = replace(LINE, fit=False, placement=Allocation(gpu_layers=49, devices=("CUDA0",)))
SMALLER = replace(PLACED, slots=2)
OPEN = replace(LINE, slots=0)
"""The same line without slots, of which relayd plans the number."""
FEATURES = Features(
    version="b11434",
    build=11434,
    flags=frozenset(
        "--api-key-file --cache-ram --fit --embeddings --metrics --slots --offline --no-ui --no-jinja "
        "--jinja --device --n-cpu-moe --no-kv-unified --flash-attn".split()
    ),
    hints={"--lora-scaled": "FNAME:SCALE,...", "--flash-attn": "[on|off|auto]"},
    unix_sockets=True,
)


def argv(spec: ReplicaSpec) -> tuple[str, ...]:
    key = Path("/run/r/0123abcd.key")
    return ("/bin/llama-server", *command(spec, FEATURES, UnixAddress(Path("/run/r/0123abcd.sock")), key))


def record(spec: ReplicaSpec, line: ReplicaSpec | None = None, reduction: Reduction | None = None) -> Record:
    """Return what this build writes."""
    return Record(
        replica="m#0",
        identity=f"{spec.digest} {ENGINE}",
        line=(line or spec).digest,
        spec=to_document(spec),
        reduction=to_document(reduction) if reduction else None,
        incarnation=1,
        pid=1,
        boot_id="b",
        started="1",
        log="/log",
        log_offset=0,
        command=argv(spec),
    )


def earlier(digest: str, running: tuple[str, ...] = ()) -> Record:
    """Return what the last release wrote: no line, no spec, no reduction."""
    written = Record(
        replica="m#0",
        identity=f"{digest} {ENGINE}",
        incarnation=1,
        pid=1,
        boot_id="b",
        started="1",
        log="/log",
        log_offset=0,
        command=running,
    )
    assert ("", None, None) == (written.line, written.spec, written.reduction)
    return written


def adopted(record: Record, planned: Planned, engine: str = ENGINE) -> ReplicaSpec | None:
    found = running_plan(record, planned, engine, argv)
    return found[0].spec if found else None


def test_the_process_of_the_same_line_is_adopted() -> None:
    assert PLACED == adopted(record(PLACED), Planned(PLACED))


def test_r41_a_process_of_another_line_or_engine_is_not() -> None:
    assert None is adopted(record(PLACED), Planned(replace(PLACED, context=4096)))
    assert None is adopted(record(PLACED), Planned(PLACED), engine="/bin/llama-server b2")


def test_a_plan_that_came_out_otherwise_is_no_reason_to_load_again() -> None:
    wanted = Planned(replace(PLACED, placement=Allocation(gpu_layers=12, devices=("CUDA0",))), line=LINE)

    assert PLACED == adopted(record(PLACED, LINE), wanted)


def test_a_reduced_process_is_adopted_with_its_reduction() -> None:
    reduction = Reduction(LINE.digest, SMALLER, 2, ("slots: 4 → 2",), 1.5)

    found = running_plan(record(SMALLER, LINE, reduction), Planned(PLACED, line=LINE), ENGINE, argv)

    assert found
    assert (SMALLER, reduction) == (found[0].spec, found[1])


def test_what_the_running_process_needs_comes_from_its_record() -> None:
    wanted = Planned(PLACED, {"cuda0": Bytes(9)}, Basis.CONFIRMED, OPEN)
    written = msgspec.structs.replace(
        record(SMALLER, OPEN), needs={"cuda0": 5}, basis="predicted by the engine"
    )

    found = running_plan(written, wanted, ENGINE, argv)
    known = running_plan(msgspec.structs.replace(written, basis="predicted"), wanted, ENGINE, argv)

    assert found
    assert known
    assert Planned(SMALLER, {"cuda0": Bytes(5)}, Basis.UNKNOWN, OPEN) == found[0], "a later version's basis"
    assert Basis.PREDICTED is known[0].basis


def test_a_line_without_slots_has_the_digest_that_it_had_when_four_were_its_default() -> None:
    assert LINE.digest == OPEN.digest
    assert LINE.digest != replace(LINE, slots=2).digest


def test_a_process_of_a_line_without_slots_is_adopted_with_those_that_it_has() -> None:
    assert PLACED == adopted(record(PLACED, LINE), Planned(replace(PLACED, slots=8), line=OPEN))
    assert SMALLER == adopted(record(SMALLER, OPEN), Planned(PLACED, line=OPEN))


def test_a_process_with_other_slots_than_its_line_has_is_not_adopted() -> None:
    assert None is adopted(record(SMALLER, OPEN), Planned(PLACED, line=LINE))


def test_what_a_later_version_wrote_in_another_way_is_not_adopted() -> None:
    strange = msgspec.structs.replace(record(PLACED), spec={"model": 3})

    assert None is adopted(strange, Planned(PLACED))


@pytest.mark.parametrize(
    ("digest", "spec"),
    [
        ("66afa3d61951f574", LINE),
        (
            "b7885dfb2bb27474",
            ReplicaSpec(
                "m",
                0,
                Path("/m.gguf"),
                Path("/p.gguf"),
                4096,
                2,
                threads=3,
                embeddings=True,
                cache_ram_mib=64,
                loras=(Lora(Path("/l.gguf"), 0.5),),
                extra_args=("--top-k", "1"),
            ),
        ),
    ],
)
def test_digests_of_lines_that_did_not_change_are_those_of_the_last_release(
    digest: str, spec: ReplicaSpec
) -> None:
    """Recorded at commit e573402."""
    assert digest == spec.digest
    assert spec == adopted(earlier(digest), Planned(spec))


def test_a_planned_replica_adopts_the_process_that_the_last_release_left_to_the_engine() -> None:
    for line in (LINE, replace(LINE, fit=False)):
        assert LINE == adopted(earlier("66afa3d61951f574"), Planned(PLACED, line=line))
    shared = replace(LINE, threads=3)
    assert shared == adopted(earlier(shared.digest), Planned(replace(PLACED, threads=3), line=LINE))


def test_an_alias_was_part_of_the_identity_and_of_no_process() -> None:
    """The digest of the same line with `aliases = ["x"]`, recorded at commit e573402."""
    assert LINE == adopted(earlier("3a554410a0e4f975", argv(LINE)), Planned(LINE))


def test_a_placement_that_was_kept_as_flags_is_the_same_process_when_it_is_typed() -> None:
    """Digest and argv of a `[[model]]` of `recommend --write`, recorded at commit e573402."""
    running = (
        *("/bin/llama-server", "--model", "/m.gguf", "--alias", "m", "--host", "0123abcd.sock"),
        *("--api-key-file", "/run/r/0123abcd.key", "--parallel", "4", "--ctx-size", "32768"),
        *("--cache-ram", "8192", "--fit", "off", "--metrics", "--slots", "--offline", "--no-ui"),
        *("--gpu-layers", "49", "--device", "CUDA0,CUDA1", "--split-mode", "layer"),
        *("--tensor-split", "20.5,28.5", "--n-cpu-moe", "12", "--cache-type-k", "q8_0"),
        *("--cache-type-v", "q8_0", "--flash-attn", "on", "--batch-size", "2048", "--ubatch-size", "512"),
        "--no-kv-unified",
    )
    typed = replace(
        LINE,
        context=8192,
        fit=False,
        placement=Allocation(
            gpu_layers=49,
            devices=("CUDA0", "CUDA1"),
            shares=(20.5, 28.5),
            experts_on_cpu=12,
            cache_type_k="q8_0",
            cache_type_v="q8_0",
            flash_attention=True,
            unified=False,
            batch=2048,
            micro_batch=512,
        ),
    )

    assert typed == adopted(earlier("df118c6d7e574bcc", running), Planned(typed))
    assert None is adopted(earlier("df118c6d7e574bcc", running), Planned(replace(typed, slots=2)))


def test_where_a_flag_is_repeated_the_order_of_flags_counts() -> None:
    assert same_process(("e", "-a", "1", "-b"), ("e", "-b", "-a", "1"))
    assert not same_process(("e", "-a", "1", "-a", "2"), ("e", "-a", "2", "-a", "1"))
    assert not same_process(("e", "-a", "1"), ("e", "-a", "2"))
    assert same_process(("e", "--temp", "-1", "--top_k", "2"), ("e", "--top-k", "2", "--temp", "-1"))


def test_an_engine_that_cannot_run_what_is_wanted_runs_something_else() -> None:
    def refuse(_spec: ReplicaSpec) -> tuple[str, ...]:
        raise EngineError("too old")

    assert None is running_plan(earlier("0" * 16, argv(LINE)), Planned(LINE), ENGINE, refuse)


def test_an_address_keeps_its_host() -> None:
    files = Files(Path("/run/r"), "0123abcd")
    written = record(LINE)

    assert UnixAddress(files.socket) == address_of(written, files)
    moved = msgspec.structs.replace(written, port=8100, host="10.0.0.7")
    assert TcpAddress(8100, "10.0.0.7") == address_of(moved, files)
