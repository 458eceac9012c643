"""The MIRROR network, its losses, its baselines and one training loop."""
