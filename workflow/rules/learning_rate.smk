# Learning rate where `training.learning_rate` is `auto`: one for a model, at all resolutions, folds and seeds.


# Try a few rates by short trainings on a part of the training images, before the first of the model's trainings.
rule learning_rate:
    input:
        PLAN.learning_rate.inputs,
    output:
        "results/learning-rate/{model}.json",
    log:
        "results/logs/learning_rate/{model}.log",
    priority: PLAN.learning_rate.priority
    conda:
        PLAN.environment
    threads: PLAN.learning_rate.threads()
    resources:
        **PLAN.cluster.gpu_job,
        gpu=PLAN.learning_rate.gpu,
        mem_mb=PLAN.learning_rate.memory_mb,
        runtime=PLAN.config.slurm.max_runtime,
    params:
        search=PLAN.learning_rate.search,
    shell:
        PLAN.sharing("learning_rate {wildcards.model} --threads {threads}")
