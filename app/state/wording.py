"""Numbers and stages of the engine in a person's words.

Knows nothing of where they are shown.
"""

from engine.api.events import Finished, FinishReason, Progress, Stage

_STAGES = {
    Stage.DOWNLOADING: "Downloading",
    Stage.READING: "Opening the model",
    Stage.LOADING: "Loading",
    Stage.CONVERTING: "Writing the model",
    Stage.LOOKING: "Looking",
    Stage.PREFILL: "Reading",
}


def bytes_text(count: int) -> str:
    """Decimal units, as the Finder and model pages use; number and unit stay on one line."""
    if count < 1000:
        return f"{count}\u00a0bytes"
    exponent = min(4, (len(str(count)) - 1) // 3)
    size = count / 1000**exponent
    unit = ("", "KB", "MB", "GB", "TB")[exponent]
    number = f"{size:.1f}" if size < 9.95 else f"{size:.0f}"
    return f"{number}\u00a0{unit}"


def duration_text(seconds: float | None) -> str:
    """As players show it: "0:07", "1:02:30". Empty where it is not known; what is not nothing is a second."""
    if seconds is None:
        return ""
    minutes, rest = divmod(max(1, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count_text(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(progress: Progress) -> int | None:
    """0..100, or `None` where the total is not known."""
    if progress.total <= 0:
        return None
    return min(100, max(0, 100 * progress.done // progress.total))


def progress_text(progress: Progress) -> str:
    """Such as "Downloading 1.2 GB of 2.5 GB (48%)"."""
    stage = _STAGES[progress.stage]
    share = percent(progress)
    if progress.stage is Stage.DOWNLOADING and progress.total > 0:
        return f"{stage} {bytes_text(progress.done)} of {bytes_text(progress.total)} ({share}%)"
    return f"{stage}…" if share is None else f"{stage}… {share}%"


def answer_footer(finished: Finished) -> str:
    """One line under an answer: how fast, how soon, how long, and why it ended early."""
    usage, timings = finished.usage, finished.timings
    parts: list[str] = []
    if finished.reason is FinishReason.CANCELLED:
        parts.append("Stopped")
    if finished.reason is FinishReason.LENGTH:
        parts.append("Cut off at its length limit")
    if timings.generation_tps > 0:
        parts.append(f"{timings.generation_tps:.1f} tokens/s")
    if timings.ttft_s > 0:
        parts.append(f"first token after {timings.ttft_s:.1f} s")
    if usage.completion_tokens > 0:
        parts.append(count_text(usage.completion_tokens, "token"))
    return " · ".join(parts)


def context_text(finished: Finished) -> str:
    """How much of the model's memory for this conversation is used."""
    used = finished.usage.prompt_tokens + finished.usage.completion_tokens
    if not finished.usage.context_length:
        return count_text(used, "token") if used else ""
    return f"{used:,} of {finished.usage.context_length:,} tokens of context used"
