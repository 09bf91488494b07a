"""The paper's tables and figures, each as one function of a bench of models and faces."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparnet.evaluation.reproduce import figures, tables
from sparnet.evaluation.reproduce.bench import Bench, Row
from sparnet.evaluation.reproduce.report import Report


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper."""

    make: Callable[[Bench], Report]
    """Trains, judges and draws; its docstring says what."""
    rows: Sequence[Row]
    """All methods it may show."""

    @property
    def about(self) -> str:
        """What it shows, in one line."""
        return str(self.make.__doc__).splitlines()[0].partition(": ")[2].rstrip(".")


EXPERIMENTS: dict[str, Experiment] = {
    "table1": Experiment(tables.table1, tables.TABLE1_ROWS),
    "table2": Experiment(tables.table2, tables.TABLE2_ROWS),
    "table3": Experiment(tables.table3, tables.TABLE3_ROWS),
    "table4": Experiment(tables.table4, tables.TABLE4_ROWS),
    "table5": Experiment(tables.table5, tables.TABLE5_ROWS),
    "table6": Experiment(tables.table6, tables.TABLE6_ROWS),
    "figure5": Experiment(figures.figure5, figures.FIGURE5_ROWS),
    "figure6": Experiment(figures.figure6, figures.FIGURE5_ROWS),
    "figure7": Experiment(figures.figure7, (tables.BICUBIC, *figures.V_ROWS, *figures.S_ROWS)),
    "figure8": Experiment(figures.figure8, tables.TABLE1_ROWS),
    "figure9": Experiment(figures.figure9, figures.FIGURE9_ROWS),
    "figure10": Experiment(figures.figure10, figures.FIGURE10_ROWS),
    "figure12": Experiment(figures.figure12, figures.FIGURE12_ROWS),
    "figure13": Experiment(figures.figure13, figures.FIGURE13_ROWS),
    "figure14": Experiment(figures.figure14, figures.FIGURE13_ROWS),
}
"""Every table and figure, by the name that the command line has for it."""
