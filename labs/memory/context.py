"""What the CUDA driver takes for kernels and bookkeeping before the first tensor: no simulation can count it."""

CONTEXT = 400_000_000  # bytes
CONTEXT_SOURCE = "pytorch/pytorch issue 109888: about 400 MB with lazy loading (CUDA 11.7 and later)"
