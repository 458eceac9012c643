"""A gene matrix whose products run through torch, on a GPU where there is one: 200,000 genes of 1,000 samples fit.

Products, weights and scores are of float64 as on the CPU, so that the same genes are chosen; solving stays on the CPU.

Shapes: g genes, n samples, c machines; d genes asked for, m samples fitted on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from mirror_data.errors import BadInput
from mirror_data.rna.crew import ALONE, Crew
from mirror_data.rna.gene_matrix import GeneMatrix, Lens, Read
from mirror_data.rna.standardise import Standardised

_BLOCK = 16384  # genes


class TorchGeneMatrix(GeneMatrix):
    """Expression with genes as rows (g, n), also on a device.

    Args:
        values: as of `GeneMatrix`.
        lens: as of `GeneMatrix`.
        device: torch's name, as "cuda"; it must know float64.
        stored: the values if they are there already.
    """

    def __init__(
        self, values: np.ndarray, lens: Lens | None = None, *, device: str, stored: torch.Tensor | None = None
    ) -> None:
        super().__init__(values, lens)
        self._device = torch.device(device)
        self._stored = torch.tensor(self.values, device=self._device) if stored is None else stored  # (g, n)
        self._mean = torch.tensor(self.mean, device=self._device)[:, None]  # (g, 1)
        self._scale = torch.tensor(self.scale, device=self._device)[:, None]  # (g, 1)

    @classmethod
    def on(cls, ready: Standardised, device: str) -> TorchGeneMatrix:
        """Standardised genes on a device.

        Raises:
            BadInput: ``BAD_OPTION`` if torch does not know the device, or it does not compute in float64.
        """
        try:
            torch.ones(1, dtype=torch.float64, device=device)
        except (RuntimeError, AssertionError, TypeError) as error:
            raise BadInput(
                "BAD_OPTION",
                "torch cannot compute there in float64",
                key="--device",
                got=device,
                hint="use cpu or cuda",
            ) from error
        return cls(ready.raw, Lens(ready.mean, ready.scale, float(np.sqrt(ready.raw.shape[1]))), device=device)

    def standardised_on(self, places: np.ndarray, crew: Crew = ALONE) -> TorchGeneMatrix:
        """See `GeneMatrix.standardised_on`."""
        mean, spread = np.empty(self.genes), np.empty(self.genes)
        chosen = torch.tensor(places, device=self._device)
        for start in range(0, self.genes, _BLOCK):
            part = slice(start, start + _BLOCK)
            rows = self._stored[part].index_select(1, chosen).double()  # (d, m)
            middle = rows.mean(dim=1, keepdim=True)
            mean[part] = middle[:, 0].cpu().numpy()
            spread[part] = (rows - middle).square().mean(dim=1).sqrt().cpu().numpy()
        lens = self._lens(mean, spread, len(places))
        return TorchGeneMatrix(self.values, lens, device=str(self._device), stored=self._stored)

    def rows(self, genes: np.ndarray, places: np.ndarray, dtype: type = np.float64) -> np.ndarray:
        """See `GeneMatrix.rows`."""
        return torch.cat([rows.cpu() for rows in self._seen(genes, places)]).numpy().astype(dtype)

    def gram(self, genes: np.ndarray, places: np.ndarray, crew: Crew = ALONE, *, rough: bool = False) -> np.ndarray:
        """See `GeneMatrix.gram`."""
        total = torch.zeros((len(places), len(places)), dtype=torch.float64, device=self._device)
        for rows in self._seen(genes, places):
            seen = rows.float() if rough else rows
            total += seen.T @ seen
        return total.cpu().numpy()

    def weights(self, genes: np.ndarray, beta: np.ndarray, crew: Crew = ALONE) -> np.ndarray:
        """See `GeneMatrix.weights`."""
        return self.read(genes, beta, crew).weights

    def read(self, genes: np.ndarray, beta: np.ndarray, crew: Crew = ALONE) -> Read:
        """See `GeneMatrix.read`."""
        there = torch.tensor(beta, device=self._device)  # (c, n)
        weights, scores = [], torch.zeros_like(there)
        for rows in self._seen(genes, np.arange(self.samples)):
            weights.append(there @ rows.T)  # (c, d)
            scores += weights[-1] @ rows
        if not weights:
            return Read(np.zeros((0, len(beta))), scores.cpu().numpy())
        return Read(torch.cat(weights, dim=1).T.contiguous().cpu().numpy(), scores.cpu().numpy())

    def _seen(self, genes: np.ndarray, places: np.ndarray) -> Iterator[torch.Tensor]:
        """Blocks of genes as they are fitted: float64 (d, m)."""
        names, chosen = torch.tensor(genes, device=self._device), torch.tensor(places, device=self._device)
        for start in range(0, len(genes), _BLOCK):
            block = names[start : start + _BLOCK]
            rows = self._stored.index_select(0, block)
            rows = (rows if len(places) == self.samples else rows.index_select(1, chosen)).double()
            yield (rows - self._mean[block]) * self._scale[block]
