"""The metrics that reports can hold: titles, units, directions and formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MISSING = "-"
"""The cell of a value that does not exist."""


@dataclass(frozen=True)
class MetricInfo:
    """How a metric is written."""

    label: str
    unit: str = ""
    digits: int = 2
    better: Literal["higher", "lower", ""] = ""
    """Empty where neither direction is better."""

    @property
    def title(self) -> str:
        """Head of a column: the label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def format(self, value: float | None, *, signed: bool = False) -> str:
        """A value with the metric's digits; MISSING for None; never a negative zero."""
        if value is None:
            return MISSING
        text = f"{value:{'+' if signed else ''}.{self.digits}f}"
        return text if float(text) else text.lstrip("+-")

    def format_interval(self, figure: Mapping[str, float | None], *, signed: bool = False) -> str:
        """A value with its interval, from the `value`, `low` and `high` of a report's JSON."""
        value, low, high = (
            self.format(figure.get(end), signed=signed) for end in ("value", "low", "high")
        )
        return value if MISSING in (value, low) else f"{value} ({low} .. {high})"


METRICS: dict[str, MetricInfo] = {
    "auc": MetricInfo("AuC", "%", 2, "higher"),
    "auc_rebalanced": MetricInfo("AuC rebalanced", "%", 2, "higher"),
    "auc_half": MetricInfo("AuC, lambda 0.5", "%", 2, "higher"),
    "psnr": MetricInfo("PSNR", "dB", 2, "higher"),
    "psnr_lab": MetricInfo("PSNR of Lab", "dB", 2, "higher"),
    "ssim": MetricInfo("SSIM", "", 4, "higher"),
    "lpips": MetricInfo("LPIPS", "", 4, "lower"),
    "lpips_change": MetricInfo("LPIPS against gray", "%", 1, "lower"),
    "cast": MetricInfo("cast", "%", 2, "lower"),
    "fd": MetricInfo("FD", "", 2, "lower"),
    "fid": MetricInfo("FID", "", 1, "lower"),
    "colorfulness": MetricInfo("colorfulness CF", "", 2),
    "colorfulness_difference": MetricInfo("CF - truth, absolute", "", 2, "lower"),
    "colorfulness_lab": MetricInfo("colorfulness in Lab", "", 2),
    "colorfulness_ratio": MetricInfo("CF / truth", "", 3),
    "colorfulness_lab_ratio": MetricInfo("Lab form / truth", "", 3),
    "top1": MetricInfo("top-1", "%", 1, "higher"),
    "top5": MetricInfo("top-5", "%", 1, "higher"),
    "top1_recovered": MetricInfo("top-1 gap recovered", "%", 1, "higher"),
    "top5_recovered": MetricInfo("top-5 gap recovered", "%", 1, "higher"),
    "skin_auc": MetricInfo("AuC of skin", "%", 2, "higher"),
    "skin_error_ratio": MetricInfo("error / gray's", "", 3, "lower"),
    "skin_chroma_ratio": MetricInfo("chroma / truth", "", 3),
    "skin_chroma_error": MetricInfo("chroma - truth", "ab", 1),
    "skin_hue_error": MetricInfo("hue - truth", "degrees", 1),
    "skin_ita": MetricInfo("ITA", "degrees", 1),
    "skin_ita_error": MetricInfo("ITA - truth", "degrees", 1),
    "rare_recall": MetricInfo("rare colors within 20 ab", "%", 2, "higher"),
    "js_divergence": MetricInfo("JS divergence of colors", "nats", 4, "lower"),
    "chroma_ratio": MetricInfo("chroma / truth", "", 3),
    "spread_ratio": MetricInfo("spread / truth", "", 3),
    "patchiness": MetricInfo("patchiness in segments", "ab", 2, "lower"),
    "flip_difference": MetricInfo("change when mirrored", "ab", 2, "lower"),
    "border": MetricInfo("error at the border - inside", "ab", 2, "lower"),
    "contour": MetricInfo("error at contours - elsewhere", "ab", 2, "lower"),
    "bleeding": MetricInfo("contrast leaked at edges", "%", 1, "lower"),
    "edge_f1": MetricInfo("F1 of color edges", "%", 1, "higher"),
}
"""Every metric that can occur, in the order of the tables."""
FAILURES = tuple(METRICS)[tuple(METRICS).index("rare_recall") :]
"""The metrics of the five failures, which have a table of their own."""
SKIN = tuple(name for name in METRICS if name.startswith("skin_"))
"""The metrics of skin, which have tables of their own."""


def lower_is_better(name: str) -> bool:
    """Whether less of a metric is better; of names that are not in METRICS, more is better."""
    return name in METRICS and METRICS[name].better == "lower"
