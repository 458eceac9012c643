"""The linear protocol's survival probe: scaler, strength chosen by inner validation, and one of two linear heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mirror_eval import cox
from mirror_eval.probe import INNER_PARTS
from mirror_eval.ridge import Rotation, Scaler, choose_strength, deal, strengths
from mirror_eval.survival_head import DiscreteHazard, Slopes, TimeBins, fit_hazard, fit_rotated, hazard_losses

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
    candidates = strengths(scaled.shape[1])
    parts = min(INNER_PARTS, int(event.sum()))
    strength = float(candidates[len(candidates) // 2])
    if parts >= 2:
        dealt = deal(2 * bins.of(time) + event, parts, seed)
        loss = _cox_loss(scaled, time, event) if head == "cox" else _hazard_loss(scaled, time, event, bins, slopes)
        strength = choose_strength(loss, dealt, candidates)
    if head == "cox":
        return SurvivalProbe(scaler, cox.fit_cox(scaled, time, event, strength))
    return SurvivalProbe(scaler, fit_hazard(scaled, time, event, strength, slopes=slopes, bins=bins))


def _hazard_loss(scaled: np.ndarray, time: np.ndarray, event: np.ndarray, bins: TimeBins, slopes: Slopes):
    """Loss of held-out patients under the discrete head, as `choose_strength` wants it."""
    rotation = Rotation.fit(scaled)
    rotated = rotation.apply(scaled)  # (n, r)

    def loss(strength: float, fitted: np.ndarray, held: np.ndarray) -> float:
        theta, intercepts = fit_rotated(
            rotated[fitted], rotation.scale, bins, time[fitted], event[fitted], strength, slopes
        )
        return float(hazard_losses(rotated[held] @ theta + intercepts, bins.of(time[held]), event[held]).sum())

    return loss


def _cox_loss(scaled: np.ndarray, time: np.ndarray, event: np.ndarray):
    """What the held-out patients add to the log partial likelihood, with the sign turned."""
    rotation = Rotation.fit(scaled)
    rotated = rotation.apply(scaled)  # (n, r)
    everyone = cox.RiskSets.of(time, event)

    def loss(strength: float, fitted: np.ndarray, held: np.ndarray) -> float:
        sets = cox.RiskSets.of(time[fitted], event[fitted])
        risk = rotated @ cox.fit_rotated(rotated[fitted], rotation.scale, sets, strength)
        return cox.partial_likelihood(risk[fitted], sets)[0] - cox.partial_likelihood(risk, everyone)[0]

    return loss
