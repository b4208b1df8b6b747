"""Every engine of a record beside the cell that it was measured with: one run, interleaved, the same sentences."""

from typing import Any

from .table import markdown

Record = dict[str, Any]


def peers_table(record: Record) -> str:
    """Markdown: accuracy of each engine, how many times faster the cell is at each exact length and batch size with
    the 95 % interval of that ratio, the engine's own median latencies, and how it was set up.

    A ratio whose interval holds 1 is marked ``=``: no difference was found.
    """
    lengths = sorted((s for s in record["latency"] if s.startswith("tokens_")), key=_number)
    batches = sorted(record["throughput"], key=lambda name: (_number(name), name))
    head = ["engine", "accuracy %"]
    head += [f"cell × faster at {_number(s)} tokens" for s in lengths]
    head += [f"{'sorted ' if b.startswith('sorted') else ''}batch {_number(b)}" for b in batches]
    head += [f"p50 ms at {' / '.join(str(_number(s)) for s in lengths)} tokens", "cold start ms", "peak RSS MB"]
    body = [[f"**{record['names']['compression']}** (the cell)", _accuracy(record["quality"]), *[""] * len(lengths)]]
    body[0] += [f"{record['throughput'][b]['sentences_per_s']:.0f}/s" for b in batches]
    body[0] += [_medians(record["latency"], lengths), _cold(record["cold_start"]), _peak(record["memory"])]
    for name in record["baselines"]:
        line = [name, _accuracy(record.get("baseline_quality", {}).get(name))]
        line += [_ratio(record["speedup"][name].get(s)) for s in lengths]
        line += [_ratio(record["throughput_speedup"].get(name, {}).get(b)) for b in batches]
        line += [_medians(record["baselines"][name], lengths), _cold(record["baseline_cold_start"][name])]
        body.append([*line, _peak(record["baseline_memory"][name])])
    return markdown(head, body) + "\n\n" + "\n".join(_engines(record))


def _engines(record: Record) -> list[str]:
    lines = []
    for name, engine in record.get("engines", {}).items():
        versions = ", ".join(f"{k} {v}" for k, v in engine["versions"].items() if v)
        lines.append(f"- {name}: {versions}; {engine['session']}")
    return lines


def _number(name: str) -> int:
    return int(name.rsplit("_", 1)[1])


def _accuracy(quality: dict[str, Any] | None) -> str:
    return f"{100 * quality['accuracy']:.2f}" if quality else "-"


def _ratio(figures: dict[str, Any] | None) -> str:
    if not figures:
        return "-"
    mark = " =" if figures["verdict"] == "no difference" else ""
    return f"{figures['ratio']:.2f} [{figures['ci95_low']:.2f}, {figures['ci95_high']:.2f}]{mark}"


def _medians(latency: dict[str, Any], lengths: list[str]) -> str:
    return " / ".join(f"{latency[s]['latency_ms_p50']:.1f}" for s in lengths)


def _cold(cold: dict[str, Any]) -> str:
    return f"{cold['cold_start_ms_p50']['total']:.0f}"


def _peak(memory: dict[str, Any]) -> str:
    return f"{max(memory['after_load']['peak_rss_mb'], memory['batch_1']['peak_rss_mb']):.0f}"
