"""The gradients of a whole batch, from parts of it that fit in memory, or that several processes hold.

A contrastive loss compares all patients of a batch, so the mean of its parts' losses is not its own. As in GradCache
(Gao et al. 2021, arXiv 2101.06983), every part is encoded without gradients first; the loss of what was gathered gives
the gradient of each patient's encoding; then each part is encoded again, with the same random numbers, and that
gradient goes back through it. What a batch costs does not depend on how it is cut, nor on how many processes share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mirror_model.batches import Batch
from mirror_model.learner import Cost, Encoded, Learner, no_pairs
from mirror_model.processes import Processes


@dataclass(frozen=True)
class Arithmetic:
    """Where and how precisely to compute."""

    device: torch.device
    autocast: torch.dtype | None = None  # of what may be computed with fewer digits; None: nothing

    def encode(self, learner: Learner, network: nn.Module, batch: Batch) -> Encoded:
        """What the network makes of a batch, under the precision asked for."""
        kind = self.autocast or torch.bfloat16
        with torch.autocast(self.device.type, kind, enabled=self.autocast is not None):
            return learner.encode(network, batch.to(self.device))


@dataclass(frozen=True)
class Part:
    """Some patients of a batch, and what starts the random numbers that the network draws for them."""

    batch: Batch
    seed: Callable[[], None]


def batch_gradients(
    learner: Learner,
    network: nn.Module,
    parts: Sequence[Part],
    arithmetic: Arithmetic,
    processes: Processes,
    scale: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> Cost:
    """Leave the gradients of a batch's loss in the network; returns what the batch costs.

    Args:
        parts: this process's patients of the batch; at least one.
        scale: makes the loss, and with it all gradients, larger; for float16.
    """

    def encode(part: Part) -> Encoded:
        part.seed()
        return arithmetic.encode(learner, network, part.batch)

    if learner.task is not None:
        return _of_means(learner, network, parts, encode, processes, scale)
    whole = len(parts) == 1
    with torch.set_grad_enabled(whole):
        encoded = [encode(part) for part in parts]
    gathered = _gathered(encoded, processes)
    cost = _start_backward(learner, network, gathered, processes, scale)
    for part, first, place in zip(parts, encoded, _places(encoded, processes), strict=True):
        _backward(first if whole else encode(part), gathered, place)
    _add_gradients(network, processes)
    return cost


def _of_means(
    learner: Learner,
    network: nn.Module,
    parts: Sequence[Part],
    encode: Callable[[Part], Encoded],
    processes: Processes,
    scale: Callable[[Tensor], Tensor],
) -> Cost:
    """A supervised loss is a mean over patients: its slope is known before any is seen, and each is encoded once."""
    patients = sum(len(part.batch.patient_ids) for part in parts)
    counts = processes.add(torch.tensor([float(patients)], device=next(network.parameters()).device))
    none = no_pairs(counts)
    slope = Encoded(torch.zeros_like(counts).requires_grad_(), counts, none, none)
    _start_backward(learner, network, slope, processes, scale)
    sums = torch.zeros_like(counts)
    for part in parts:
        encoded = encode(part)
        _backward(encoded, slope, slice(0))
        sums += encoded.sums.detach()
    _add_gradients(network, processes)
    with torch.no_grad():
        return learner.cost(network, Encoded(processes.add(sums), counts, none, none))


def _start_backward(
    learner: Learner,
    network: nn.Module,
    gathered: Encoded,
    processes: Processes,
    scale: Callable[[Tensor], Tensor],
) -> Cost:
    """Leave the loss's gradients in what was gathered, and in the parameters that it uses itself."""
    cost = learner.cost(network, gathered)
    scale(cost.loss).backward()
    if not processes.leads:  # what the loss itself gives a parameter (the logit scale, a penalty) counts once
        network.zero_grad(set_to_none=True)
    return cost


def _gathered(parts: Sequence[Encoded], processes: Processes) -> Encoded:
    """The encodings of the whole batch, cut off from what made them; gradients will gather in them."""
    sums = processes.add(torch.stack([part.sums.detach() for part in parts]).sum(0))
    counts = processes.add(torch.stack([part.counts for part in parts]).sum(0))
    pairs = [
        processes.gather(_rows([getattr(part, side).detach() for part in parts])) for side in ("slide_pair", "rna_pair")
    ]
    return Encoded(sums.requires_grad_(), counts, *(rows.requires_grad_() for rows in pairs))


def _rows(parts: list[Tensor]) -> Tensor:
    """Rows of all parts; one without a row has no width of its own."""
    return torch.cat([part for part in parts if len(part)] or parts[:1])


def _places(parts: Sequence[Encoded], processes: Processes) -> Iterator[slice]:
    """Which rows of the gathered pairs are each part's."""
    counts = [len(part.slide_pair) for part in parts]
    start = processes.place(torch.empty(sum(counts), 0))
    for count in counts:
        yield slice(start, start + count)
        start += count


def _backward(encoded: Encoded, gathered: Encoded, place: slice) -> None:
    """Send the gathered encodings' gradients back through a part."""
    own, given = [], []
    for name, rows in (("sums", slice(None)), ("slide_pair", place), ("rna_pair", place)):
        tensor, gradient = getattr(encoded, name), getattr(gathered, name).grad
        if tensor.requires_grad and gradient is not None and tensor.numel():
            own.append(tensor)
            given.append(gradient[rows].to(tensor.dtype))
    if own:
        torch.autograd.backward(own, given)


def _add_gradients(network: nn.Module, processes: Processes) -> None:
    """Add up the gradients of all processes; a parameter without one in each of them stays without."""
    if processes.count == 1:
        return
    parameters = [p for p in network.parameters() if p.requires_grad]
    there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32)
    wanted = [p for p, count in zip(parameters, processes.add(there).tolist(), strict=True) if count]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten().float() for p in wanted])
    for parameter, part in zip(wanted, processes.add(flat).split([p.numel() for p in wanted]), strict=True):
        parameter.grad = part.view_as(parameter).to(parameter.dtype)
