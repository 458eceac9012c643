"""TransMIL (Shao et al. 2021, arXiv 2106.00908) alone: the slide encoder that MIRROR modified, and a linear head."""

from __future__ import annotations

from torch import Tensor, nn

from mirror_model.baselines.config import TransmilConfig
from mirror_model.baselines.supervised import Classifier, Scored
from mirror_model.mirror import Shapes
from mirror_model.slide_encoder import SlideEncoder, encode_bags
from mirror_model.tasks import Task


class Transmil(Classifier):
    """Slide encoder and one linear layer: (B, N, P) -> (B, K).

    With nystrom attention a patient's logits depend on the others of the batch; published are batches of one.
    """

    def __init__(self, config: TransmilConfig, shapes: Shapes, task: Task) -> None:
        super().__init__()
        self.slide = SlideEncoder(config.model, shapes.tile_width)
        self.head = nn.Linear(config.model.dim, task.outputs)

    def forward(self, tiles: Tensor, counts: Tensor, expression: Tensor | None, *, weights: bool = False) -> Scored:
        encoded = encode_bags(self.slide, tiles, counts, weights=weights)
        return Scored(self.head(encoded.embedding), encoded.weights)
