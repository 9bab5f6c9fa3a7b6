"""Where models come from, and the memory that they may take."""

from relayd.config.schema.section import Section
from relayd.config.values import (
    Count,
    CountOrZero,
    FilePath,
    Mebibytes,
    Seconds,
    Sha256,
)


class Models(Section, frozen=True):
    """Where models are found besides the usual stores.

    Attributes:
        folders: Folders with models of your own, searched with those inside; read only.
    """

    folders: tuple[FilePath, ...] = ()


class Catalog(Section, frozen=True):
    """Where `relayd catalog update` finds a newer catalogue.

    Attributes:
        url: A bundle, by https; empty keeps the catalogue that came with relayd.
        sha256: The only bundle that is accepted; empty trusts the address.
    """

    url: str = ""
    sha256: Sha256 = ""


class MemoryBudget(Section, frozen=True):
    """How much memory models may take; plans are made for it, whatever is free at the moment.

    Attributes:
        reserve_mib: RAM that stays free, in MiB; 0 is the larger of 4 GiB and 20 % of RAM, at most half of
            it, and 10 % where no user logs in or a control group limits relayd.
        device_reserve_mib: Memory of each device that stays free, in MiB; 0 is 5 %, at least 512 MiB.
        host_mib: RAM that models may take, in MiB, without a reserve; 0 is all but the reserve.
        device_mib: Memory that they may take of each device, in MiB, likewise.
        min_resident_seconds: How long a model keeps a place before the one that had it before may take it
            back, at least as long as its load takes; less when a request is about to reach its longest wait.
        swap_batch_requests: Requests that a loaded model may begin while another one waits for its place.
        swap_turn_seconds: How long it may go on beginning them meanwhile, at least as long as its load takes.
    """

    reserve_mib: CountOrZero = 0
    device_reserve_mib: CountOrZero = 0
    host_mib: CountOrZero = 0
    device_mib: CountOrZero = 0
    min_resident_seconds: Seconds = 3
    swap_batch_requests: Count = 32
    swap_turn_seconds: Seconds = 10


class BatchSettings(Section, frozen=True):
    """What uploaded files and batches may take, in `batches/` of the state folder.

    Attributes:
        max_file_mib: Largest upload, in MiB.
        key_files_mib: What the uploads and results of one key may take together, in MiB.
        max_lines: Lines that a batch may have.
        keep_days: How long uploads, and the results of a batch that is over, are kept.
        free_mib: How much of the disk uploads leave free, in MiB.
    """

    max_file_mib: Mebibytes = 4096
    key_files_mib: Mebibytes = 65536
    max_lines: Count = 200_000
    keep_days: Count = 30
    free_mib: Mebibytes = 1024
