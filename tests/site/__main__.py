"""``tox -e site``: what is published in reports/ (docs/leaderboard.md), from real runs.

``python -m tests.site [NAME...]``   measures what has no submission of this machine and these versions yet
``--again``                          measures all the same
``--pages``                          measures nothing: makes the pages of what is there
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tests.site import steps
from tests.site.jobs import JOBS


@click.command(help=__doc__)
@click.argument("names", metavar="[NAME...]", nargs=-1, type=click.Choice([job.name for job in JOBS]))
@click.option("--again", is_flag=True)
@click.option("--pages", is_flag=True)
def main(names: tuple[str, ...], again: bool, pages: bool) -> None:
    root = Path(__file__).parents[2]
    chosen = [] if pages else [job for job in JOBS if not names or job.name in names]
    fine = steps.measure_all(chosen, root / "reports", root / "build" / "site", again=again)
    steps.write_pages(root / "reports", JOBS)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
