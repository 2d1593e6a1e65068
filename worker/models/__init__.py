"""The model store: which weights there are, where they come from, and how they are loaded.

`store` knows names, files and digests and imports no torch; `convert`, `load` and `tiny` do the heavy work.
"""
