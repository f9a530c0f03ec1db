# Winner: the recommended cell trained on train + validation, or an ensemble of its trainings: `snakemake winner`


rule winner:
    input:
        PLAN.winner.inputs,
    output:
        "results/winner.done",
    log:
        "results/logs/winner.log",
    retries: PLAN.train.retries
    conda:
        PLAN.environment
    threads: PLAN.winner.threads
    resources:
        **PLAN.winner.resources,
    shell:
        PLAN.command(PLAN.winner.words)
