"""Layers that look at pictures instead of at the text before them, among the layers of a Llama of mlx-lm's.

Knows nothing of towers. What pictures give is kept in such a layer's cache, as keys and values, for as long as the
sequence lives; which of them a token sees is told a step at a time. Source: transformers `modeling_mllama.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.models.cache import _BaseCache
from mlx_lm.models.llama import MLP, ModelArgs


@dataclass(frozen=True, slots=True)
class Gaze:
    """Which pictures a token sees: those from `first` on of the `begun` ones."""

    first: int = 0
    begun: int = 0
    amid: bool = False
    """Whether the token is a picture's own, so that a picture right behind it is seen together with this one."""

    def after(self, is_picture: bool) -> "Gaze":
        """The next token's."""
        if not is_picture:
            return Gaze(self.first, self.begun)
        return Gaze(self.first if self.amid else self.begun, self.begun + 1, amid=True)


class Sight:
    """What one sequence sees in one layer."""

    def __init__(self) -> None:
        self.gaze = Gaze()
        self.pictures: mx.array | None = None
        """(N, D) that keys and values have still to be made of."""
        self.keys: mx.array | None = None
        self.values: mx.array | None = None
        self.seen: mx.array | None = None
        """(L, N) bool: at what each token of this step may look; of the last step, once it is over."""

    @property
    def blind(self) -> bool:
        return self.pictures is None and self.keys is None

    @property
    def state(self) -> tuple[Any, ...]:
        """Where its gaze is, and what it looks at, once there are keys of that."""
        gaze = (self.gaze.first, self.gaze.begun, self.gaze.amid)
        return gaze if self.keys is None else (*gaze, self.keys, self.values, self.seen)

    @state.setter
    def state(self, value: Sequence[Any]) -> None:
        first, begun, amid, *looked = value
        self.gaze = Gaze(first, begun, amid)
        self.keys, self.values, self.seen = looked or (None, None, None)

    def step(self) -> mx.array:
        """(L, N); from then on what the last token sees, which later tokens see too."""
        seen, self.seen = self.seen, self.seen[-1:]
        return seen


class CrossCache(_BaseCache):
    """One `Sight` for each row of a batch: keys of different lengths are never padded to one."""

    def __init__(self, rows: Sequence[Sight] | None = None) -> None:
        self.rows = list(rows or [Sight()])

    @property
    def state(self) -> list[tuple[Any, ...]]:
        """One a row."""
        return [row.state for row in self.rows]

    @state.setter
    def state(self, value: Sequence[Sequence[Any]]) -> None:
        self.rows = [Sight() for _ in value]
        for row, state in zip(self.rows, value, strict=True):
            row.state = state

    @property
    def keys(self) -> mx.array | None:
        """(1, heads, N, d) of the first row, as mlx-lm's caches have it: none for text alone."""
        return self.rows[0].keys

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for row in self.rows for part in row.state if isinstance(part, mx.array))

    def empty(self) -> bool:
        return all(row.blind for row in self.rows)

    def is_trimmable(self) -> bool:
        """What a token saw of pictures that came after it stays in the other layers' caches."""
        return self.empty()

    def trim(self, n: int) -> int:
        return n

    @classmethod
    def merge(cls, caches: Iterable["CrossCache"]) -> "CrossCache":
        return cls([row for cache in caches for row in cache.rows])

    def extend(self, other: "CrossCache") -> None:
        self.rows += other.rows

    def filter(self, batch_indices: mx.array | Sequence[int]) -> None:
        self.rows = [self.rows[int(index)] for index in batch_indices]

    def extract(self, idx: int) -> "CrossCache":
        return CrossCache([self.rows[idx]])


