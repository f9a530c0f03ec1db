# From done markers to what a person reads.


# One model at all resolutions of the configuration: `snakemake results/vgg11/all`
rule model:
    input:
        PLAN.train.markers,
    output:
        touch("results/{model}/all"),
    localrule: True


# Intervals, comparisons, costs, recommendation: as data and as tables. `resomap map` makes it of an incomplete grid.
rule map:
    input:
        PLAN.evaluate.records,  # each of its cell's marker and, where it comes from the tracker, of what was fetched
        "results/costs.csv",
        PLAN.map.check,
    output:
        "results/summary.json",
        "results/summary.csv",
        "results/cells.csv",
        "results/matrix.csv",
    localrule: True
    params:
        basis=PLAN.map.basis,
    shell:
        PLAN.command("map --device " + PLAN.map.device_kind)
