"""A pytest plugin: runs the tests as if MLX were not installed (`-p tests.without_mlx`)."""

from tests.absent import hide

hide("mlx", "mlx_lm")
