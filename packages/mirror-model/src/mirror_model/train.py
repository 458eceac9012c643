"""The one training loop. A method says what a batch costs (`learner.Learner`); everything else is the same for all.

A training can be stopped after any step and goes on as if it never had been: on CPU, bit by bit (`streams`). Several
processes run this loop in step, each on its share of every batch; the first of them writes.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from mirror_data.errors import BadInput, Interrupted
from mirror_data.progress import Progress
from torch import Tensor, nn

from mirror_model.averaging import make_average
from mirror_model.batches import PatientData, epoch_batches
from mirror_model.checkpoint import (
    CheckpointDocument,
    CheckpointFolder,
    Kind,
    Position,
    Saved,
    optimiser_tensors,
    restore_network,
    restore_optimiser,
)
from mirror_model.config import TrainConfig
from mirror_model.draws import random_draw
from mirror_model.gradients import Arithmetic, Part, batch_gradients
from mirror_model.learner import Learner
from mirror_model.loader import loading
from mirror_model.metrics_log import MetricsLog, Pace, told
from mirror_model.optimiser import learning_rate, make_optimiser, make_scaler, restore_scaler, scaler_tensors
from mirror_model.processes import ALONE, Processes
from mirror_model.streams import Use, numpy_stream, seed_torch
from mirror_model.trackers import NO_TRACKER, Tracker
from mirror_model.validation import validate


@dataclass(frozen=True)
class Training:
    """Everything one fold's training works on."""

    learner: Learner
    network: nn.Module
    config: TrainConfig
    fold: int
    train: PatientData
    validation: PatientData
    folder: CheckpointFolder
    document: CheckpointDocument  # of the start; position and files are filled in by the loop
    preparation: Mapping[str, Tensor]
    arithmetic: Arithmetic
    processes: Processes = ALONE
    unlabelled: int = 0  # training patients left out of supervised training, whose outcome is not known


def fit(
    training: Training,
    saved: Saved | None,
    stop: Callable[[], bool],
    progress: Progress,
    tracker: Tracker = NO_TRACKER,
) -> CheckpointDocument:
    """Train to the end, from the start or from a saved state; returns the document of the chosen weights.

    Args:
        tracker: hears the metrics of every epoch.

    Raises:
        Interrupted: ``stop`` said so; everything up to the last step is saved.
        BadInput: ``DIVERGED`` if the loss is no longer a number.
        ProcessLost: another process of the training died.
    """
    loop = Loop(training, tracker)
    if saved is None:
        loop.start()
    else:
        loop.resume(saved)
        progress.advance(loop.position.epoch, "resumed")
    while not loop.done:
        progress.advance(1, loop.run_epoch(stop))
    return loop.finish()


