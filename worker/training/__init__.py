"""A plain training loop for adapters and full models, shared by the labs."""
