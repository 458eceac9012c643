"""The linear protocol's classifier: multinomial logistic regression with a ridge penalty chosen by inner validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirror_eval.newton import EXACT, ROUGH, Local, minimise
from mirror_eval.ridge import Rotation, Scaler, choose_strength, deal, strengths

INNER_PARTS = 5


@dataclass(frozen=True)
class Logistic:
    """A fitted multinomial logistic regression on D features."""

    slopes: np.ndarray  # (D, K)
    intercepts: np.ndarray  # (K,)
    strength: float

    def log_probability(self, features: np.ndarray) -> np.ndarray:
        """(n, D) to (n, K)."""
        return log_softmax(features @ self.slopes + self.intercepts)

    def probability(self, features: np.ndarray) -> np.ndarray:
        """(n, D) to (n, K); rows sum to 1."""
        return np.exp(self.log_probability(features))


@dataclass(frozen=True)
class Probe:
    """A scaler and the classifier behind it, fitted on the same development patients."""

    scaler: Scaler
    model: Logistic

    def probability(self, features: np.ndarray) -> np.ndarray:
        """(n, D) unscaled features to (n, K)."""
        return self.model.probability(self.scaler.apply(features))


def fit_logistic(features: np.ndarray, label: np.ndarray, classes: int, strength: float) -> Logistic:
    """Minimise the summed cross entropy + strength / 2 * |slopes|^2 over K slope vectors and K free intercepts.

    Args:
        features: (n, D). label: (n,) class numbers 0..K-1.
        strength: > 0. For two classes this equals binary logistic regression with half the strength.
    """
    rotation = Rotation.fit(features)
    found = _fit_rotated(rotation.apply(features), rotation.scale, label, classes, strength)
    return _logistic(rotation, found, classes, strength)


def fit_probe(
    features: np.ndarray, label: np.ndarray, classes: int, *, seed: int, scaler: Scaler | None = None
) -> Probe:
    """Fit scaler, strength and classifier on development patients.

    The strength is the one with the least cross entropy over 5 inner parts, dealt by class (fewer where the rarest
    class has fewer patients; the middle strength where a class has one patient only).

    Args:
        features: (n, D) unscaled. label: (n,) class numbers. seed: deals the inner parts.
        scaler: one already fitted on development patients (few-shot); fitted here if None.
    """
    scaler = Scaler.fit(features) if scaler is None else scaler
    scaled = scaler.apply(features)
    rotation = Rotation.fit(scaled)
    rotated = rotation.apply(scaled)  # (n, r)
    candidates = strengths(features.shape[1])
    strength = float(candidates[len(candidates) // 2])
    parts = min(INNER_PARTS, int(np.bincount(label, minlength=classes).min()))

    def held_out_losses(fitted: np.ndarray, held: np.ndarray) -> np.ndarray:
        found, losses = None, []
        for strength in candidates[::-1]:  # each strength starts from the solution of the next stronger one
            found = _fit_rotated(rotated[fitted], rotation.scale, label[fitted], classes, strength, found, ROUGH)
            log_p = _logistic(None, found, classes, strength).log_probability(rotated[held])
            losses.append(-log_p[np.arange(len(held)), label[held]].sum())
        return np.array(losses[::-1])

    if parts >= 2:
        strength = choose_strength(held_out_losses, deal(label, parts, seed), candidates)
    found = _fit_rotated(rotated, rotation.scale, label, classes, strength)
    return Probe(scaler, _logistic(rotation, found, classes, strength))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log probabilities (n, K) of logits (n, K). scipy's takes several times as long for as few classes."""
    below = logits - logits.max(axis=1, keepdims=True)
    return below - np.log(np.exp(below).sum(axis=1, keepdims=True))


def _logistic(rotation: Rotation | None, found: np.ndarray, classes: int, strength: float) -> Logistic:
    """The model of a solution: in the original features, or without ``rotation`` in the rotated ones."""
    slopes, intercepts = found[:-classes].reshape(-1, classes), found[-classes:]
    slopes = slopes if rotation is None else rotation.axes @ slopes
    return Logistic(slopes, intercepts - intercepts.mean(), strength)


def _fit_rotated(
    rotated: np.ndarray,
    scale: np.ndarray,
    label: np.ndarray,
    classes: int,
    strength: float,
    start: np.ndarray | None = None,
    precision: float = EXACT,
) -> np.ndarray:
    """Slopes (r, K) and intercepts (K,) for rotated features (n, r), as one vector."""
    n, r = rotated.shape
    truth = np.eye(classes)[label]  # (n, K)
    share = np.clip(truth.mean(axis=0), 1.0 / (n + 1), None)
    bend = share * (1.0 - share) + 1e-3  # (K,) second derivative of the loss in a logit

    def local(parameters: np.ndarray) -> Local:
        slopes, intercepts = parameters[: r * classes].reshape(r, classes), parameters[r * classes :]
        log_p = log_softmax(rotated @ slopes + intercepts)  # (n, K)
        chance = np.exp(log_p)

        def back(rest: np.ndarray, theta: np.ndarray) -> np.ndarray:
            return np.concatenate([(rotated.T @ rest + strength * theta).ravel(), rest.sum(axis=0)])

        def product(vector: np.ndarray) -> np.ndarray:
            theta = vector[: r * classes].reshape(r, classes)
            pushed = chance * (rotated @ theta + vector[r * classes :])  # (n, K)
            return back(pushed - chance * pushed.sum(axis=1, keepdims=True), theta)

        loss = 0.5 * strength * float((slopes**2).sum()) - float((truth * log_p).sum())
        return Local(loss, back(chance - truth, slopes), product)

    start = np.concatenate([np.zeros(r * classes), np.log(share)]) if start is None else start
    curvature = np.concatenate([(scale[:, None] ** 2 * bend + strength).ravel(), n * bend])
    return minimise(local, start, curvature, precision)
