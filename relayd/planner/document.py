"""How does advice read as JSON? Sizes are bytes, speeds tokens a second, and every number has its tag."""

from typing import Any

from relayd.planner.fleet import FleetPlan
from relayd.planner.placement import NoPlace, Placement
from relayd.planner.processor import Tag
from relayd.planner.recommend import Advice
from relayd.planner.speed import Estimate

SCHEMA = 1
"""Counts breaking changes; members are added without one."""


def advice_document(advice: Advice, *, confirmed: bool = False) -> dict[str, Any]:
    """Return one model with its verdict.

    Args:
        advice: What is known of it.
        confirmed: Whether the engine confirmed its memory.
    """
    ranked = advice.ranked
    return {
        "model": advice.known.name,
        "license": advice.known.license,
        "recommended": advice.good,
        "score": round(ranked.score, 2),
        "quality": {"value": round(ranked.candidate.quality.score, 2), "tag": Tag.MODELLED},
        "reasons": list(ranked.reasons),
        **outcome_document(advice.outcome, confirmed=confirmed),
    }


def outcome_document(outcome: Placement | NoPlace, *, confirmed: bool = False) -> dict[str, Any]:
    """Return how a model runs, or what it lacks."""
    if isinstance(outcome, NoPlace):
        return {
            "placement": None,
            "shortages": [
                {
                    "what": short.what,
                    "device": short.room.key,
                    "need_bytes": short.need,
                    "need_is_least": short.at_least,
                    "usable_bytes": short.room.usable,
                    "total_bytes": short.room.total,
                    "kept_free_bytes": short.room.margin,
                    "holders": [{"pid": one.pid, "name": one.name} for one in short.room.holders],
                }
                for short in outcome.shortages
            ],
        }
    setup, memory = outcome.setup, Tag.MEASURED if confirmed else Tag.MODELLED
    return {
        "placement": {
            "quantization": outcome.form.quantization.name,
            "file_bytes": {"value": outcome.form.nbytes, "tag": Tag.CATALOGUE},
            "place": outcome.place,
            "context": outcome.context,
            "slots": outcome.slots,
            "cache_type": setup.type_k,
            "gpu_layers": outcome.layers[0],
            "layers": outcome.layers[1],
            "experts_on_cpu": setup.experts_on_cpu,
            "devices": [gpu.key for gpu in setup.gpus],
            "shares": [gpu.share for gpu in setup.gpus],
            "prompt_cache_mib": setup.cache_ram_mib,
            "memory": {key: {"bytes": nbytes, "tag": memory} for key, nbytes in outcome.needs.items()},
            "tokens_per_second": {
                "alone": _estimate(outcome.alone),
                "each": _estimate(outcome.decoding.each),
                "together": _estimate(outcome.decoding.together),
                "prompt": _estimate(outcome.prefill),
            },
            "fast_enough": outcome.fast_enough,
            "reasons": list(outcome.reasons),
        }
    }


def plan_document(plan: FleetPlan) -> dict[str, Any]:
    """Return the plan of a machine."""
    return {
        "schema": SCHEMA,
        "complete": plan.complete,
        "replicas": [{"name": one.name, **outcome_document(one.outcome)} for one in plan.assignments],
        "devices": [
            {
                "key": before.key,
                "total_bytes": before.total,
                "free_bytes": before.free,
                "planned_bytes": before.free - left.free,
                "left_bytes": left.usable,
                "over_bytes": left.over,
                "kept_free_bytes": before.margin,
            }
            for before, left in zip(plan.before.rooms, plan.left.rooms, strict=True)
        ],
        "notes": list(plan.notes),
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": round(estimate.value, 2),
        "low": round(estimate.low, 2),
        "high": round(estimate.high, 2),
        "tag": estimate.tag,
    }
