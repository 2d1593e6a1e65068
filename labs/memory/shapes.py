"""The dimensions of a decoder-only Transformer, and what follows from them alone."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelShape:
    """The dimensions of a decoder-only Transformer, as its paper or its configuration file gives them.

    `gated` MLPs have gate, up and down projections (SwiGLU, GeGLU); the others only up and down. `biased` models have
    biases in every linear layer and LayerNorm (weight and bias); the others have RMSNorm, and biases on queries, keys
    and values only where `query_biased`.
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool = False  # one matrix serves as embedding and as output head
    gated: bool = True
    biased: bool = False
    learned_positions: int = 0
    query_biased: bool = False
    output_biased: bool = False  # of attention
    mlp_biased: bool = False
    norms: int = 2  # a block, each `hidden` wide
    head_norms: bool = False  # one norm for all query heads and one for all key heads, each `head_size` wide
    experts: int = 0  # a block's MLPs, of which a router chooses; 0: one MLP without a router

    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """(d_out, d_in) of every linear layer of one block; the output head is not part of a block.

        Experts are not layers here: transformers keeps those of a block as one tensor.
        """
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        attention = {
            "q_proj": (queries, self.hidden),
            "k_proj": (keys, self.hidden),
            "v_proj": (keys, self.hidden),
            "o_proj": (self.hidden, queries),
        }
        return attention if self.experts else attention | self.mlp_layers()

    def mlp_layers(self) -> dict[str, tuple[int, int]]:
        """(d_out, d_in) of the layers of one MLP, or of one expert."""
        gate = {"gate_proj": (self.intermediate, self.hidden)} if self.gated else {}
        return gate | {
            "up_proj": (self.intermediate, self.hidden),
            "down_proj": (self.hidden, self.intermediate),
        }

    def block_parameters(self) -> int:
        """Everything in one block: matrices, biases, norms, experts and their router."""
        matrices = sum(d_out * d_in for d_out, d_in in self.linear_layers().values())
        head_norms = 2 * self.head_size if self.head_norms else 0
        return matrices + sum(self.biases()) + self.norms * self._norm() + head_norms + self._experts()

    def parameters(self) -> int:
        """All parameters: embeddings, blocks, norms, and the output head unless it is tied."""
        matrices = self.vocabulary * (1 if self.tied else 2) + self.learned_positions
        return matrices * self.hidden + self.layers * self.block_parameters() + self._norm()

    def _norm(self) -> int:
        return self.hidden * (2 if self.biased else 1)

    def _experts(self) -> int:
        each = sum(d_out * d_in for d_out, d_in in self.mlp_layers().values())
        return self.experts * (each + self.hidden)

    def biases(self) -> list[int]:
        """Widths of the biases of one block."""
        biased = {
            "q_proj": self.query_biased,
            "k_proj": self.query_biased,
            "v_proj": self.query_biased,
            "o_proj": self.output_biased,
        }
        layers = self.linear_layers().items()
        return [d_out for name, (d_out, _) in layers if self.biased or biased.get(name, self.mlp_biased)]
