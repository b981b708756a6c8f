"""Writes the metrics into a model card, between its two markers."""

import re

import data


def fill(name: str, results: dict) -> None:
    path = data.MODELS / name / "README.md"
    lines = []
    for where, metrics in results.items():
        lines += [f"**{where}**", "", "| measure | value |", "| --- | --- |"]
        for key, value in metrics.items():
            if isinstance(value, dict):
                value = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in value.items())
            elif isinstance(value, float) and value < 1e-3:
                value = f"{value:.1e}"
            lines.append(f"| {key.replace('_', ' ')} | {value} |")
        lines.append("")
        print(where, metrics, flush=True)
    text = path.read_text() if path.exists() else "<!-- metrics -->\n<!-- /metrics -->\n"
    text = re.sub(r"(<!-- metrics -->\n).*?(<!-- /metrics -->)", lambda m: m[1] + "\n".join(lines) + m[2], text, flags=re.S)
    path.write_text(text)
