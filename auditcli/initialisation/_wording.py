"""What an initialisation check says about evidence, in one sentence a start. Public name: `sentences`."""

from __future__ import annotations

from collections.abc import Sequence

from auditcli.initialisation._result import NOTHING, Arrival, Kind

AS_LOW = 1.1
"""An objective is as low as another that is at most this many times it, or that is within `CLOSE`."""
CLOSE = 0.01
"""Of an objective that is 1 where images explain nothing."""
MOST = 0.5


def sentences(arrivals: Sequence[Arrival]) -> tuple[str, ...]:
    """One sentence an arrival, in their order, each against the run from the attack's own start."""
    own = next((one for one in arrivals if one.kind is Kind.OWN and not one.failed), None)
    return tuple(_sentence(arrival, own, place_of(own, arrivals)) for arrival in arrivals)


def place_of(own: Arrival | None, arrivals: Sequence[Arrival]) -> int | None:
    """Where the run from the attack's own start stands, to read `Arrival.shared` by."""
    return None if own is None else list(arrivals).index(own)


def _sentence(arrival: Arrival, own: Arrival | None, place: int | None) -> str:
    if arrival.failed:
        return f"From {arrival.start}: no result ({arrival.failed})."
    if own is None or place is None:
        return f"From {arrival.start} the objective is {arrival.objective:.2f}, with nothing to compare it to."
    if arrival is own:
        return _found(arrival)
    if own.objective > NOTHING:
        return f"From {arrival.start} the objective is {arrival.objective:.2f}, and from noise nothing was reached."
    numbers = f"({arrival.objective:.2f} against {own.objective:.2f})"
    low = arrival.objective <= max(AS_LOW * own.objective, own.objective + CLOSE)
    if arrival.kind is Kind.NEAR:
        return f"From {arrival.start}: {_near(arrival, own, numbers, low=low)}."
    shared = arrival.shared[place]
    return f"From {arrival.start}: {_strangers(arrival, numbers, shared or 0.0, low=low)}."


def _found(own: Arrival) -> str:
    if own.objective > NOTHING:
        return (
            f"From {own.start} the objective stays at {own.objective:.2f}: the images explain next to nothing, for "
            "want of a budget or because the weights do not rest, and there is nothing to compare with."
        )
    objective = f"From {own.start} the objective falls from {own.first_objective:.2f} to {own.objective:.2f}"
    if own.after is None:
        return f"{objective}; without members and controls nobody can say what the images are."
    verdict = "more members than controls" if own.after.test.p_value <= 0.05 else "no more members than controls"
    return f"{objective}, and the images are like {verdict} (p = {own.after.test.p_value:.1g})."


def _strangers(arrival: Arrival, numbers: str, shared: float, *, low: bool) -> str:
    """What it means where an attack begins from images that were not trained on."""
    stayed = arrival.stayed >= MOST
    if low and stayed:
        return (
            f"the objective is as low {numbers}, and {arrival.stayed:.0%} of the images did not move: a low objective "
            "is no evidence that an image was trained on"
        )
    if low and shared >= MOST:
        return (
            f"the objective is as low {numbers}, and {shared:.0%} of the images are those found from noise: what is "
            "found does not depend on the start"
        )
    if low:
        return (
            f"the objective is as low {numbers}, and {shared:.0%} of the images are those found from noise: many "
            "images solve the condition, and the start chooses among them"
        )
    if stayed:
        return (
            f"the objective stays higher {numbers}, and {arrival.stayed:.0%} of the images did not move: the attack "
            "does not leave where it begins, and the objective shows it"
        )
    return (
        f"the objective stays higher {numbers}, and {shared:.0%} of the images are those found from noise: the start "
        "decides how far the attack comes"
    )


def _near(arrival: Arrival, own: Arrival, numbers: str, *, low: bool) -> str:
    """What it means where an attack begins near images that are believed to have been trained on."""
    if own.objective > max(AS_LOW * arrival.objective, arrival.objective + CLOSE):
        return (
            f"the objective is lower than from noise {numbers}: there is a better solution than noise leads to, and "
            f"{arrival.stayed:.0%} of the images kept near their start"
        )
    if low:
        return (
            f"the objective is no lower than from noise {numbers}: it does not tell these images from others, wherever "
            "they came from"
        )
    return f"the objective stays higher than from noise {numbers}: these images solve the condition worse than others"
