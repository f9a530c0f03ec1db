"""Statistics of the map: confidence intervals, comparisons, Pareto front and recommendation, from predictions alone.

Pure functions on arrays; nothing here reads a file. Every choice is to be made from validation predictions; those of
the test split are for `intervals` and `optimism` only. What all figures leave out: another draw of the training images.
Each training's epoch was chosen on the same validation images, which `optimism` measures.

- `samples`: the input, predictions of trainings on shared images
- `quality`: a metric's value and its influence function
- `chance`: a metric's value of an answer that looks at no image
- `operating_point`, `ranking`, `agreement`: those of thresholds, of average precision, and of quadratic kappa
- `carried`, `carried_estimates`, `shares`, `prevalence`: a threshold carried from validation to test, and its figures
  at another prevalence
- `scatter`: training variance, pooled over the cells
- `fold_noise`, `chosen_epochs`: training noise where folds judge, and the epoch that each is judged at
- `groups`: images that stand or fall together
- `class_parts`: intervals of means over classes, which hold for rare classes too
- `interval_estimates`: values, covariances and confidence intervals
- `repeated_looks`: the chance of error spent on each number of seeds
- `differences`, `comparisons`, `resolutions`: paired comparisons with simultaneous critical values
- `best`: multiple comparisons with the best
- `test_resolution`: the resolution to test each square's weights at
- `alike_pairs`: pairs of cells of one model, of one resolution, or of neither
- `hierarchy`: the winner's value without its luck, by cells that borrow strength from their model and resolution
- `optimism`: by how much validation values are above those of test images
- `pareto`, `recommendation`: the Pareto front, and the cell that is proven to do
- `device_order`: the rank correlation of two devices' latencies
- `pattern`, `linearised`, `posterior`: the true qualities, as far as they can be known, with what cells have in common
- `answer`, `prospects`, `wording`: the cell to use and how sure that is, what would make it surer, and the sentences
- `label_errors`: images whose label is probably wrong, by confident learning
- `calibration`, `recalibration`: calibration errors, by the likelihood ratio of a recalibration curve
- `simulation`, `families`, `confusion_worlds`, `operating_worlds`, `fold_worlds`: maps and models with a known truth
- `promises`, `interval_promises`, `choice_promises`, `answer_promises`, `calibration_promises`, `operating_promises`:
  what the above keeps of its promises on them
- `fold_promises`: the same of folds, beside seeds at equal cost
- `claims`: the table of what was promised and measured
"""

from resomap.compute.thresholds import OneVsRest
from resomap.statistics.answer import Answer, Choice, decide
from resomap.statistics.best import Deficit, Deficits
from resomap.statistics.calibration import Calibration, calibration
from resomap.statistics.comparisons import Comparison, McNemar, compare, mcnemar
from resomap.statistics.hierarchy import Hierarchy, hierarchy
from resomap.statistics.interval_estimates import Estimates, Interval, estimate, intervals
from resomap.statistics.optimism import Gap, validation_gap
from resomap.statistics.pareto import CellCost, CostName, pareto_front, possible_front
from resomap.statistics.posterior import Posterior, posterior
from resomap.statistics.prospects import Prospect, prospects
from resomap.statistics.quality import Metric, Quality, Question, quality
from resomap.statistics.recommendation import Recommendation, recommend
from resomap.statistics.repeated_looks import CONFIDENCE
from resomap.statistics.resolutions import Resolutions, compare_resolutions
from resomap.statistics.samples import Position, Sample, Trainings, position_name
from resomap.statistics.test_resolution import best_test_resolutions
from resomap.statistics.wording import sentences

__all__ = [
    "CONFIDENCE",
    "Answer",
    "Calibration",
    "CellCost",
    "Choice",
    "Comparison",
    "CostName",
    "Deficit",
    "Deficits",
    "Estimates",
    "Gap",
    "Hierarchy",
    "Interval",
    "McNemar",
    "Metric",
    "OneVsRest",
    "Position",
    "Posterior",
    "Prospect",
    "Quality",
    "Question",
    "Recommendation",
    "Resolutions",
    "Sample",
    "Trainings",
    "best_test_resolutions",
    "calibration",
    "compare",
    "compare_resolutions",
    "decide",
    "estimate",
    "hierarchy",
    "intervals",
    "mcnemar",
    "pareto_front",
    "position_name",
    "possible_front",
    "posterior",
    "prospects",
    "quality",
    "recommend",
    "sentences",
    "validation_gap",
]
