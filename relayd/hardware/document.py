"""A machine as JSON."""

from dataclasses import asdict
from typing import Any

from relayd.hardware.machine import Device, Machine, NumaNode

SCHEMA = 1
"""Counts breaking changes; members are added without one."""


def document(machine: Machine) -> dict[str, Any]:
    """Return the machine as JSON-ready values, sizes in bytes and bandwidths in 10**9 bytes a second."""
    cpu, memory, limit = machine.cpu, machine.memory, machine.memory.limit
    return {
        "schema": SCHEMA,
        "os": machine.os,
        "arch": machine.arch,
        "cpu_key": machine.cpu_key(),
        "cpu": {
            "model": cpu.model,
            "physical_cores": cpu.physical_cores,
            "logical_cores": cpu.logical_cores,
            "allowed_cores": cpu.allowed_cores,
            "quota_cores": cpu.quota_cores,
            "usable_cores": cpu.usable_cores,
            "instruction_sets": list(cpu.instruction_sets),
        },
        "memory": {
            "total_bytes": memory.total,
            "available_bytes": memory.available,
            "usable_bytes": memory.usable,
            "limit_bytes": limit and limit.limit,
            "limit_usage_bytes": limit and limit.usage,
            "limit_reclaimable_bytes": limit and limit.reclaimable,
        },
        "numa_nodes": [_node(node) for node in machine.nodes],
        "devices": [_device(device) for device in machine.devices],
        "notes": list(machine.notes),
    }


def _node(node: NumaNode) -> dict[str, Any]:
    return {
        "index": node.index,
        "memory_total_bytes": node.memory_total,
        "memory_available_bytes": node.memory_available,
        "cpus": sorted(node.cpus),
        "allowed": node.allowed,
    }


def _device(device: Device) -> dict[str, Any]:
    return {
        "key": device.key,
        "kind": str(device.kind),
        "index": device.index,
        "uuid": device.uuid,
        "name": device.name,
        "memory_total_bytes": device.memory_total,
        "memory_free_bytes": device.memory_free,
        "unified": device.unified,
        "driver": device.driver,
        "compute_capability": _dotted(device.compute_capability),
        "cuda_version": _dotted(device.cuda_version),
        "architecture": device.architecture,
        "pci": device.pci,
        "instance": device.instance,
        "display": device.display,
        "bandwidth": device.bandwidth and asdict(device.bandwidth),
        "holders": [{"pid": one.pid, "name": one.name, "memory_bytes": one.memory} for one in device.holders],
        "engine_name": device.engine_name,
    }


def _dotted(version: tuple[int, int] | None) -> str | None:
    return version and f"{version[0]}.{version[1]}"
