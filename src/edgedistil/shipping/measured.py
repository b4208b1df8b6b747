"""Times, memory and size of a record for a card; nothing of times that may not be quoted."""

from typing import Any

from ..reporting.rows import emulated, peak_rss_mb, timed
from ..reporting.table import markdown
from .product_facts import Facts


def size_table(facts: Facts, files: dict[str, int]) -> str:
    """Every file with its bytes, and what of them a process that serves the model opens."""
    size, parent = facts.record["size"], facts.record.get("parent_size")
    opened = f"{size['total_mb']:.2f} MB are what {facts.engine} and the tokenizer open"
    parts = f"model {size['model_mb']:.2f}, tokenizer {size['tokenizer_mb']:.2f}"
    before = f"; uncompressed: {parent['total_mb']:.2f} MB" if parent else ""
    body = [[f"`{name}`", f"{count:,}"] for name, count in sorted(files.items())]
    lines = [f"{opened} ({parts}; 1 MB is 10⁶ bytes){before}.", "", markdown(["file", "bytes"], body)]
    inside = facts.record["model"].get("onnx_bytes_by_part")
    if inside:
        told = ", ".join(f"{part} {count / 1e6:.2f}" for part, count in sorted(inside.items(), key=lambda i: -i[1]))
        lines += ["", f"Inside the graph, MB: {told}."]
    return "\n".join(lines)


def device_line(facts: Facts) -> str:
    """What the cell was measured on: never a host's name or a serial number."""
    record = facts.record
    device, environment = record["device"], record["environment"]
    phone = environment.get("device_facts", {})
    machine = " ".join(str(phone[k]) for k in ("manufacturer", "model", "soc") if phone.get(k))
    gpu = (environment.get("worker_facts") or {}).get("candidate", {}).get("gpu_name")
    versions = environment.get("engine", {}).get("versions", {})
    engine = f"{facts.engine} {versions[facts.engine]}" if facts.engine in versions else facts.engine
    parts = [
        f"device `{device['name']}`",
        machine or str(gpu or environment.get("cpu") or "processor not told"),
        f"instruction sets {' '.join(environment['isa'])}" if environment.get("isa") else "",
        f"{device['threads']} thread{'s' if device['threads'] > 1 else ''}",
        engine,
    ]
    return ", ".join(part for part in parts if part)


def speed(facts: Facts) -> str:
    """Latency, ratios, cold start and memory; else why there are none."""
    record = facts.record
    if not timed(record):
        return "Not measured: the record has scores and sizes alone."
    if emulated(record):
        return f"None: the device was emulated ({device_line(facts)}), so its answers count and its times mean nothing."
    if not record.get("valid", True):
        return (
            f"None: the times of this run may not be quoted ({'; '.join(record['invalid_because'])}). Measure it again "
            "on a quiet machine."
        )
    eager, dense = (record["speedup"].get(b, {}) for b in ("torch_fp32", "onnxruntime_fp32"))
    body = []
    for scenario, figures in sorted(record["latency"].items(), key=lambda item: _tokens(item[0])):
        tokens = f"{_tokens(scenario)}" if _tokens(scenario) else "as they come"
        body.append(
            [
                tokens,
                _interval(figures, "latency_ms_p50"),
                f"{figures['latency_ms_p90']:.2f}",
                _ratio(eager.get(scenario)),
                _ratio(dense.get(scenario)),
            ]
        )
    head = ["tokens", "p50 ms [95 %]", "p90 ms", "× PyTorch eager FP32 [95 %]", "× the uncompressed FP32 graph [95 %]"]
    start = record["cold_start"]["cold_start_ms_p50"]["total"]
    more = [f"start of a process to its first answer {start:.0f} ms", f"peak memory {peak_rss_mb(record):.0f} MB"]
    more += [f"{name.replace('_', ' of ')}: {f['sentences_per_s']:.0f} texts/s" for name, f in _batches(record)]
    return (
        f"One text at a time, {device_line(facts)}; ratios are of runs side by side and hold for this machine.\n\n"
        f"{markdown(head, body)}\n\nAlso there: {'; '.join(more)}."
    )


def _tokens(scenario: str) -> int:
    """Of a scenario of exact lengths; 0 of texts as they come."""
    return int(scenario.removeprefix("tokens_")) if scenario.startswith("tokens_") else 0


def _batches(record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(n, f) for n, f in record.get("throughput", {}).items() if n.startswith("batch_")]


def _interval(figures: dict[str, Any], name: str) -> str:
    low, high = (figures.get(f"{name}_ci95_{side}") for side in ("low", "high"))
    bounds = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return f"{figures[name]:.2f}{bounds}"


def _ratio(found: dict[str, Any] | None) -> str:
    return f"{found['ratio']:.2f} [{found['ci95_low']:.2f}, {found['ci95_high']:.2f}]" if found else ""
