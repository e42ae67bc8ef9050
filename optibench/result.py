"""A finished comparison, as Python users hold it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from optibench import recommend, store
from optibench.errors import OptibenchError
from optibench.render import csv
from optibench.results import CaseResult, Comparison

if TYPE_CHECKING:
    import pandas


class Result:
    """A finished comparison, and the folder of its run."""

    def __init__(self, comparison: Comparison, path: Path | None = None) -> None:
        self.comparison = comparison
        self.path = path

    def __repr__(self) -> str:
        best = self.comparison.recommended
        return f"<optibench result: {self.comparison.model.id}, {best.case if best else 'nothing recommended'}>"

    def to_pandas(self) -> pandas.DataFrame:
        """One row a case and shape; the columns are those of table.csv, with units in their names."""
        import io

        import pandas

        return pandas.read_csv(io.StringIO(csv.render(self.comparison)))

    def best(self, accuracy_floor: float | None = None) -> CaseResult | None:
        """The fastest case that keeps at least ``accuracy_floor`` of the reference's score (the run's own floor if
        None), at the first shape; the reference itself if nothing faster does; None where accuracy was not measured.
        """
        floor = self.comparison.workload.accuracy_floor if accuracy_floor is None else accuracy_floor
        cases = recommend.with_floor(self.comparison.cases, floor)
        chosen = recommend.recommended_case(cases, self.comparison.reference)
        return next((case for case in cases if case.case == chosen), None)

    def save(self, directory: str | Path) -> Path:
        """Copies the run's folder to ``directory``, records and all, so that ``load`` opens it there."""
        import shutil

        to = Path(directory).expanduser()
        try:
            if to.exists() and any(to.iterdir()):
                raise OptibenchError(f"{to} is not empty. Give a new folder, so that nothing is overwritten.")
            to.mkdir(parents=True, exist_ok=True)
            if self.path is not None:  # the run's own files: it may lie in a folder with others
                for name in store.FILES:
                    if (self.path / name).is_file():
                        shutil.copy2(self.path / name, to / name)
                if (self.path / "logs").is_dir():
                    shutil.copytree(self.path / "logs", to / "logs")
            store.write_whole(to / store.COMPARISON, store.json_text(self.comparison).encode())
        except OSError as error:
            raise OptibenchError(f"{to} cannot be written: {error.strerror or error}. Give another folder.") from error
        return to
