"""Sentences on the tracker at a run's end: trainings whose journals wait, and why, and files that no tracker got.

A training's log tells of it too, which nobody reads who sees that all are done.
"""

from collections import defaultdict
from pathlib import Path

from resomap.core.text import counted
from resomap.tracking.journal import journals
from resomap.tracking.local_store import portable_uri
from resomap.tracking.sender import Receipt, is_sent, receipt_path


def troubles(uri: str, since: float, results: Path) -> list[str]:
    """Return one sentence for each kind of trouble that the tracker at `uri` has made.

    `since`, in seconds since 1970: files that were kept here are told of by the run that kept them, not by later ones.
    """
    waiting: dict[tuple[bool, str], int] = defaultdict(int)
    kept: dict[str, int] = defaultdict(int)
    for journal in journals(results):
        receipt = Receipt.read(journal)
        if receipt is None or receipt.uri != portable_uri(uri):
            continue
        if receipt.trouble and not is_sent(journal, uri):
            waiting[receipt.is_lasting, receipt.trouble] += 1
        if receipt.files_kept_here and receipt_path(journal).stat().st_mtime >= since:
            kept[receipt.files_kept_here] += 1
    sentences = []
    for (is_lasting, trouble), count in waiting.items():
        what = "takes nothing" if is_lasting else "does not have everything"
        said = f"the tracker {uri} {what} of {counted(count, 'training')}"
        when = "sends it once that is mended" if is_lasting else "sends the rest"
        sentences.append(f"{said}: {trouble}; `resomap sync` {when}")
    sentences += [
        f"the tracker {uri} gets no files of {counted(count, 'training')}: {reason}" for reason, count in kept.items()
    ]
    return sentences
