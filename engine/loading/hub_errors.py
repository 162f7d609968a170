"""What the Hub's library raises, in words a person can act on.

Knows nothing of what was being done.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from engine.api.errors import DiskError, EngineError, HubError

TOKEN_HINT = (
    "make a read token at https://huggingface.co/settings/tokens, and put it into the app's settings or HF_TOKEN."
)


@contextmanager
def translated(repo_id: str) -> Iterator[None]:
    """Turn the library's errors about `repo_id` into `HubError` and `DiskError`."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise HubError(
            f"{repo_id} is gated: its owner wants to know who downloads it.",
            f"Accept its terms at https://huggingface.co/{repo_id}, then {TOKEN_HINT}",
            code="gated",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(
            f"{repo_id} has no such revision.", "Check the name of the branch, tag or commit.", code="not_found"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            f"There is no model {repo_id} on the Hub, or it is private.",
            f"Check the spelling (org/name). For a private one, {TOKEN_HINT}",
            code="not_found",
        ) from error
    except errors.HfHubHTTPError as error:
        raise _http(repo_id, error) from error
    except (errors.HTTPError, errors.LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise HubError(
            f"The Hub cannot be reached, so {repo_id} was not downloaded completely.",
            "Check the network and try again; the download goes on where it stopped.",
            code="offline",
        ) from error
    except OSError as error:
        raise _disk(repo_id, error) from error


def malformed(repo_id: str) -> HubError:
    return HubError(
        f"{repo_id!r} is no name of a model.",
        'Give "starter", a folder, or a name on the Hub such as "org/name".',
        code="not_found",
    )


def _http(repo_id: str, error: Exception) -> EngineError:
    status = error.response.status_code  # type: ignore[attr-defined]
    if status in (401, 403):
        return HubError(
            f"The Hub does not let this token see {repo_id} ({status}).", f"To get in, {TOKEN_HINT}", code="gated"
        )
    return HubError(
        f"The Hub answered with the error {status} when asked for {repo_id}.",
        "Try again later; the download goes on where it stopped.",
    )


def _disk(repo_id: str, error: OSError) -> EngineError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError(
            f"The disk is full: {repo_id} was not downloaded.",
            "Free some space, or remove a model (`fovea models remove`), then try again.",
        )
    if error.errno is None:
        return HubError(f"{repo_id} could not be downloaded: {error}.", "Try again; what has arrived is kept.")
    return DiskError(
        f"{error.filename or repo_id} cannot be written: {error.strerror}.", "Check who owns the Hub cache's folder."
    )
