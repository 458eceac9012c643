"""The linear protocol's survival probe: scaler, strength chosen by inner validation, and one of two linear heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mirror_eval import cox
from mirror_eval.probe import INNER_PARTS
from mirror_eval.ridge import HeldOutLoss, Rotation, Scaler, choose_strength, deal, strengths
from mirror_eval.survival_head import DiscreteHazard, Slopes, TimeBins, fit_rotated, hazard_losses

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
            loss = _cox_loss(rotated, rotation.scale, time, event)
        else:
            loss = _hazard_loss(rotated, rotation.scale, bins, time, event, slopes)
        strength = choose_strength(loss, deal(2 * bins.of(time) + event, parts, seed), candidates)
    if head == "cox":
        return SurvivalProbe(scaler, cox.fit_cox(scaled, time, event, strength))
    theta, intercepts = fit_rotated(rotated, rotation.scale, bins, time, event, strength, slopes)
    return SurvivalProbe(scaler, DiscreteHazard(bins, rotation.axes @ theta, intercepts, strength))


def _hazard_loss(
    rotated: np.ndarray, scale: np.ndarray, bins: TimeBins, time: np.ndarray, event: np.ndarray, slopes: Slopes
) -> HeldOutLoss:
    """Loss of held-out patients under the discrete head."""

    def loss(strength: float, fitted: np.ndarray, held: np.ndarray) -> float:
        theta, intercepts = fit_rotated(rotated[fitted], scale, bins, time[fitted], event[fitted], strength, slopes)
        return float(hazard_losses(rotated[held] @ theta + intercepts, bins.of(time[held]), event[held]).sum())

    return loss


def _cox_loss(rotated: np.ndarray, scale: np.ndarray, time: np.ndarray, event: np.ndarray) -> HeldOutLoss:
    """What held-out patients add to the log partial likelihood of the fitted ones, with the sign turned."""
    everyone = cox.RiskSets.of(time, event)

    def loss(strength: float, fitted: np.ndarray, _held: np.ndarray) -> float:
        sets = cox.RiskSets.of(time[fitted], event[fitted])
        risk = rotated @ cox.fit_rotated(rotated[fitted], scale, sets, strength)
        return cox.partial_likelihood(risk, everyone).value - cox.partial_likelihood(risk[fitted], sets).value

    return loss
