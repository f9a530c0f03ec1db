# Train one cell to its done marker. Checkpoints are no outputs: Snakemake deletes outputs before a job starts.


rule train:
    input:
        PLAN.store,
    output:
        "results/{model}/{resolution}{suffix}.done",
    priority: PLAN.priority
    retries: PLAN.retries
    threads: PLAN.threads()
    resources:
        **PLAN.cluster.training_place,
        gpu=1,
        mem_mb=PLAN.memory_mb,
        runtime=PLAN.cluster.runtime,
        attempt=PLAN.attempt,
    params:
        fingerprint=PLAN.fingerprint,
    shell:
        PLAN.command(
            "train {wildcards.model}@{wildcards.resolution}{wildcards.suffix} --fingerprint {params.fingerprint}"
            " --threads {threads} --attempt {resources.attempt}"
        )
