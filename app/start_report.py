"""How long the window took to appear, counted from the start of the process.

Knows nothing of what happened meanwhile.
"""

import json
import time


def print_start_report() -> None:
    """One line of JSON, `{"window_ms": 640}`, for `benchmarks/start.py`."""
    # The clock is read first: psutil itself takes a moment to import.
    now = time.time()
    import psutil

    print(json.dumps({"window_ms": round(1000 * (now - psutil.Process().create_time()))}), flush=True)
