"""A package, so that no wheel that ships a folder called tests (torchstain does) can stand in for it."""
