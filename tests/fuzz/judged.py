"""One model file taken through everything that relayd does with it before an engine opens it."""

import random
from functools import cache
from pathlib import Path

from relayd.advice.files import find_files
from relayd.advice.known import configured_form, known_models
from relayd.memory.predict import predict
from relayd.memory.setup import Gpu, Setup
from relayd.models.ondisk import Found
from relayd.planner.budget import Budget
from relayd.planner.fit import fit
from relayd.planner.placement import Aim, NoPlace
from relayd.planner.quality import Use
from tests.planner.models import room

SETUPS = (
    Setup(slots=1),
    Setup(context=4096, slots=4, type_k="q8_0", type_v="q8_0"),
    Setup(context=8192, slots=2, flash_attention=False, unified=True),
    Setup(slots=0, window_full=True, gpus=(Gpu("cuda0"),), gpu_layers=3),
    Setup(context=512, slots=1, embeddings=True, gpus=(Gpu("cuda0"), Gpu("cuda1", 2.0)), experts_on_cpu=2),
)


@cache
def _rooms() -> tuple[Budget, ...]:
    return room("ram=16,cores=4"), room("gpu=4090:24,ram=32"), room("gpu=3060:12,gpu=3060:12,ram=8")


def judge(path: Path, chance: random.Random) -> str:
    """Read, classify, predict and plan one file, and return what came of it.

    Raises:
        RelaydError: It was refused.
    """
    found = Found(path.stem, (path,), path.stat().st_size, "folder")
    for one in known_models((), find_files((), [found], []), None, Use.CHAT):
        for form in one.forms:
            form.build().needs(SETUPS[0])
    form = configured_form(path)
    demand = form.build()
    for setup in (SETUPS[0], chance.choice(SETUPS)):
        predict(demand.model, setup)
        demand.needs(setup)
    outcome = fit((form,), chance.choice(_rooms()), Aim())
    return "no place" if isinstance(outcome, NoPlace) else "planned"
