# Map of the grid, from evaluations and costs; and all trainings of one model as a target.


# Train one model at all resolutions of the configuration: `snakemake results/vgg11/all`
rule model:
    input:
        PLAN.train.markers,
    output:
        touch("results/{model}/all"),
    localrule: True


# Write the map: intervals, comparisons, costs and recommendation, as data and as tables. For an incomplete grid run
# `resomap map`.
rule map:
    input:
        PLAN.evaluate.records,  # made from the cells' markers and, of cells trained elsewhere, fetched files
        "results/costs.csv",
        PLAN.map.check,
    output:
        "results/summary.json",
        "results/summary.csv",
        "results/cells.csv",
        "results/matrix.csv",
    log:
        "results/logs/map.log",
    localrule: True
    conda:
        PLAN.environment
    params:
        basis=PLAN.map.basis,
    shell:
        PLAN.command(f"map --device {PLAN.map.device_kind}")
