"""How the report writes numbers, the same in every format.

Public names: `p_value`, `p_claim`, `score`, `percent`, `interval`, `rate_interval`, `duration`, `count`, `statistic`,
`size`, `moment`.
"""

from datetime import UTC, datetime

from auditcli.report.schema import Interval


def p_value(value: float | None) -> str:
    """A p- or q-value with two significant digits, `< 0.0001` below that, `n/a` where there is none."""
    if value is None:
        return "n/a"
    if value < 0.0001:
        return "< 0.0001"
    return f"{value:.2g}" if value >= 0.001 else f"{value:.4f}"


def p_claim(value: float) -> str:
    """`p = 0.43` or `p < 0.0001`."""
    written = p_value(value)
    return f"p {written}" if written.startswith("<") else f"p = {written}"


def score(value: float | None) -> str:
    """An SSIM or agreement of one image with two decimals, `n/a` where there is none: redaction leaves no more."""
    return "n/a" if value is None else f"{value:.2f}"


def estimate(value: float | None) -> str:
    """An AUC or the mean of many images with three decimals, `n/a` where there is none."""
    return "n/a" if value is None else f"{value:.3f}"


def percent(value: float) -> str:
    """A share in [0, 1] as a percentage with at most one decimal; no non-zero share is rounded to nothing."""
    if 0 < value < 0.001:
        return "< 0.1%"
    return f"{100 * value:.1f}".removesuffix(".0") + "%"


def interval(value: Interval | None) -> str:
    """`0.712 (0.655 to 0.768)`, `n/a` where there is none."""
    return "n/a" if value is None else f"{estimate(value.value)} ({estimate(value.low)} to {estimate(value.high)})"


def rate_interval(value: Interval | None) -> str:
    """`12% (5% to 21.5%)`, `n/a` where there is none."""
    return "n/a" if value is None else f"{percent(value.value)} ({percent(value.low)} to {percent(value.high)})"


def duration(seconds: float) -> str:
    """`4.2 s`, `9 min 12 s` or `1 h 5 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest if not hours else 0, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def count(value: int, noun: str = "") -> str:
    """A whole number with commas between the thousands, and its noun where one is given: `1 step`, `4,000 steps`."""
    if not noun:
        return f"{value:,}"
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def statistic(value: float) -> str:
    """A test statistic with at most six significant digits."""
    return f"{value:,.6g}"


def size(value: int) -> str:
    """Bytes in the largest fitting decimal unit, e.g. `3.1 MB`."""
    amount = float(value)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def utc(value: datetime) -> datetime:
    """The same moment in UTC; one without a time zone is taken for UTC."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def moment(value: datetime) -> str:
    """A point in time in UTC, to the minute."""
    return f"{utc(value):%Y-%m-%d %H:%M} UTC"
