"""The linear protocol's survival probe: scaler, strength chosen by inner validation, and one of two linear heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mirror_eval import cox
from mirror_eval.newton import ROUGH
from mirror_eval.probe import INNER_PARTS
from mirror_eval.ridge import HeldOutLosses, Rotation, Scaler, choose_strength, deal, strengths
from mirror_eval.survival_head import DiscreteHazard, Slopes, TimeBins, fit_rotated, hazard_losses, hazard_model

Head = Literal["discrete", "cox"]
HEADS: tuple[Head, ...] = ("discrete", "cox")


@dataclass(frozen=True)
class SurvivalProbe:
    """A scaler and the survival model behind it, fitted on the same development patients."""

    scaler: Scaler
    model: DiscreteHazard | cox.Cox

    def risk(self, features: np.ndarray) -> np.ndarray:
        """(n, D) unscaled features to (n,), higher = worse."""
        return self.model.risk(self.scaler.apply(features))

    def survival(self, features: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(n, D) unscaled features to (n, T): chance to live beyond each time."""
        return self.model.survival(self.scaler.apply(features), times)


def fit_survival_probe(
    features: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    *,
    seed: int,
    head: Head = "discrete",
    slopes: Slopes = "shared",
    bins: TimeBins | None = None,
    scaler: Scaler | None = None,
) -> SurvivalProbe:
    """Fit scaler, bins, strength and head on development patients.

    The strength is the one with the least loss over 5 inner parts dealt by event and time bin (fewer where there are
    fewer events; the middle strength with one event): the likelihood of held-out patients, for Cox the cross-validated
    partial likelihood of Verweij and van Houwelingen 1993, doi:10.1002/sim.4780122407.

    Args:
        features: (n, D) unscaled. time: (n,) days. event: (n,) bool, True at least once. seed: deals the inner parts.
        bins, scaler: already fitted on development patients (few-shot); fitted here if None.
    """
    scaler = Scaler.fit(features) if scaler is None else scaler
    bins = TimeBins.fit(time, event) if bins is None else bins
    scaled = scaler.apply(features)
    rotation = Rotation.fit(scaled)
    rotated = rotation.apply(scaled)  # (n, r)
    candidates = strengths(scaled.shape[1])
    strength = float(candidates[len(candidates) // 2])
    parts = min(INNER_PARTS, int(event.sum()))
    if parts >= 2:
        if head == "cox":
            losses = _cox_losses(rotated, rotation.scale, time, event, candidates)
        else:
            losses = _hazard_losses(rotated, rotation.scale, bins, time, event, slopes, candidates)
        strength = choose_strength(losses, deal(2 * bins.of(time) + event, parts, seed), candidates)
    if head == "cox":
        return SurvivalProbe(scaler, cox.fit_cox(scaled, time, event, strength))
    found = fit_rotated(rotated, rotation.scale, bins, time, event, strength, slopes)
    return SurvivalProbe(scaler, hazard_model(rotation.axes, bins, found, strength))


def _hazard_losses(
    rotated: np.ndarray,
    scale: np.ndarray,
    bins: TimeBins,
    time: np.ndarray,
    event: np.ndarray,
    slopes: Slopes,
    candidates: np.ndarray,
) -> HeldOutLosses:
    """Loss of held-out patients under the discrete head."""
    as_they_are = np.eye(rotated.shape[1])

    def losses(fitted: np.ndarray, held: np.ndarray) -> np.ndarray:
        found, values = None, []
        for strength in candidates[::-1]:  # each strength starts from the solution of the next stronger one
            found = fit_rotated(
                rotated[fitted], scale, bins, time[fitted], event[fitted], strength, slopes, found, ROUGH
            )
            logits = hazard_model(as_they_are, bins, found, strength).logits(rotated[held])
            values.append(hazard_losses(logits, bins.of(time[held]), event[held]).sum())
        return np.array(values[::-1])

    return losses


def _cox_losses(
    rotated: np.ndarray, scale: np.ndarray, time: np.ndarray, event: np.ndarray, candidates: np.ndarray
) -> HeldOutLosses:
    """What held-out patients add to the log partial likelihood of the fitted ones, with the sign turned."""
    everyone = cox.RiskSets.of(time, event)

    def losses(fitted: np.ndarray, _held: np.ndarray) -> np.ndarray:
        sets = cox.RiskSets.of(time[fitted], event[fitted])
        found, values = None, []
        for strength in candidates[::-1]:
            found = cox.fit_rotated(rotated[fitted], scale, sets, strength, found, ROUGH)
            risk = rotated @ found
            whole, part = cox.partial_likelihood(risk, everyone), cox.partial_likelihood(risk[fitted], sets)
            values.append(whole.value - part.value)
        return np.array(values[::-1])

    return losses
