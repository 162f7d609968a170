"""The local API in a person's words: how it is, who may use it, how busy it is.

Knows nothing of where the words are shown.
"""

from app.state.model_rows import display_name
from app.state.models import ModelsState
from app.state.request_log import RequestLine, Throughput
from app.state.server import ServerState, Switch
from app.state.server_port import Reach
from app.state.wording import count_text

NETWORK_WARNING = (
    "Anyone on your network who has the key can use the model, and what is sent is not encrypted on its way. Choose "
    "this only in a network that you trust."
)


def state_sentence(server: ServerState, models: ModelsState) -> str:
    """How it is, in one sentence or two."""
    match server.switch:
        case Switch.OFF:
            return "Other programs cannot use the model. Turn this on to let them."
        case Switch.STARTING:
            return "Starting…"
        case Switch.STOPPING:
            return "Starting anew with what you chose…" if server.is_restarting else "Letting answers end…"
        case Switch.FAILED:
            return "It could not be turned on."
        case Switch.ON:
            return f"{_users(server)} can use {_model(models)}."


def state_word(server: ServerState) -> str:
    """For the menu bar: a few words."""
    match server.switch:
        case Switch.OFF:
            return "Local API is off"
        case Switch.STARTING:
            return "Local API is starting…"
        case Switch.STOPPING:
            return "Local API is starting anew…" if server.is_restarting else "Local API is stopping…"
        case Switch.FAILED:
            return "Local API could not be turned on"
        case Switch.ON:
            return f"On at {server.address.removeprefix('http://')}"


def throughput_text(throughput: Throughput) -> str:
    if not throughput.requests:
        return "Quiet in the last minute"
    rate = throughput.tokens_per_second
    requests = count_text(throughput.requests, "request")
    return f"{requests} in the last minute · {rate:.1f} tokens/s" if rate else f"{requests} in the last minute"


def tokens_text(line: RequestLine) -> str:
    """What went in and came out."""
    if not (line.prompt_tokens or line.completion_tokens):
        return ""
    return f"{line.prompt_tokens:,} → {line.completion_tokens:,}"


def milliseconds_text(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{max(1, round(milliseconds))}\u00a0ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f}\u00a0s" if seconds < 99.95 else f"{seconds:,.0f}\u00a0s"


def _users(server: ServerState) -> str:
    if server.options.reach is Reach.NETWORK:
        return "Programs on this computer and your network that have the key"
    return "Programs on this computer that have the key"


def _model(models: ModelsState) -> str:
    if models.loaded is None:
        return "the model once one is loaded"
    source = models.loaded.source
    return "the starter model" if models.is_starter(source) else display_name(source, models)
