"""A form that may take for ever to be made ready, tried in a process of its own first: it can be ended, a thread not.

Knows nothing of tokenizers: what takes long does so whatever the tokens are.
"""

import json
import subprocess
import sys
from pathlib import Path

from engine.api.errors import RequestError

_MOST_BYTES = 4 << 30
_PROGRAM = """
import json, sys
path, states, memory = json.loads(sys.argv[1])
sys.path[:] = path
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
except (ImportError, ValueError, OSError):
    pass
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
limits = LLParserLimits(max_lexer_states=states, verbose_errors=False)
LLMatcher(LLTokenizer("byte"), sys.stdin.read(), log_level=0, limits=limits)
"""


def try_out(grammar: str, max_lexer_states: int, seconds: float, *, program: str = _PROGRAM) -> None:
    """Raises `RequestError` when that takes longer, or more memory than there should be need of. What is wrong with
    the grammar otherwise is for others to say."""
    if not Path(sys.executable).name.lower().startswith("python"):
        # Inside of something else, which would only start a second time.
        return
    command = [sys.executable, "-c", program, json.dumps([sys.path, max_lexer_states, _MOST_BYTES])]
    try:
        # Without copies of all that this process has mapped (`close_fds`); Python's files are not handed down anyway.
        tried = subprocess.run(
            command, input=grammar, text=True, timeout=seconds, capture_output=True, close_fds=False, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RequestError(
            f"Making the form of the answer ready took more than {seconds:g} s.",
            "Make the schema, the regular expression or the grammar simpler.",
            code="format_timeout",
        ) from error
    except OSError:
        # Where no process may be started, the time limit alone has to do.
        return
    if tried.returncode < 0:
        raise RequestError(
            "Making the form of the answer ready takes too much memory.",
            "Make the schema, the regular expression or the grammar simpler.",
            code="format_too_complex",
        )
