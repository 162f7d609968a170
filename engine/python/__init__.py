"""The Python API: mlx-vlm's call shapes over an engine on a thread of its own.

What `engine` itself offers by name; nothing else in the engine knows of it.
"""
