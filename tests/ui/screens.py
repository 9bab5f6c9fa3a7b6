"""What `relayd recommend` prints for machines of all kinds, at three widths: `python -m tests.ui.screens`.

The file is for people to read when it changes; a test holds that it is what is printed.
"""

from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from relayd.planner.quality import Use
from relayd.ui.machine import room_line
from relayd.ui.recommend import advice_table, heading
from tests.planner.chains import room
from tests.planner.test_golden_picks import GOLDEN
from tests.ui import commandscreens
from tests.ui.test_recommend_ui import WIDTHS, found, lines, page

FILE = Path(__file__).with_name("recommend.txt")


def screens() -> str:
    """Return every screen, each under its machine and width."""
    return "\n".join(
        f"=== {machine}, {width} columns\n" + "\n".join(lines(_screen(machine, width), width)) + "\n"
        for machine in GOLDEN
        for width in WIDTHS
    )


def _screen(machine: str, width: int) -> RenderableType:
    table = advice_table({Use.CHAT: found(machine)[0]}, width)
    return Group(
        Text(room_line(room(machine))), Text(heading(Use.CHAT, 1)), Text(), page(machine), Text(), table
    )


if __name__ == "__main__":
    FILE.write_text(screens())
    commandscreens.FILE.write_text(commandscreens.command_screens(), "utf-8")
