"""The memory of a training step, storage by storage: simulated without weights, or measured in a real step."""
