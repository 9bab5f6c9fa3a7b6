"""The check-up behind `relayd doctor`: what would keep relayd from working well, and what helps."""

from collections.abc import Iterator

from relayd.checkup.configuration import check_configuration
from relayd.checkup.devices import check_devices
from relayd.checkup.engine import check_engine
from relayd.checkup.files import check_files, mend
from relayd.checkup.finding import Finding, Patient, PlanFacts, Process, Severity, Unfinished
from relayd.checkup.folders import check_folders
from relayd.checkup.system import check_system

__all__ = ["Finding", "Patient", "PlanFacts", "Process", "Severity", "Unfinished", "check_up", "mend"]


def check_up(patient: Patient) -> Iterator[Finding]:
    """Yield a finding for each check, in order."""
    yield from check_configuration(patient)
    yield from check_files(patient)
    yield from check_engine(patient)
    yield from check_devices(patient)
    yield from check_folders(patient)
    yield from check_system(patient)