class Loop:
    """The state of a training between two steps."""

    def __init__(self, training: Training, tracker: Tracker = NO_TRACKER) -> None:
        self.t, self.tracker, self.log = training, tracker, MetricsLog(training.folder.path)
        self.optimiser = make_optimiser(training.network, training.config.optimiser)
        self.parameters = [p for p in training.network.parameters() if p.requires_grad]
        self.average = make_average(training.network, training.config.optimiser)
        self.scaler = make_scaler(training.config.precision, training.arithmetic.device)
        self.noise = training.learner.noise_sizes(training.network)
        self.position = Position()
        self.batches_an_epoch = max(1, math.ceil(len(training.train) / training.config.batch_size))

    @property
    def done(self) -> bool:
        """Whether all epochs are over, or the validation loss has not fallen for ``patience`` of them."""
        at, config = self.position, self.t.config
        waited = 0 if at.best_epoch is None else at.epoch - at.best_epoch
        return at.epoch >= config.epochs or 0 < config.patience <= waited

    def start(self) -> None:
        """The untrained network is epoch 0 of the log, and what ``epochs = 0`` keeps."""
        self.t.processes.agree(self.t.network)
        if self.t.processes.leads:
            self.t.folder.clear()  # one that was killed before it saved has left a line in the log
        self.t.learner.before_step(self.t.network)
        if self.t.processes.leads:
            self.t.folder.clear()  # leavings of a training that was stopped before it saved anything
        self._log({"epoch": 0, **self._validate()})
        self._save(("last",))

    def resume(self, saved: Saved) -> None:
        restore_network(self.t.network, saved.network, self.t.folder.path)
        if saved.optimiser is not None:
            restore_optimiser(self.optimiser, saved.optimiser)
            restore_scaler(self.scaler, saved.optimiser)
            if self.average is not None:
                self.average.restore(saved.optimiser)
        self.position = saved.document.position
        if self.t.processes.leads:
            self.log.cut(self.position.epoch, saved.document.log)

    def run_epoch(self, stop: Callable[[], bool]) -> str:
        """What is left of the present epoch; returns a word about it."""
        epoch, first = self.position.epoch, self.position.step
        order = epoch_batches(len(self.t.train), self.t.config.batch_size, self._stream(Use.ORDER, epoch))
        started, patients = time.monotonic(), 0
        self.t.network.train()
        with loading(lambda step: self.parts(order[step], epoch, step), range(first, len(order))) as loader:
            for step, parts in zip(range(first, len(order)), loader, strict=True):
                if self.t.processes.any(stop()):
                    self._save(("last",))
                    raise Interrupted("INTERRUPTED", "training stopped; run the same command again to go on")
                self._step(parts, epoch * len(order) + step)
                patients += len(order[step])
        seconds = max(time.monotonic() - started, 1e-9)
        means = {name: self.position.sums[name] / count for name, count in sorted(self.position.counts.items())}
        self.position = self.position.model_copy(update={"epoch": epoch + 1, "step": 0, "sums": {}, "counts": {}})
        checked = self._validate()
        pace = Pace(seconds, patients / seconds, loader.waited_s / seconds)
        values = {"epoch": epoch + 1, **means, **checked}
        self._log({**values, **vars(pace)})
        self._save(("best", "last") if self._is_best(checked) else ("last",))
        return told(values, pace)

    def parts(self, members: np.ndarray, epoch: int, step: int) -> list[Part]:
        """This process's share of a batch, in parts of at most ``micro_batch`` patients."""
        t = self.t
        seed, fold, words = t.config.seed, t.fold, (Use.STEP, epoch, step)
        own = np.array_split(np.arange(len(members)), t.processes.count)[t.processes.rank]
        pieces = np.array_split(own, -(-len(own) // (t.config.runtime.micro_batch or len(own))))
        made = []
        for number, places in enumerate(pieces):
            streams = [self._stream(*words, int(place)) for place in places]
            batch = t.train.batch(members[places], random_draw(t.config.data), streams, self.noise)
            start = partial(seed_torch, seed, fold, *words, t.processes.rank, number)
            made.append(Part(batch, start))
        return made

    def _step(self, parts: list[Part], number: int) -> None:
        """One optimiser step."""
        config, network = self.t.config, self.t.network
        rate = learning_rate(config.optimiser, number, config.epochs * self.batches_an_epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.t.learner.before_step(network)
        values = self.gradients(parts)
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, config.optimiser.clip or math.inf))
        values["gradient_norm"] = norm
        if not math.isfinite(norm) and self.scaler.is_enabled():
            values.pop("gradient_norm")  # float16 overflowed: the scaler leaves the step out and halves its factor
        self._require_finite(values)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.average is not None:
            self.average.update(number)
        self._add({**values, "lr": rate})

    def _require_finite(self, values: Mapping[str, float]) -> None:
        overflows = self.scaler.is_enabled() and self.scaler.get_scale() < 1
        if overflows or not all(map(math.isfinite, values.values())):
            hint = "lower optimiser.lr, or set optimiser.clip" + (", or precision = bf16" if overflows else "")
            got = f"epoch {self.position.epoch + 1}, step {self.position.step + 1}"
            raise BadInput("DIVERGED", "the loss is no longer a finite number", key="optimiser.lr", got=got, hint=hint)

    def gradients(self, parts: list[Part]) -> dict[str, float]:
        """Leave the batch's gradients in the network; returns the loss and its terms."""
        t = self.t
        self.optimiser.zero_grad(set_to_none=True)
        cost = batch_gradients(t.learner, t.network, parts, t.arithmetic, t.processes, self.scaler.scale)
        self.scaler.unscale_(self.optimiser)
        numbers = torch.stack([cost.loss.detach(), *cost.terms.values()]).double().tolist()
        return dict(zip(["loss", *cost.terms], numbers, strict=True))

    def _add(self, values: Mapping[str, float]) -> None:
        sums, counts = dict(self.position.sums), dict(self.position.counts)
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value
            counts[name] = counts.get(name, 0) + 1
        changed = {"step": self.position.step + 1, "sums": sums, "counts": counts}
        self.position = self.position.model_copy(update=changed)

    def _stream(self, *words: int) -> np.random.Generator:
        return numpy_stream(self.t.config.seed, self.t.fold, *words)

    def _validate(self) -> dict[str, float]:
        """The validation part's metrics, in the epochs that ask for them; every process finds the first one's."""
        t, epoch = self.t, self.position.epoch
        due = epoch % t.config.runtime.validate_every == 0 or epoch == t.config.epochs
        found = t.learner.diagnostics(t.network)
        if due and len(t.validation):
            with self._shown(), torch.random.fork_rng(devices=[]):
                t.learner.before_step(t.network)
                seed_torch(t.config.seed, t.fold, Use.START)
                stream = partial(self._stream, Use.START)
                found |= validate(t.learner, t.network, t.validation, t.config, stream, t.arithmetic)
        return dict(zip(found, t.processes.leaders(list(found.values())), strict=True))

    def _is_best(self, checked: Mapping[str, float]) -> bool:
        loss = checked.get("validation_loss")
        if loss is None or (self.position.best_loss is not None and loss >= self.position.best_loss):
            return False
        changed = {"best_epoch": self.position.epoch, "best_loss": loss}
        self.position = self.position.model_copy(update=changed)
        return True

    def _log(self, values: Mapping[str, float]) -> None:
        if self.t.processes.leads:
            self.log.append(values)
            self.tracker.log(values)

    def _save(self, kinds: tuple[Kind, ...]) -> None:
        if not self.t.processes.leads:
            return
        document = self.t.document.model_copy(update={"position": self.position, "log": self.log.mark()})
        state = optimiser_tensors(self.optimiser) | scaler_tensors(self.scaler)
        if self.average is not None:
            state |= self.average.tensors()
        with self._shown():
            self.t.learner.before_step(self.t.network)
            self.t.folder.save(kinds, document, self.t.network.state_dict(), self.t.preparation, state)

    def _shown(self) -> AbstractContextManager[None]:
        """While the block runs, the network holds the weights that are validated and kept."""
        return nullcontext() if self.average is None else self.average.shown()

    def finish(self) -> CheckpointDocument:
        """Name the chosen weights ``model``."""
        self.t.processes.wait()
        chosen = self.t.folder.document("best" if self.t.config.choose == "best" else "last")
        if chosen is None:
            message = "there is no best epoch: the split has no validation part"
            raise BadInput("BAD_OPTION", message, key="choose", expected="last", got="best")
        self.t.processes.wait()
        if self.t.processes.leads:
            self.t.folder.point("model", chosen)
        return chosen


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """While the block runs, SIGTERM and SIGINT only raise a flag; the loop looks at it between two steps."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda number, _frame: seen.append(number))
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
