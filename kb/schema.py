"""How topics, references and points look in content files."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from kb.text import Text

Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=80)]


# Slugs without an order of their own; kept sorted, so that files and database agree.
SlugSet = Annotated[list[Slug], AfterValidator(sorted)]


EditorialStatus = Literal["draft", "review", "published"]


class Source(BaseModel):
    """Base class of everything read from a content file: nothing unknown is accepted."""

    model_config = ConfigDict(extra="forbid")


class TopicSource(Source):
    slug: Slug
    title: Text
    summary: Text


class ReferenceSource(Source):
    """A work that content may cite as `[@key]`."""

    key: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=80)]
    title: Annotated[str, Field(max_length=300)]
    authors: str
    year: Annotated[int, Field(ge=1900, le=2100)]
    venue: str = ""
    arxiv: Annotated[str, Field(pattern=r"^(\d{4}\.\d{4,5})?$")] = ""
    doi: str = ""
    url: Annotated[str, Field(pattern=r"^(https://\S+)?$")] = ""


class PointSource(Source):
    """A knowledge point. All texts but the title are Markdown."""

    slug: Slug
    topic: Slug
    position: Annotated[int, Field(ge=0)]  # reading order inside the topic
    title: Text
    definition: Text  # can be said aloud in one breath
    mechanism: Text  # with the formula and its shapes
    practice: Text  # why it matters
    mistake: Text  # the common one
    example: Text = Text()  # worked, where a number is involved
    prerequisites: SlugSet = []
    covers: list[str] = []  # ids of content/inventory.yaml
    status: EditorialStatus = "published"
