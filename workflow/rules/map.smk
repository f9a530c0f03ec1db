# From done markers to what a person reads.


# One model at all resolutions of the configuration: `snakemake results/vgg11/all`
rule model:
    input:
        PLAN.markers,
    output:
        touch("results/{model}/all"),
    localrule: True


# The grid as a table: quality and cost of every cell.
rule summary:
    input:
        PLAN.markers,
    output:
        "results/summary.csv",
    localrule: True
    params:
        grid=PLAN.grid,
    shell:
        "{RESOMAP} summary --study {STUDY} --output {output}"
