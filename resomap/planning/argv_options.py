"""Snakemake's command-line options by the number of values they take; a test compares them with its parser.

Needed to tell a target from an option's value before Snakemake's own parser does. Options of other plugins
are not listed: an unlisted long option counts as one with one value.
"""

import re


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FLAGS = _names(
    """
    --help --dry-run --dryrun --replace-workflow-config --touch --keep-going --force --forceall
    --rerun-incomplete --ri --no-subworkflows --nosw --report-after-run --list-rules --list --list-target-rules
    --lt --filegraph --d3dag --summary --detailed-summary --cleanup-shadow --skip-script-cleanup --unlock
    --list-input-changes --li --list-params-changes --lp --list-untracked --lu --delete-all-output
    --delete-temp-output --keep-incomplete --drop-metadata --version --printshellcmds --debug-dag --nocolor
    --print-compilation --verbose --force-use-threads --allow-ambiguity --nolock --ignore-incomplete --ii
    --trust-io-cache --notemp --no-temp --nt --all-temp --keep-storage-local-copies --not-retrieve-storage
    --target-files-omit-workdir-adjustment --no-hooks --debug --show-failed-logs --job-deploy-sources
    --benchmark-extended --immediate-submit --is --container-cleanup-images --use-conda
    --conda-not-block-search-path-envvars --list-conda-envs --conda-cleanup-envs --conda-create-envs-only
    --use-apptainer --use-singularity --use-envmodules
    """
)

ONE_VALUE = _names(
    """
    --profile --workflow-profile --snakefile --cores --jobs --local-cores --max-threads --preemptible-retries
    --directory --executor --batch --shadow-prefix --conda-base-path --precommand --report-stylesheet
    --report-metadata --reporter --draft-notebook --edit-notebook --notebook-listen --export-cwl --archive
    --list-changes --lc --max-inventory-time --max-checksum-file-size --latency-wait --output-wait
    --wait-for-free-local-storage --wait-for-files-file --runtime-source-cache-path --queue-input-wait-time
    --max-jobs-per-timespan --max-status-checks-per-second --seconds-between-status-checks --retries
    --restart-times --wrapper-prefix --default-storage-provider --default-storage-prefix
    --local-storage-prefix --remote-job-local-storage-prefix --scheduler-greediness --greediness
    --scheduler-subsample --runtime-profile --local-groupid --attempt --persistence-backend
    --persistence-backend-db-url --container-image --jobscript --js --jobname --jn --conda-prefix
    --conda-frontend --apptainer-prefix --singularity-prefix --apptainer-args --singularity-args --mode
    --scheduler-solver-path --max-jobs-per-second
    """
)

# At most one value.
OPTIONAL = _names(
    """
    --scheduler --report --lint --generate-unit-tests --containerize --dag --rulegraph --conda-cleanup-pkgs
    """
)

# As many values as follow: these swallow targets.
SEVERAL = _names(
    """
    --cache --resources --res --set-threads --set-resources --set-scatter --set-resource-scopes
    --default-resources --default-res --preemptible-rules --configfile --configfiles --config --envvars
    --rerun-triggers --forcerun --consider-ancient --prioritize --until --omit-from --strict-dag-evaluation
    --groups --group-components --cleanup-metadata --cm --quiet --wait-for-files --omit-flags
    --unneeded-temp-files --allowed-rules --shared-fs-usage --logger --software-deployment-method
    --deployment-method --deployment --sdm --target-jobs --deploy-sources
    """
)

LETTERS = {
    "h": "--help",
    "n": "--dry-run",
    "s": "--snakefile",
    "c": "--cores",
    "j": "--jobs",
    "C": "--config",
    "d": "--directory",
    "t": "--touch",
    "k": "--keep-going",
    "f": "--force",
    "e": "--executor",
    "F": "--forceall",
    "R": "--forcerun",
    "P": "--prioritize",
    "U": "--until",
    "O": "--omit-from",
    "l": "--list-rules",
    "S": "--summary",
    "D": "--detailed-summary",
    "v": "--version",
    "p": "--printshellcmds",
    "q": "--quiet",
    "a": "--allow-ambiguity",
    "w": "--latency-wait",
    "T": "--retries",
}

# Second names, where the first one matters here.
SYNONYMS = {
    "--dryrun": "--dry-run",
    "--res": "--resources",
    "--default-res": "--default-resources",
    "--configfiles": "--configfile",
    "--deployment-method": "--software-deployment-method",
    "--deployment": "--software-deployment-method",
    "--sdm": "--software-deployment-method",
    "--list": "--list-rules",
    "--lt": "--list-target-rules",
    "--lc": "--list-changes",
    "--li": "--list-input-changes",
    "--lp": "--list-params-changes",
    "--lu": "--list-untracked",
    "--cm": "--cleanup-metadata",
    "--is": "--immediate-submit",
}

# Neither a run nor a dry run: nothing is added to these.
MANAGEMENT = _names(
    """
    --help --version --touch --lint --generate-unit-tests --containerize --export-cwl --list-rules
    --list-target-rules --dag --rulegraph --filegraph --d3dag --summary --detailed-summary --archive
    --cleanup-metadata --cleanup-shadow --unlock --list-changes --list-input-changes --list-params-changes
    --list-untracked --delete-all-output --delete-temp-output --print-compilation --container-cleanup-images
    --list-conda-envs --conda-cleanup-envs --conda-create-envs-only --draft-notebook --edit-notebook
    --deploy-sources
    """
)

_ASSIGNMENT = re.compile(r"[^/=\s]+=", re.DOTALL)
WORD = re.compile(r"[^/]+\Z")
# Whatever lies below results/ is written by the workflow, JSON included.
_CONFIG_FILE = re.compile(r"(?!results/).*\.(ya?ml|json)\Z")


def _words(*choices: str) -> re.Pattern[str]:
    return re.compile(rf"({'|'.join(map(re.escape, choices))})\Z")


_GRAPHS = _words("dot", "mermaid-js")

# What a value of these options looks like; what looks different is a target. Options whose values are rules or
# files themselves (--until, --forcerun, --prioritize, ...) are not here: nothing tells them from targets.
VALUE_PATTERNS = {
    "--resources": _ASSIGNMENT,
    "--set-threads": _ASSIGNMENT,
    "--set-resources": _ASSIGNMENT,
    "--set-scatter": _ASSIGNMENT,
    "--set-resource-scopes": _ASSIGNMENT,
    "--default-resources": _ASSIGNMENT,
    "--groups": _ASSIGNMENT,
    "--group-components": _ASSIGNMENT,
    "--config": _ASSIGNMENT,
    "--configfile": _CONFIG_FILE,
    "--rerun-triggers": _words("code", "input", "mtime", "params", "software-env"),
    "--quiet": _words("all", "host", "progress", "reason", "rules"),
    "--shared-fs-usage": _words(
        *("input-output", "persistence", "software-deployment", "source-cache", "sources", "none"),
        *("software-deployment-cache", "storage-local-copies"),
    ),
    "--software-deployment-method": _words("apptainer", "conda", "env-modules"),
    "--dag": _GRAPHS,
    "--rulegraph": _GRAPHS,
    "--lint": _words("json", "text"),
    # Bare words: a target with a folder is told from them, a rule's name is not.
    "--logger": WORD,
    "--cache": WORD,
    "--envvars": WORD,
    "--allowed-rules": WORD,
    "--preemptible-rules": WORD,
}

# With these the first value stays whatever it looks like: Snakemake itself can say what is wrong with it.
FIRST_STAYS = SEVERAL - {"--quiet", "--cache", "--preemptible-rules"}
