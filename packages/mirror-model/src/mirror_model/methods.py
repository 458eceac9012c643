"""The methods that `mirror-model train --method` knows. A method is an entry here; the loop is the same for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mirror_data.errors import BadInput
from mirror_data.store import Modality

from mirror_model.baselines.abmil import Abmil
from mirror_model.baselines.config import config_of
from mirror_model.baselines.linear import Linear
from mirror_model.baselines.porpoise import Porpoise
from mirror_model.baselines.supervised import Classifier, SupervisedLearner
from mirror_model.baselines.tangle import TangleLearner
from mirror_model.baselines.transmil import Transmil
from mirror_model.config import TrainConfig
from mirror_model.learner import Learner
from mirror_model.mirror import Shapes
from mirror_model.mirror_learner import MirrorLearner
from mirror_model.tasks import TASKS, Task, TaskName


@dataclass(frozen=True)
class Method:
    """What a method is made from.

    A supervised method's learner is made from settings and a task, and gives predictions; the others' from settings
    alone, and they give embeddings.
    """

    learner: Callable[..., Learner]
    needs: tuple[Modality, ...] = ()  # a patient who lacks one is dropped; where none is named, either is enough
    tasks: tuple[TaskName, ...] = ()  # what it can be trained for; none: it takes no labels
    weighs_tiles: bool = True

    @property
    def reads_rna(self) -> bool:
        return not self.needs or "rna" in self.needs

    def make(self, config: TrainConfig, task: Task | None) -> Learner:
        return self.learner(config) if task is None else self.learner(config, task)


def _supervised(
    network: Callable[[Any, Shapes, Task], Classifier], *needs: Modality, weighs_tiles: bool = True
) -> Method:
    return Method(partial(SupervisedLearner, network), needs, TASKS, weighs_tiles)


METHODS: dict[str, Method] = {
    "mirror": Method(MirrorLearner),
    "linear": _supervised(Linear, "slide", "rna", weighs_tiles=False),
    "abmil": _supervised(Abmil, "slide"),
    "transmil": _supervised(Transmil, "slide"),
    "porpoise": _supervised(Porpoise, "slide", "rna"),
    "tangle": Method(TangleLearner, ("slide", "rna")),
}


def method_of(name: str) -> Method:
    """The method of that name.

    Raises:
        BadInput: ``BAD_OPTION``, listing the methods.
    """
    config_of(name)
    return METHODS[name]


def check_choice(name: str, config: TrainConfig, genes: str | None) -> Method:
    """The method, after checking that settings and genes go with it.

    Raises:
        BadInput: ``BAD_OPTION``.
    """
    method = method_of(name)
    if type(config) is not config_of(name):
        got = f"those of {config.method}"
        raise BadInput("BAD_OPTION", "these are another method's settings", key="--method", expected=name, got=got)
    if genes is not None and not method.reads_rna:
        raise BadInput("BAD_OPTION", f"{name} reads slides only", key="--genes", expected="no --genes", got=genes)
    return method
