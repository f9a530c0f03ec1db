"""Refusals of a tracker that last until a person mends something, as sentences with the way out.

The sender, planning and `resomap doctor` judge by the same functions, so that all three say the same. Light: planning
imports this.
"""

from urllib.parse import urlsplit

from resomap.core.errors import ResomapError
from resomap.core.text import printable

# A drive letter (C:\runs) parses as a scheme; `runs` and `models` are MLflow's names for places in the tracker itself.
NO_FILE_STORES = ("", "file", "runs", "models")
ACTIVE = "active"  # MLflow's name for what is not deleted
NO_FILES_WORDS = "disabled due to the mlflow server running with `--no-serve-artifacts`"
NO_FILES_SERVED = (
    "it runs with --no-serve-artifacts, so files stay in results/ of the machine that trained; start it with "
    "--serve-artifacts"
)


class TrackerRefusal(ResomapError):
    """Error of a tracker that will refuse the same again until somebody mends it; the message is a clause."""


def deleted_experiment(name: str, identity: str) -> str:
    """Return the clause for an experiment that somebody deleted."""
    return (
        f"the experiment '{name}' is deleted there; restore it (`mlflow experiments restore --experiment-id {identity}`"
        ", or on the page of the tracker), or name another one with `experiment:`"
    )


def unreachable_files(uri: str, artifact_uri: str) -> str | None:
    """Return the clause for a server whose place for files is a path of its own machine; None for any other place.

    Written from another machine, such a path is one of *that* machine's own disk: nobody else would ever see the
    files, and a server could have any file overwritten that the user may write.
    """
    if not uri.lower().startswith(("http://", "https://")):
        return None
    scheme = urlsplit(artifact_uri).scheme.lower()
    if scheme not in NO_FILE_STORES and len(scheme) > 1:
        return None
    return (
        f"it keeps files at {printable(artifact_uri)}, a path of the server's own machine, so files stay with the "
        "machine that trained; start it with --serve-artifacts, and name a new experiment with `experiment:`"
    )