class CrossAttention(nn.Module):
    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        width, dims = args.hidden_size, args.head_dim or args.hidden_size // args.num_attention_heads
        self._head_dim = dims
        self.q_proj = nn.Linear(width, args.num_attention_heads * dims, bias=False)
        self.k_proj = nn.Linear(width, args.num_key_value_heads * dims, bias=False)
        self.v_proj = nn.Linear(width, args.num_key_value_heads * dims, bias=False)
        self.o_proj = nn.Linear(args.num_attention_heads * dims, width, bias=False)
        self.q_norm = nn.RMSNorm(dims, args.rms_norm_eps)
        self.k_norm = nn.RMSNorm(dims, args.rms_norm_eps)

    def __call__(self, x: mx.array, rows: Sequence[Sight]) -> tuple[mx.array, mx.array]:
        """(B, L, D) -> the same, nothing for rows that are blind, and (B, L, 1) bool: which tokens see a picture."""
        queries = self.q_norm(self._heads(self.q_proj(x)))
        looked = [self._look(queries[number : number + 1], row) for number, row in enumerate(rows)]
        mixed, sees = (mx.concatenate(parts) for parts in zip(*looked, strict=True))
        return self.o_proj(mixed.swapaxes(1, 2).flatten(2)), sees

    def _look(self, queries: mx.array, row: Sight) -> tuple[mx.array, mx.array]:
        """(1, heads, L, d) -> the same and (1, L, 1)."""
        if row.blind:
            return mx.zeros_like(queries), mx.zeros((1, queries.shape[2], 1), mx.bool_)
        if row.pictures is not None:
            pictures, row.pictures = row.pictures[None], None
            row.keys = self.k_norm(self._heads(self.k_proj(pictures)))
            row.values = self._heads(self.v_proj(pictures))
        seen = row.step()
        sees = seen.any(axis=-1, keepdims=True)
        # A token ahead of all pictures looks at everything there is, so the reference.
        mixed = mx.fast.scaled_dot_product_attention(
            queries, row.keys, row.values, scale=self._head_dim**-0.5, mask=(seen | ~sees)[None, None]
        )
        return mixed, sees[None]

    def _heads(self, x: mx.array) -> mx.array:
        """(B, L, heads * d) -> (B, heads, L, d)."""
        return x.reshape(*x.shape[:2], -1, self._head_dim).swapaxes(1, 2)


class CrossBlock(nn.Module):
    """Takes the place of a layer. Both its halves come through gates; it does nothing where there is no picture."""

    use_sliding = False

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.cross_attn = CrossAttention(args)
        self.mlp = MLP(args)
        self.input_layernorm = nn.RMSNorm(args.hidden_size, eps=args.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(args.hidden_size, eps=args.rms_norm_eps)
        self.cross_attn_attn_gate = mx.zeros((1,))
        self.cross_attn_mlp_gate = mx.zeros((1,))

    def __call__(self, x: mx.array, mask: Any = None, cache: CrossCache | None = None) -> mx.array:
        """(B, L, D) -> the same. `mask` is that of the text."""
        if cache is None or cache.empty():
            return x
        mixed, sees = self.cross_attn(self.input_layernorm(x), cache.rows)
        x = x + mx.tanh(self.cross_attn_attn_gate) * mixed
        changed = self.mlp(self.post_attention_layernorm(x))
        return x + mx.tanh(self.cross_attn_mlp_gate) * mx.where(sees, changed, 0)


def look_at_pictures(decoder: nn.Module, places: Sequence[int]) -> None:
    """Put a `CrossBlock` at each of `places` among the layers of `decoder`."""
    for place in places:
        decoder.model.layers[place] = CrossBlock(decoder.args)
    # From whose cache the text's mask is taken.
    decoder.model.fa_idx = next(place for place in range(len(decoder.layers)) if place not in places)


def with_sight(cache: Sequence[Any], decoder: nn.Module) -> list[Any]:
    """These fresh caches of mlx-lm's, one a layer of `decoder`, with those that can hold pictures where it has them."""
    pairs = zip(decoder.layers, cache, strict=True)
    return [CrossCache() if isinstance(layer, CrossBlock) else own for layer, own in pairs]


def show(cache: Sequence[Any], pictures: mx.array, real: mx.array, is_picture: np.ndarray, each: int) -> None:
    """Let the tokens of a sequence's next step, of which `is_picture` (L,) stand for one, see those pictures that they
    come after: `pictures` (N, D), `each` so many of them, as far as they are `real` (N,). All steps of a prompt are
    given the same ones."""
    sights = [layer.rows[0] for layer in cache if isinstance(layer, CrossCache)]
    gaze, seen = sights[0].gaze, np.zeros((len(is_picture), len(pictures) // each), bool)
    for token, here in enumerate(is_picture):
        gaze = gaze.after(bool(here))
        seen[token, gaze.first : gaze.begun] = True
    looks = mx.repeat(mx.array(seen), each, axis=1) & real
    for sight in sights:
        if sight.blind:
            sight.pictures = pictures
        sight.seen, sight.gaze = looks, gaze
