"""Vega, the library that draws the report's figures in the browser, bundled for the page by vl-convert.

Bundling takes seconds of one core and holds no lock of Python, so that it begins before the report is put together.
"""

from concurrent.futures import Future, ThreadPoolExecutor

import vl_convert

_TAKEN = "window.vegaEmbed = vegaEmbed;"  # what the page takes from the bundle


def begin_bundle() -> "Future[str]":
    """Begin to bundle, and return what will be the text of the script."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="vega")
    found = pool.submit(vl_convert.javascript_bundle, _TAKEN)
    pool.shutdown(wait=False)
    return found
