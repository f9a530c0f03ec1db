# ResoMap: which model, at which resolution? The whole grid, from images to the map.
# (The logger plugin knows this project's Snakefile by the first word of this file.)
from snakemake.utils import min_version

from resomap.planning.planner import Planner, own_configuration

min_version("9.23")


# All keys, with meaning, unit and default: config/README.md
configfile: f"{workflow.current_basedir}/config/config.yaml"


# resomap.yaml in the study's folder, unless --configfile names another.
if own := own_configuration(workflow):

    configfile: own


PLAN = Planner(workflow, config)


wildcard_constraints:
    model="[^/]+",
    resolution="[^/.]+",
    suffix=r"(\.[^/]+)?",  # of another seed; the plan says what is wrong with it


include: "workflow/rules/data.smk"
include: "workflow/rules/cost.smk"
include: "workflow/rules/microbatch.smk"
include: "workflow/rules/learning_rate.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/map.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/winner.smk"
include: "workflow/rules/export.smk"


rule all:
    default_target: True
    input:
        PLAN.train.markers,  # named themselves: Snakemake would not miss one behind a map that is up to date
        PLAN.fetch.records,
        "results/summary.json",
        "results/report.html",


onerror:
    PLAN.map.make_partial()
