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
    threads: PLAN.train.threads()
    resources:
        **PLAN.cluster.winner,
        gpu=1,
        mem_mb=PLAN.winner.memory_mb,
        runtime=PLAN.config.slurm.max_runtime,
        attempt=PLAN.train.attempt,
    shell:
        PLAN.command(
            "winner --threads {threads} --attempt {resources.attempt}"
            f" --device {PLAN.map.device_kind}"
        )
