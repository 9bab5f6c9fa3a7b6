"""Would somebody who knows these models pick the same for twelve machines and five uses?

Each line names what may be first, the pick of today first, with the argument for it. Others beside it are as
good to an expert; anything else is a change that has to be argued here.
"""

from collections.abc import Mapping

import pytest

from relayd.planner.quality import Use
from tests.planner.chains import best

pytestmark = pytest.mark.pure

CHAT, AGENT, CODE, REASONING, VISION = Use.CHAT, Use.AGENT, Use.CODE, Use.REASONING, Use.VISION

GOLDEN: Mapping[str, Mapping[Use, str]] = {
    "8gb laptop, 4 cores, bandwidth=35": {  # 4 GiB for models
        CHAT: "gemma-4-e2b-it qwen3.5-2b",  # reads 2B of its 4.6B weights a token, 20 t/s
        AGENT: "qwen3.5-0.8b qwen3.5-2b",  # nothing better reads 16k tokens in five minutes
        CODE: "gemma-4-e2b-it qwen3.5-2b",  # 44 of LiveCodeBench, the most below 4 GiB with a figure
        REASONING: "qwen3.5-0.8b qwen3.5-2b gemma-4-e2b-it",  # thinks aloud, so speed comes first
        VISION: "qwen3.5-2b qwen3.5-0.8b",  # with 1 GiB for its projector gemma-4-e2b is over 4 GiB
    },
    "16gb, 8 cores": {  # 12 GiB and 60 GB/s
        CHAT: "gemma-4-e2b-it qwen3.5-4b gemma-4-e4b-it gpt-oss-20b",  # 30 t/s; e4b and gpt-oss-20b at 20
        AGENT: "qwen3.5-0.8b gemma-4-e2b-it qwen3.5-2b",  # prompts are what a CPU is slow at
        CODE: "gemma-4-e2b-it gpt-oss-20b",  # gpt-oss-20b is better, at half the speed
        REASONING: "gemma-4-e2b-it gpt-oss-20b qwen3.5-4b",  # as for code
        VISION: "gemma-4-e2b-it qwen3.5-4b qwen3.5-2b",  # the same, images included
    },
    "24gb, 2 cores, bandwidth=20": {  # room for 35B-A3B, and too slow for it
        CHAT: "lfm2.5-8b-a1b ling-mini-2.0 gemma-4-e2b-it",  # 1.7B active of 8.5B: 17 t/s where others get 8
        AGENT: "none",  # 0.8B calls tools too badly, and a turn of the 2B takes nine minutes
        CODE: "gemma-4-e2b-it lfm2-24b-a2b",  # 13 t/s, just above what code needs
        REASONING: "qwen3.5-0.8b ling-mini-2.0 gemma-4-e2b-it",  # as on the laptop
        VISION: "gemma-4-e2b-it qwen3.5-2b",  # as above
    },
    "4060,ram=16": {  # 7.6 GiB of card
        CHAT: "qwen3.5-9b gemma-4-e4b-it qwen3.5-4b",  # a 9B in 5 or 6 bits is right for an 8 GB card
        AGENT: "gemma-4-e4b-it gemma-4-e2b-it qwen3.5-4b",  # 64k beside the weights: small caches win
        CODE: "gemma-4-26b-a4b-it gpt-oss-20b qwen3.5-9b",  # 3.8B active: experts in RAM still give 44 t/s
        REASONING: "gemma-4-26b-a4b-it gpt-oss-20b qwen3.5-9b qwen3.5-4b",  # the same
        VISION: "qwen3.5-9b qwen3.5-4b gemma-4-e4b-it",  # the projector takes 1 GiB of the card
    },
    "3060,ram=32": {  # 11.4 GiB of card and 25 GiB of RAM: experts in RAM pay
        CHAT: "qwen3.6-35b-a3b gemma-4-26b-a4b-it",  # the best small mixture of 2026, 40 t/s
        AGENT: "qwen3.5-9b gemma-4-e4b-it qwen3.6-35b-a3b",  # prompts through RAM are slow: whole on the card
        CODE: "qwen3.6-35b-a3b",  # 73 of SWE-bench Verified, nothing else near it here
        REASONING: "qwen3.6-35b-a3b",  # as for code
        VISION: "qwen3.6-35b-a3b gemma-4-26b-a4b-it",  # 75 of MMMU-Pro
    },
    "4090,ram=64": {  # the card most people ask about
        CHAT: "qwen3.6-27b",  # what every list of 2026 says for 24 GB
        AGENT: "qwen3.6-27b qwen3.6-35b-a3b",  # best of its size; the mixture is faster
        CODE: "qwen3.6-35b-a3b qwen3.6-27b",  # 77 or 73 of SWE-bench, 33 or 70 t/s: both are right
        REASONING: "qwen3.6-27b qwen3.6-35b-a3b",  # as above
        VISION: "qwen3.8-27b gemma-4-31b-it qwen3.6-27b qwen3.6-35b-a3b",  # the newest of 27B that sees
    },
    "2x3090,ram=64": {  # 48 GB
        CHAT: "qwen3.6-27b gemma-4-31b-it",  # in 8 bits now
        AGENT: "qwen3.6-27b qwen3.6-35b-a3b",  # with 128k of context
        CODE: "gpt-oss-120b qwen3.6-27b qwen3.6-35b-a3b",  # 42 of Aider's polyglot, at 57 t/s
        REASONING: "qwen3-next-80b-a3b-thinking qwen3.6-27b qwen3.6-35b-a3b",  # 3B active
        VISION: "gemma-4-31b-it qwen3.8-27b qwen3.6-27b qwen3.6-35b-a3b",  # as on the 4090, finer weights
    },
    "m2 16": {  # 11 GiB for the GPU, 100 GB/s, slow prompts
        CHAT: "gemma-4-e2b-it gemma-4-e4b-it qwen3.5-4b",  # e4b would be better, and slower than people like
        AGENT: "gemma-4-e2b-it qwen3.5-2b qwen3.5-0.8b qwen3.5-4b",  # a turn is mostly its prompt
        CODE: "gemma-4-e2b-it qwen3.5-4b gemma-4-e4b-it",  # as for chat
        REASONING: "gemma-4-e2b-it qwen3.5-4b",  # as for chat
        VISION: "qwen3.5-4b gemma-4-e2b-it",  # 66 of MMMU-Pro
    },
    "m4 max 64": {  # 46 GiB and 546 GB/s
        CHAT: "qwen3.6-35b-a3b qwen3.6-27b",  # 74 t/s; the 27B is better and runs at 20
        AGENT: "qwen3.6-35b-a3b qwen3-coder-next",  # 3B active is what a Mac is good at
        CODE: "qwen3.6-35b-a3b qwen3-coder-next",  # as above
        REASONING: "qwen3.6-35b-a3b",  # as above
        VISION: "qwen3.6-35b-a3b gemma-4-26b-a4b-it",  # as above
    },
    "strix halo 128": {  # 91 GiB at 256 GB/s: large mixtures
        CHAT: "qwen3-next-80b-a3b-thinking gpt-oss-120b qwen3.6-35b-a3b qwen3.5-122b-a10b",  # 37 t/s
        AGENT: "qwen3.6-35b-a3b gpt-oss-120b",  # prompts decide
        CODE: "gpt-oss-120b qwen3.6-35b-a3b",  # what this machine is bought for
        REASONING: "qwen3-next-80b-a3b-thinking gpt-oss-120b qwen3.6-35b-a3b",  # as for chat
        VISION: "qwen3.5-122b-a10b qwen3.6-35b-a3b gemma-4-26b-a4b-it",  # the largest that sees, 25 t/s
    },
    "rtx pro 6000 blackwell,ram=128": {  # 96 GB, 1.8 TB/s
        CHAT: "qwen3.6-27b gpt-oss-120b qwen3.5-122b-a10b",  # in 8 bits at 44 t/s
        AGENT: "qwen3.6-27b gpt-oss-120b qwen3.6-35b-a3b",  # 46 of Artificial Analysis; gpt-oss-120b 33
        CODE: "qwen3.6-27b gpt-oss-120b glm-4.5-air",  # 77 of SWE-bench Verified
        REASONING: "qwen3.6-27b glm-4.5-air gpt-oss-120b",  # as for code
        VISION: "gemma-4-31b-it qwen3.8-27b qwen3.6-27b qwen3.5-122b-a10b",  # 76.9 of MMMU-Pro
    },
    "8 x h100,ram=1024": {  # 640 GB: the largest there are
        CHAT: "deepseek-v3.1 deepseek-r1-0528 minimax-m2.7 glm-4.7",  # 671B in 6 bits
        AGENT: "minimax-m2.7 glm-4.7 glm-4.5 kimi-k2-thinking",  # large and with figures for agents
        CODE: "qwen3-coder-480b-a35b-instruct minimax-m2.5 minimax-m2.7 glm-4.7",  # 75 of LiveBench
        REASONING: "deepseek-r1-0528 qwen3-235b-a22b minimax-m2.7 glm-4.7",  # 91 of LiveBench's reasoning
        VISION: "kimi-k2.7-code kimi-k2.6 qwen3.5-397b-a17b",  # 1T in 4 bits, the largest that sees
    },
}  # fmt: skip


@pytest.mark.parametrize("machine", GOLDEN)
def test_an_expert_would_pick_the_same(machine: str) -> None:
    wrong = {}
    for use, good in GOLDEN[machine].items():
        first = next((one.known.name for one in best(machine, use)), "none")
        if first not in good.split():
            wrong[use.value] = f"{first}, not one of {good}"

    assert {} == wrong
