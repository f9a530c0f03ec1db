# From done markers to what a person reads.
from resomap.planning.rules.summary import MapPlan

MAP = MapPlan(PLAN)


# One model at all resolutions of the configuration: `snakemake results/vgg11/all`
rule model:
    input:
        PLAN.markers,
    output:
        touch("results/{model}/all"),
    localrule: True


# Intervals, comparisons, costs, recommendation: as data and as tables. `resomap map` makes it of an incomplete grid.
rule map:
    input:
        PLAN.evaluations,  # each of its cell's marker and, where it comes from the tracker, of what was fetched
        "results/costs.csv",
        MAP.check,
    output:
        "results/summary.json",
        "results/summary.csv",
        "results/cells.csv",
        "results/matrix.csv",
    localrule: True
    params:
        basis=MAP.basis,
    shell:
        PLAN.command("map --device {MAP.device_kind}")
