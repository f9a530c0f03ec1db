"""`resomap sync`: sends every journal of a directory that the tracker does not have in full."""

import os
import sys
from pathlib import Path

from resomap.study import Study
from resomap.tracking.sender import Sender, is_sent
from resomap.tracking.tracker import credentials, tracking_uri


def send_all(study: Study, results: Path = Path("results")) -> int:
    """Send what is unsent; prints one line a journal, returns 0 where everything arrived, else 1."""
    uri = tracking_uri(study.config.tracking)
    os.environ.update(credentials(study.config.tracking))
    unsent = [path for path in sorted(results.glob("*/*.journal.jsonl")) if not is_sent(path)]
    if not unsent:
        print(f"nothing to send: the tracker {uri} has everything")
        return 0
    failed = 0
    for journal in unsent:
        try:
            run = Sender(journal, uri, study.config.experiment).send()
            print(f"sent {journal} as run {run}")
        except Exception as error:  # a tracker fails in many ways; the journal stays, the next call goes on
            failed += 1
            print(f"not sent: {journal} ({type(error).__name__}: {str(error)[:200]})", file=sys.stderr)
    return 1 if failed else 0
