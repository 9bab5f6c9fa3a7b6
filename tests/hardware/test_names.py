"""What devices are called, from excerpts of the lists."""

from pathlib import Path

import pytest

from relayd.hardware.names import AMD, INTEL, amd_name, pci_name

pytestmark = pytest.mark.system

LIST = """\
1002  Advanced Micro Devices, Inc. [AMD/ATI]
\t744c  Navi 31 [Radeon RX 7900 XT/7900 XTX/7900M]
\t\t1002 0e3b  RX 7900 GRE
8086  Intel Corporation
\t56a0  DG2 [Arc A770]
# a remark
\t56a1  DG2
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "usr/share/misc").mkdir(parents=True)
    (tmp_path / "usr/share/misc/pci.ids").write_text(LIST)
    return tmp_path


@pytest.mark.parametrize(
    ("vendor", "device", "name"),
    [
        (INTEL, 0x56A0, "Arc A770"),
        (INTEL, 0x56A1, "DG2"),
        (AMD, 0x56A0, ""),
        (INTEL, 0x744C, ""),
        (0x10DE, 0x56A0, ""),
    ],
)
def test_a_device_is_looked_up_under_its_maker(root: Path, vendor: int, device: int, name: str) -> None:
    assert name == pci_name(root, vendor, device)


def test_the_maker_s_own_list_comes_first(root: Path) -> None:
    assert "Radeon RX 7900 XT/7900 XTX/7900M" == amd_name(root, 0x744C, 0xC8)
    (root / "usr/share/libdrm").mkdir()
    (root / "usr/share/libdrm/amdgpu.ids").write_text("744C,\tC8,\tAMD Radeon RX 7900 XTX\n")
    assert "AMD Radeon RX 7900 XTX" == amd_name(root, 0x744C, 0xC8)
