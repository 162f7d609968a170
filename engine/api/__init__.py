"""The contract between the engine and its fronts: requests go down, events come up, nothing but plain data.

Imports nothing outside the standard library, not even MLX, so that any thread and any process may hold these.
"""
