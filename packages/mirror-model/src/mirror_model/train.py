"""The one training loop. A method supplies its step (`learner.Learner`); everything else is the same for all.

Every random number of a step comes from (seed, fold, epoch, step) alone, so that a training can be stopped after any
step and goes on as if it never had been: on CPU, bit by bit.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import torch
from mirror_data.errors import BadInput, Interrupted
from mirror_data.progress import Progress
from torch import Tensor, nn

from mirror_model.averaging import make_average, without_average
from mirror_model.batches import PatientData, epoch_batches, random_draw
from mirror_model.checkpoint import (
    METRICS,
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
from mirror_model.learner import Learner
from mirror_model.optimiser import learning_rate, make_optimiser
from mirror_model.validation import validate


class Use(IntEnum):
    """What a random stream is for; part of its seed."""

    START = 0
    ORDER = 1
    STEP = 2


def numpy_stream(*words: int) -> np.random.Generator:
    """A random stream of its own for each tuple of words."""
    return np.random.default_rng(np.random.SeedSequence(words))


def seed_torch(*words: int) -> None:
    """Start PyTorch's own stream from a tuple of words."""
    seed = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed takes 0.6 ms to note who called it, for a GPU to come
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


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
    device: torch.device
    autocast: bool  # bf16
    unlabelled: int = 0  # training patients left out of supervised training, whose outcome is not known


def fit(training: Training, saved: Saved | None, stop: Callable[[], bool], progress: Progress) -> CheckpointDocument:
    """Train to the end, from the start or from a saved state; returns the document of the chosen weights.

    Raises:
        Interrupted: ``stop`` said so; everything up to the last step is saved.
        BadInput: ``DIVERGED`` if the loss is no longer a number.
    """
    loop = Loop(training)
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

    def __init__(self, training: Training) -> None:
        self.t = training
        self.optimiser = make_optimiser(training.network, training.config.optimiser)
        self.parameters = [p for p in training.network.parameters() if p.requires_grad]
        self.average = make_average(training.network, training.config.optimiser)
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
        self.t.learner.before_step(self.t.network)
        self._log({"epoch": 0, **self._validate()})
        self._save(("last",))

    def resume(self, saved: Saved) -> None:
        restore_network(self.t.network, saved.network, self.t.folder.path)
        if saved.optimiser is not None:
            restore_optimiser(self.optimiser, without_average(saved.optimiser))
            if self.average is not None:
                self.average.restore(saved.optimiser)
        self.position = saved.document.position
        log = self.t.folder.path / METRICS
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["epoch"] <= self.position.epoch))

    def run_epoch(self, stop: Callable[[], bool]) -> str:
        """What is left of the present epoch; returns a word about it."""
        epoch, seed = self.position.epoch, self.t.config.seed
        order = epoch_batches(len(self.t.train), self.t.config.batch_size, self._stream(Use.ORDER, epoch))
        started, patients = time.monotonic(), 0
        self.t.network.train()
        for step in range(self.position.step, len(order)):
            if stop():
                self._save(("last",))
                raise Interrupted("INTERRUPTED", "training stopped; run the same command again to go on")
            seed_torch(seed, self.t.fold, Use.STEP, epoch, step)
            self._step(order[step], self._stream(Use.STEP, epoch, step), epoch * len(order) + step)
            patients += len(order[step])
        seconds = time.monotonic() - started
        means = {name: self.position.sums[name] / count for name, count in sorted(self.position.counts.items())}
        self.position = self.position.model_copy(update={"epoch": epoch + 1, "step": 0, "sums": {}, "counts": {}})
        checked = self._validate()
        speed = patients / max(seconds, 1e-9)
        self._log({"epoch": epoch + 1, **means, **checked, "seconds": seconds, "patients_per_second": speed})
        self._save(("best", "last") if self._is_best(checked) else ("last",))
        return f"loss {means.get('loss', math.nan):.3f}, {speed:.0f} patients/s"

    def _step(self, members: np.ndarray, rng: np.random.Generator, number: int) -> None:
        """One optimiser step."""
        config, network = self.t.config, self.t.network
        rate = learning_rate(config.optimiser, number, config.epochs * self.batches_an_epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.t.learner.before_step(network)
        self.optimiser.zero_grad(set_to_none=True)
        values = self.gradients(members, rng)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, config.optimiser.clip or math.inf)
        values["gradient_norm"] = float(norm)
        if not all(map(math.isfinite, values.values())):
            hint = "lower optimiser.lr, or set optimiser.clip"
            got = f"epoch {self.position.epoch + 1}, step {self.position.step + 1}"
            raise BadInput("DIVERGED", "the loss is no longer a finite number", key="optimiser.lr", got=got, hint=hint)
        self.optimiser.step()
        if self.average is not None:
            self.average.update(number)
        self._add({**values, "lr": rate})

    def gradients(self, members: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
        """Leave the batch's gradients in the network; returns the loss and its terms.

        In parts of at most ``micro_batch`` patients, each counting by its share: the same gradients in less memory.
        """
        most = self.t.config.runtime.micro_batch or len(members)
        found: dict[str, float] = {}
        for part in np.array_split(members, -(-len(members) // most)):
            share = len(part) / len(members)
            batch = self.t.train.batch(part, random_draw(self.t.config.data, rng)).to(self.t.device)
            with torch.autocast(self.t.device.type, torch.bfloat16, enabled=self.t.autocast):
                step = self.t.learner.step(self.t.network, batch)
            (step.loss * share).backward()
            numbers = torch.stack([step.loss.detach(), *step.terms.values()]).double().tolist()
            for name, value in zip(["loss", *step.terms], numbers, strict=True):
                found[name] = found.get(name, 0.0) + share * value
        return found

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
        """The validation part's metrics, in the epochs that ask for them."""
        t, epoch = self.t, self.position.epoch
        due = epoch % t.config.runtime.validate_every == 0 or epoch == t.config.epochs
        own = t.learner.diagnostics(t.network)
        if not due or not len(t.validation):
            return own
        with self._shown(), torch.random.fork_rng(devices=[]):
            t.learner.before_step(t.network)
            seed_torch(t.config.seed, t.fold, Use.START)
            rng = self._stream(Use.START)
            return {**own, **validate(t.learner, t.network, t.validation, t.config, rng, t.device, t.autocast)}

    def _is_best(self, checked: Mapping[str, float]) -> bool:
        loss = checked.get("validation_loss")
        if loss is None or (self.position.best_loss is not None and loss >= self.position.best_loss):
            return False
        changed = {"best_epoch": self.position.epoch, "best_loss": loss}
        self.position = self.position.model_copy(update=changed)
        return True

    def _log(self, values: Mapping[str, float]) -> None:
        path = self.t.folder.path
        path.mkdir(parents=True, exist_ok=True)
        with (path / METRICS).open("a") as file:
            file.write(json.dumps(values, sort_keys=True) + "\n")

    def _save(self, kinds: tuple[Kind, ...]) -> None:
        document = self.t.document.model_copy(update={"position": self.position})
        state = optimiser_tensors(self.optimiser)
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
        chosen = self.t.folder.document("best" if self.t.config.choose == "best" else "last")
        if chosen is None:
            message = "there is no best epoch: the split has no validation part"
            raise BadInput("BAD_OPTION", message, key="choose", expected="last", got="best")
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


def read_log(folder: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl, one an epoch."""
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
