"""Data sets by name."""

from worker.data.facts import Fact, facts_digest, load_facts


def load(name: str) -> list[Fact]:
    """The rows of a data set; ValueError for an unknown name."""
    if name != "facts":
        raise ValueError(f"Unknown data set {name!r}; allowed: facts")
    return load_facts()


def digests() -> dict[str, str]:
    """The SHA-256 of each data set's file."""
    return {"facts": facts_digest()}
