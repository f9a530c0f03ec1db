# Files that the tracker has of a cell that was trained elsewhere: predictions, history, configuration, weights if kept.


# Fetch them on the machine that plans: a compute node may have no network.
rule fetch:
    input:
        "results/{model}/{resolution}{suffix}.done",
    output:
        "results/{model}/{resolution}{suffix}.fetched.json",
    log:
        "results/logs/fetch/{model}/{resolution}{suffix}.log",
    localrule: True
    conda:
        PLAN.environment
    params:
        run=PLAN.fetch.run,
    shell:
        PLAN.command("fetch {wildcards.model}@{wildcards.resolution}{wildcards.suffix}")
