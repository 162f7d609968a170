"""How a device says that its memory has run out.

Knows nothing of what was under way. Cheap to import. On Linux's CPU MLX says nothing: the process is ended by the
system, or by a null pointer (0.32.4); what is counted before it is taken has to keep that from happening.
"""

from engine.api.errors import EngineError

WORDS = ("malloc", "allocate", "Insufficient Memory", "OutOfMemory")
"""Of MLX's errors: of its allocators, and of Metal's command buffers."""


def is_out_of_memory(error: BaseException) -> bool:
    """By what was raised; what Fovea says itself is no such error."""
    if isinstance(error, EngineError):
        return False
    return isinstance(error, MemoryError) or any(word in str(error) for word in WORDS)
