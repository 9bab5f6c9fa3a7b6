"""One model file taken through everything that relayd does with it before an engine opens it."""

import random
from functools import cache
from pathlib import Path

from relayd.advice.files import find_files
from relayd.advice.known import configured_form, known_models
from relayd.gguf import read_model
from relayd.gguf.pairing import traits_of
from relayd.memory.predict import predict
from relayd.memory.setup import Gpu, Setup
from relayd.models.ondisk import Found
from relayd.planner.budget import Budget
from relayd.planner.demand import Demand
from relayd.planner.divergence import Quantization
from relayd.planner.fit import fit
from relayd.planner.placement import Aim, Form, NoPlace
from relayd.planner.quality import Use, made_for, pooling
from tests.planner.models import room

SETUPS = (
    Setup(slots=1),
    Setup(context=4096, slots=4, type_k="q8_0", type_v="q8_0"),
    Setup(context=8192, slots=2, flash_attention=False, unified=True),
    Setup(slots=0, window_full=True, gpus=(Gpu("cuda0"),), gpu_layers=3),
    Setup(context=512, slots=1, embeddings=True, gpus=(Gpu("cuda0"), Gpu("cuda1", 2.0)), experts_on_cpu=2),
)

WHOLE_ONE_IN = 8
"""Cases that go through the rooms of advice too, which read and check the file again."""


@cache
def _rooms() -> tuple[Budget, ...]:
    return room("ram=16,cores=4"), room("gpu=4090:24,ram=32"), room("gpu=3060:12,gpu=3060:12,ram=8")


def judge(path: Path, chance: random.Random) -> str:
    """Read, classify, predict and plan one file, and return what came of it.

    Raises:
        RelaydError: It was refused.
    """
    if chance.randrange(WHOLE_ONE_IN) == 0:
        _advise(path)
    traits_of(path)
    model = read_model(path, chance.choice((None, 99_999)))
    demand = Demand(model).check()
    predict(model, chance.choice(SETUPS))
    use = made_for(model)
    pooling(model)
    form = Form(Quantization(""), model.file_bytes, 0.0, lambda: demand)
    outcome = fit((form,), chance.choice(_rooms()), Aim(use=use))
    return "no place" if isinstance(outcome, NoPlace) else "planned"


def _advise(path: Path) -> None:
    found = Found(path.stem, (path,), path.stat().st_size, "folder")
    for one in known_models((), find_files((), [found], []), None, Use.CHAT):
        for form in one.forms:
            form.build().needs(SETUPS[0])
    configured_form(path).build()
